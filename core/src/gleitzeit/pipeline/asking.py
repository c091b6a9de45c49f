"""The innermost step: the provider's `call` under a lease, its failures typed, its waiting bounded."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from typing import Final

from gleitzeit.config.resilience import TimeoutsConfig
from gleitzeit.errors import DeadlineError, GleitzeitError, PluginError
from gleitzeit.kinds import Handler
from gleitzeit.registry import Instance
from gleitzeit.resilience import Clock, Deadline, Lease, StreamGuard
from gleitzeit.values import Reply, Request, Stream, Target

__all__ = ["asking"]

#: Seconds: what is left for the first event at least, once the answer has begun.
SHORTEST: Final = 0.001


def asking(target: Target, instance: Instance, timeouts: TimeoutsConfig, clock: Clock) -> Handler:
    """Asks `instance` as it now is; a call that comes after it was stopped is refused."""
    name, built = target.instance, instance.object
    ask = built.call
    first_event, idle, most = timeouts.first_event, timeouts.idle, timeouts.attempt

    def typed(error: BaseException) -> BaseException:
        if isinstance(error, GleitzeitError):
            error.provider = error.provider or name
            return error
        if isinstance(error, TimeoutError):
            return DeadlineError(f"{name}: {str(error) or 'timed out'}", provider=name)
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            return error
        return PluginError(
            f"provider {name!r} raised {type(error).__name__}: {instance.scrub(str(error))}",
            hint="this is a fault of the plugin",
            provider=name,
        )

    async def once(request: Request) -> Reply | Stream:
        if instance.object is not built:  # while the call waited for a vote, a middleware, another target
            what = f"{name!r} was stopped before the call reached it"
            stopped = PluginError(what, provider=name, sent=False)
            stopped.counts = False  # it says nothing of the target that comes after it
            raise stopped
        begun = time.monotonic() if request.stream else 0.0
        lease = Lease(clock)
        private = request.data_class == "private"
        if private:
            lease.private = True
        instance.leases.add(lease)
        try:
            answer = await ask(request)
            if isinstance(answer, Stream):
                silent = time.monotonic() - begun if begun else 0.0
                guard = StreamGuard(
                    request.deadline,
                    f"the stream from {target}",
                    typed,
                    clock=clock,
                    first_event=max(first_event - silent, SHORTEST) if first_event else 0.0,
                    idle=idle,
                )
                guard.private = private
                instance.leases.add(guard)
                answer.watch(guard).tap(on_end=lambda end: instance.release(guard))
        except (Exception, asyncio.CancelledError) as error:
            ended = lease.settle(error)
            if ended is not None:
                raise ended from None
            if isinstance(error, asyncio.CancelledError) and lease.cancelled:
                raise
            failure = typed(error)
            if failure is error:
                raise
            raise failure from error
        finally:
            instance.release(lease)
        if lease.error is not None:
            lease.settle(None)
        if not isinstance(answer, (Reply, Stream)):
            raise PluginError(
                f"provider {name!r} answered with {type(answer).__name__}",
                hint="`call` must give a Reply or a Stream",
            )
        return answer

    async def in_time(request: Request) -> Reply | Stream:
        # A stream may hold back its headers: that is silence before its first event as well.
        seconds = min(most or math.inf, first_event or math.inf) if request.stream else most
        ends = time.monotonic() + (seconds or math.inf)
        if request.deadline is not None and request.deadline <= ends:
            return await once(request)
        limit = Deadline(ends, "the attempt at ", clock, of=target)
        try:
            with limit:
                return await once(request)
        except DeadlineError as error:
            if limit.expired:
                error.provider, error.sent, error.retryable = name, True, True
            raise

    def streams_in_time(request: Request) -> Awaitable[Reply | Stream]:
        return in_time(request) if request.stream else once(request)

    return in_time if most else streams_in_time if first_event else once
