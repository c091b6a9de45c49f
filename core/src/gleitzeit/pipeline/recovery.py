"""What a call does after a target has failed it: ask another, then the same ones again after a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from gleitzeit.errors import (
    BreakerOpenError,
    CapacityError,
    GleitzeitError,
    SecurityDeniedError,
    TooLongError,
)
from gleitzeit.pipeline.legs import Leg
from gleitzeit.values import Attempt, Reply, Request, Retry, Stream

__all__ = ["Ask", "Decider", "Recovery"]

logger = logging.getLogger(__name__)
#: A plugin's `retry_policy`.
Decider: TypeAlias = Callable[[Request, GleitzeitError, int], Retry | None]


class Ask(Protocol):
    """One attempt at one target."""

    async def __call__(
        self, leg: Leg, request: Request, errors: tuple[Attempt, ...], *, waits: bool, last: bool
    ) -> Reply | Stream: ...


class Recovery:
    """The rest of one call whose first target has failed.

    Another target is asked at once; when all have failed, the one whose wait is over first is asked
    again, as often as its retry policy, its retry budget and the deadline of the call allow. Nothing
    that may have acted is repeated anywhere, unless doing it twice does no harm.
    """

    def __init__(
        self,
        ask: Ask,
        request: Request,
        failed: tuple[Attempt, ...],
        deciders: tuple[tuple[str, Decider], ...],
        *,
        patient: bool,
        alone: bool,
    ) -> None:
        self._ask = ask
        self._request = request
        self._errors = failed
        self._deciders = deciders
        self._patient = patient
        self._alone = alone
        self._retries = 0
        #: Legs to ask again, with their error and the earliest time for it.
        self._again: dict[Leg, tuple[float, GleitzeitError]] = {}
        #: Legs that had no room for a call that would not wait: asked once more before any wait.
        self._later: list[Leg] = []
        self._told: GleitzeitError | None = None
        #: No other target may be asked.
        self._stays = False
        #: Only targets with a larger context than this are of use.
        self._context = 0

    async def after(self, leg: Leg, error: GleitzeitError, legs: Iterator[Leg]) -> Reply | Stream:
        """The answer of a later attempt; raises the most telling error."""
        patient, last = self._patient, self._alone
        while True:
            self._note(leg, error, waited=patient, last=last)
            found = self._next(legs)
            if found is not None:
                patient, last = self._patient, False
            else:
                found = self._later.pop(0) if self._later else await self._wait()
                patient = last = True
            leg = found
            try:
                return await self._ask(leg, self._request, self._errors, waits=patient, last=last)
            except GleitzeitError as failure:
                error = failure

    def _next(self, legs: Iterator[Leg]) -> Leg | None:
        """The next leg that has not been asked; None where there is none."""
        for leg in () if self._stays else legs:
            if self._context < _context(leg) or not self._context:
                leg.gate.budget.deposit()
                return leg
        return None

    def _note(self, leg: Leg, error: GleitzeitError, *, waited: bool, last: bool) -> None:
        """Take the failure down, and decide whether the call may go on; raises `error` where it may not."""
        error.attempts = self._errors
        if self._told is None or not isinstance(error, BreakerOpenError):
            self._told = error  # an open breaker tells less than what has opened it
        if isinstance(error, TooLongError) and _context(leg):
            self._context = max(self._context, _context(leg))
        elif isinstance(error, SecurityDeniedError):
            pass  # of this target; another may be allowed, and is asked
        elif error.sent is not False and not self._request.operation.idempotent:
            raise error
        else:
            if _busy(leg, error, waited=waited, last=last):
                self._later.append(leg)
            elif (delay := self._delay(leg, error)) is not None:
                self._again[leg] = time.monotonic() + delay, error
                self._stays = self._stays or not error.fallback
            elif not error.fallback:
                raise error
        usage = getattr(error.partial, "usage", None)
        self._errors = (*self._errors, Attempt(leg.target, error=error, usage=usage))

    def _delay(self, leg: Leg, error: GleitzeitError) -> float | None:
        """Seconds to wait before this leg is asked again; None: it is not."""
        tries = self._retries + 1
        for name, decide in self._deciders:
            try:
                decision = decide(self._request, error, tries)
            except Exception as fault:  # noqa: BLE001 - a faulty policy is as one that says nothing
                logger.warning("retry_policy of %r raised %s", name, type(fault).__name__)
                continue
            if decision is not None:
                return decision.delay
        return leg.gate.policy.delay(error, tries)

    async def _wait(self) -> Leg:
        """The leg to ask again, when its time has come; raises the error of the call where there is none."""
        while self._again:
            leg = min(self._again, key=lambda each: self._again[each][0])
            at, error = self._again.pop(leg)
            now = time.monotonic()
            deadline = self._request.deadline
            if (deadline is not None and max(at, now) >= deadline) or self._delay(leg, error) is None:
                continue
            if not _refused(error) and not leg.gate.budget.withdraw():
                continue
            self._retries += 1
            leg.gate.stats.retries += 1
            if at > now:
                await asyncio.sleep(at - now)
            return leg
        told = self._told
        assert told is not None, "there is a failure, or nothing would be recovered from"
        at = max(number for number, attempt in enumerate(self._errors) if attempt.error is told)
        told.attempts = self._errors[:at] + self._errors[at + 1 :]
        raise told


def _refused(error: GleitzeitError) -> bool:
    """Did the gate refuse, before anybody was asked?"""
    return isinstance(error, CapacityError) and error.sent is False


def _busy(leg: Leg, error: GleitzeitError, *, waited: bool, last: bool) -> bool:
    """Was there no room for a call that would rather ask another than wait?"""
    if not _refused(error) or isinstance(error, BreakerOpenError) or leg.gate.cooling():
        return False
    return not last if type(error) is CapacityError else not waited


def _context(leg: Leg) -> int:
    model = leg.target.model
    return (model.context_tokens or 0) if model is not None else 0
