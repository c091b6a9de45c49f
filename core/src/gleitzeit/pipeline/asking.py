"""The innermost step: the provider's `call` under a lease, its failures typed, its waiting bounded."""

from __future__ import annotations

import asyncio
import time

from gleitzeit.config.resilience import TimeoutsConfig
from gleitzeit.errors import DeadlineError, GleitzeitError, PluginError
from gleitzeit.kinds import Handler
from gleitzeit.registry import Instance
from gleitzeit.resilience import Clock, Deadline, StreamGuard
from gleitzeit.values import Reply, Request, Stream, Target

__all__ = ["asking"]


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
            raise PluginError(f"{name!r} was stopped before the call reached it", provider=name, sent=False)
        lease = Deadline(None, "")
        with lease:
            instance.leases.add(lease)
            try:
                answer = await ask(request)
                if isinstance(answer, Stream):
                    guard = StreamGuard(
                        request.deadline,
                        f"the stream from {target}",
                        typed,
                        clock=clock,
                        first_event=first_event,
                        idle=idle,
                    )
                    instance.leases.add(guard)
                    answer.watch(guard).tap(on_end=lambda end: instance.release(guard))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and lease.cancelled:
                    raise
                failure = typed(error)
                if failure is error:
                    raise
                raise failure from error
            finally:
                instance.release(lease)
        if not isinstance(answer, (Reply, Stream)):
            raise PluginError(
                f"provider {name!r} answered with {type(answer).__name__}",
                hint="`call` must give a Reply or a Stream",
            )
        return answer

    async def in_time(request: Request) -> Reply | Stream:
        ends = time.monotonic() + most
        if request.deadline is not None and request.deadline <= ends:
            return await once(request)
        limit = Deadline(ends, f"the attempt at {target}", clock=clock)
        try:
            with limit:
                return await once(request)
        except DeadlineError as error:
            if limit.expired:
                error.provider, error.sent, error.retryable = name, True, True
            raise

    return in_time if most else once
