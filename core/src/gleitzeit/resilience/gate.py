"""What stands before one target: cool-down, circuit breaker, bulkheads and rate limits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from gleitzeit.config.resilience import Resilience
from gleitzeit.errors import (
    AccessError,
    BreakerOpenError,
    CapacityError,
    GleitzeitError,
    QueueFullError,
    QuotaExhaustedError,
    RateLimitedError,
    UnknownModelError,
)
from gleitzeit.resilience.breaker import Breaker
from gleitzeit.resilience.bulkhead import Bulkhead
from gleitzeit.resilience.estimate import estimate
from gleitzeit.resilience.limiter import Limiter
from gleitzeit.resilience.retry import RetryBudget, RetryPolicy
from gleitzeit.stats import TargetStats
from gleitzeit.values import RateLimits, Request

__all__ = ["Gate", "Pass", "Shared"]

logger = logging.getLogger(__name__)
#: Seconds that a target is left alone where the vendor says that its quota is used up, and not for how long.
QUOTA_PAUSE: Final = 60.0
#: Seconds that a target is the last choice after it refused a key or did not know its model.
BAD_PAUSE: Final = 10.0
#: Seconds: whoever has waited for a pause to end may come so much early, as timers do.
TOLERANCE: Final = 0.002
#: Seconds: no hint of an upstream keeps a target closed for longer.
LONGEST_PAUSE: Final = 3600.0


class Pass:
    """What a gate has given to a call: a permit of the breaker, tokens of the rate limits; -1: none."""

    __slots__ = ("permit", "tokens")

    def __init__(self) -> None:
        self.permit = -1
        self.tokens = -1


class Shared:
    """What all targets of one instance have in common: one key, one server."""

    __slots__ = ("bulkhead", "limiter", "name", "queue")

    def __init__(self, name: str, config: Resilience, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.bulkhead = _bulkhead(config)
        self.queue = config.timeouts.queue
        self.limiter = Limiter(config.rate_limit, clock=clock)

    @property
    def queued(self) -> int:
        """Calls that wait for a place at the instance."""
        return self.bulkhead.waiting if self.bulkhead is not None else 0


class Gate:
    """Lets calls through to one target, or says why not.

    `try_enter` is the way of nearly every call. `enter` is for all else: it waits in queues, or
    raises a `CapacityError` that says when to come again. Whoever was let in calls `leave` exactly
    once with the same `Pass`.
    """

    __slots__ = (
        "_clock",
        "_paused_by",
        "_shunned",
        "_unbounded",
        "breaker",
        "budget",
        "bulkhead",
        "config",
        "limiter",
        "name",
        "policy",
        "shared",
        "stats",
        "strict",
    )

    def __init__(
        self,
        name: str,
        config: Resilience,
        shared: Shared,
        stats: TargetStats,
        *,
        strict: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        #: The time limits that the operator set for this target or its instance: they hold for tools as well.
        self.strict = strict
        self.config = config
        self.shared = shared
        self.stats = stats
        self.breaker = Breaker(config.circuit_breaker, on_change=self._changed, clock=clock)
        self.bulkhead = _bulkhead(config)
        self.limiter = Limiter(config.rate_limit, clock=clock)
        self.policy = RetryPolicy(config.retry)
        self.budget = RetryBudget(clock=clock)
        self._unbounded = self.bulkhead is None and shared.bulkhead is None
        self._shunned = 0.0
        self._paused_by: type[GleitzeitError] = RateLimitedError
        self._clock = clock

    @property
    def queued(self) -> int:
        """Calls that wait for a place at the target."""
        return self.bulkhead.waiting if self.bulkhead is not None else 0

    @property
    def idle(self) -> bool:
        """Is it as good as new: nobody inside, nothing remembered?"""
        return (
            not self.stats.in_flight
            and not self._shunned
            and self.limiter.idle
            and self.breaker.state == "closed"
            and not self.breaker.failures
        )

    def cooling(self) -> float:
        """Seconds until the target may be asked again; 0 where it may be now."""
        return max(self.limiter.cooling(), self.shared.limiter.cooling())

    def try_enter(self, request: Request, into: Pass) -> bool:
        """Let a call in where that needs no waiting; False: `enter` says more."""
        breaker = self.breaker
        if breaker.state != "closed" or self._shunned:
            return False
        limiter, shared = self.limiter, self.shared
        if not (self._unbounded or self._take()):
            return False
        if not (limiter.idle and shared.limiter.idle):
            tokens = self._tokens(request)
            wait = 0.0 if limiter.idle else limiter.reserve(tokens)
            if not shared.limiter.idle:
                wait = shared.limiter.reserve(tokens) or wait
            if wait > 0:
                self._refund(tokens)
                self._give()
                return False
            into.tokens = tokens
        into.permit = breaker.generation
        return True

    async def enter(self, request: Request, into: Pass, *, waits: bool, last: bool) -> None:
        """Let a call in; waits for a place and a turn only where `waits`.

        A target that refused a key a moment ago is asked only where nothing else is left (`last`).
        Raises `RateLimitedError`, `BreakerOpenError`, `QueueFullError`; cancelling gives all back.
        """
        self._check(last)
        places: list[Bulkhead] = []
        tokens = -1
        try:
            for bulkhead, seconds in (  # its own first: who waits for it must not hold a place of the others
                (self.bulkhead, self.config.timeouts.queue),
                (self.shared.bulkhead, self.shared.queue),
            ):
                if bulkhead is not None:
                    await self._place(bulkhead, seconds, waits=waits)
                    places.append(bulkhead)
            if places:
                self._check(last)  # what has changed while it waited
            if not (self.limiter.idle and self.shared.limiter.idle):
                tokens = self._tokens(request)
                await self._turn(tokens, request.remaining, waits=waits)
            permit = self.breaker.acquire()
            if permit < 0:
                raise self._open()
        except BaseException:
            if tokens >= 0:
                self._refund(tokens)
            for bulkhead in places:
                bulkhead.give()
            raise
        into.permit, into.tokens = permit, tokens

    def leave(self, given: Pass, used: int | None, error: BaseException | None) -> None:
        """The call has ended; `used` is how many tokens the vendor counted.

        Whatever is no `GleitzeitError`, such as a cancellation, says nothing about the target.
        """
        if not self._unbounded:
            self._give()
        if given.tokens >= 0 and used is not None:
            self.limiter.settle(given.tokens, used)
            self.shared.limiter.settle(given.tokens, used)
        permit = given.permit
        if error is None:
            if self._shunned:
                self._shunned = 0.0
            if self.breaker.failures or self.breaker.state != "closed":
                self.breaker.settle(permit, True)
        elif isinstance(error, GleitzeitError):
            self.breaker.settle(permit, False if error.counts else None)
            self._learn_from(error)
        else:
            self.breaker.settle(permit, None)

    def learn(self, limits: RateLimits) -> None:
        """What the vendor says is left."""
        self.limiter.learn(limits)

    def shun(self, seconds: float = BAD_PAUSE) -> None:
        """Make the target the last choice for so many seconds; 0: no longer."""
        self._shunned = self._clock() + seconds if seconds else 0.0

    def _changed(self, old: str, new: str) -> None:
        level = logging.WARNING if new == "open" else logging.INFO
        logger.log(level, "%s: the circuit breaker is %s, it was %s", self.name, new, old)

    def _learn_from(self, error: GleitzeitError) -> None:
        if error.limits is not None:
            self.limiter.learn(error.limits)
        if isinstance(error, RateLimitedError):
            if error.retry_after:
                self._pause(error, error.retry_after)
        elif isinstance(error, QuotaExhaustedError):
            self._pause(error, error.retry_after or QUOTA_PAUSE)
        elif isinstance(error, AccessError | UnknownModelError):
            self.shun()

    def _pause(self, error: GleitzeitError, seconds: float) -> None:
        if seconds >= self.limiter.cooling():
            self._paused_by = type(error)
        self.limiter.cool(min(seconds, LONGEST_PAUSE))

    def _check(self, last: bool) -> None:
        """What needs no waiting to be refused."""
        seconds = self.cooling()
        if seconds > TOLERANCE:
            kind = self._paused_by
            raise kind(
                f"{self.name} is left alone for {seconds:.1f} s more, as its upstream said {kind.code}",
                **self._refused(seconds),
            )
        if self.breaker.state != "closed" and self.breaker.retry_in() > 0:
            raise self._open()
        if self._shunned:
            if self._clock() >= self._shunned:
                self._shunned = 0.0
            elif not last:
                raise CapacityError(
                    f"{self.name} refused its key or its model a moment ago",
                    hint="see `gleitzeit health`",
                    **self._refused(None),
                )

    def _take(self) -> bool:
        """A place in both bulkheads, or in none."""
        shared, own = self.shared.bulkhead, self.bulkhead
        if shared is not None and not shared.take():
            return False
        if own is not None and not own.take():
            if shared is not None:
                shared.give()
            return False
        return True

    def _give(self) -> None:
        own, shared = self.bulkhead, self.shared.bulkhead
        if own is not None:
            own.give()
        if shared is not None:
            shared.give()

    async def _place(self, bulkhead: Bulkhead, seconds: float, *, waits: bool) -> None:
        if bulkhead.take():
            return
        if not waits:
            raise QueueFullError(
                f"{self.name} answers as many calls as it may",
                hint="raise bulkhead.max_calls, or name a fallback target in a route",
                **self._refused(None),
            )
        try:
            await bulkhead.wait(seconds or None)
        except QueueFullError as error:
            raise QueueFullError(
                f"{self.name}: {error.message}", hint=error.hint, **self._refused(None)
            ) from None

    def _tokens(self, request: Request) -> int:
        """What to reserve; 0 where nobody counts tokens."""
        counted = self.limiter.counts_tokens or self.shared.limiter.counts_tokens
        return estimate(request) if counted else 0

    def _refund(self, tokens: int) -> None:
        self.limiter.refund(tokens)
        self.shared.limiter.refund(tokens)

    async def _turn(self, tokens: int, left: float | None, *, waits: bool) -> None:
        """Reserve a request and its tokens, and wait until they are covered."""
        seconds = max(self.limiter.reserve(tokens), self.shared.limiter.reserve(tokens))
        most = self.config.timeouts.queue
        if seconds <= 0:
            return
        if not waits or (most and seconds > most) or (left is not None and seconds >= left):
            raise RateLimitedError(
                f"{self.name} is asked as often as its limit allows; the next turn is in {seconds:.1f} s",
                hint="see rate_limit in the configuration, or name a fallback target in a route",
                **self._refused(seconds),
            )
        await asyncio.sleep(seconds)
        self._check(last=True)  # the upstream may have asked for a pause meanwhile

    def _open(self) -> BreakerOpenError:
        seconds = self.breaker.retry_in()
        return BreakerOpenError(
            f"{self.name} has failed too often in a row and is tried again in {seconds:.1f} s"
            if self.breaker.state == "open"
            else f"{self.name} is being tried after its failures; others wait for how that ends",
            hint="see `gleitzeit health`, or name a fallback target in a route",
            **self._refused(seconds),
        )

    def _refused(self, seconds: float | None) -> dict[str, Any]:
        return {"provider": self.shared.name, "retry_after": seconds, "sent": False}


def _bulkhead(config: Resilience) -> Bulkhead | None:
    settings = config.bulkhead
    return None if settings.max_calls is None else Bulkhead(settings.max_calls, settings.max_queue)
