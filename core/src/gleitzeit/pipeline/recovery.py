"""What a call does after a target has failed it: ask another, then the same ones again after a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, TypeAlias

from gleitzeit.errors import (
    BreakerOpenError,
    CapacityError,
    GleitzeitError,
    SecurityDeniedError,
    TooLongError,
)
from gleitzeit.pipeline.legs import Leg
from gleitzeit.values import Attempt, Request, Retry

__all__ = ["Decider", "Recovery"]

logger = logging.getLogger(__name__)
#: So many legs of a strategy are looked at for the next one to ask.
MAX_LEGS: Final = 10_000
#: A plugin's `retry_policy`.
Decider: TypeAlias = Callable[[Request, GleitzeitError, int], Retry | None]


class Recovery:
    """The rest of one call whose first target has failed.

    Another target is asked at once; when all have failed, the one whose wait is over first is asked
    again, as often as its retry policy, its retry budget and the deadline of the call allow. Nothing
    that may have acted is repeated anywhere, unless doing it twice does no harm.
    """

    def __init__(
        self,
        request: Request,
        legs: Iterator[Leg],
        failed: tuple[Attempt, ...],
        deciders: tuple[tuple[str, Decider], ...],
        *,
        patient: bool,
        alone: bool,
    ) -> None:
        self._request = request
        self._legs = legs
        #: What has failed so far.
        self.failed = failed
        self._deciders = deciders
        self._patient = patient
        #: How the last leg was asked.
        self._waited, self._last = patient, alone
        self._retries = 0
        self._asked: set[Leg] = set()
        #: Legs to ask again, with their error and the earliest time for it.
        self._again: dict[Leg, tuple[float, GleitzeitError]] = {}
        #: Legs that had no room for a call that would not wait: asked once more before any wait.
        self._later: list[Leg] = []
        self._told: GleitzeitError | None = None
        #: No other target may be asked.
        self._stays = False
        #: Only targets with a larger context than this are of use.
        self._context = 0

    async def after(self, leg: Leg, error: GleitzeitError) -> tuple[Leg, bool, bool]:
        """The leg to ask next, when its time has come; whether it is waited for, and whether it is the last.

        Raises the most telling error where there is none.
        """
        self._note(leg, error)
        found = self._next()
        if found is not None:
            self._waited, self._last = self._patient, False
        else:
            found = self._busy_before() or await self._wait()
            self._waited = self._last = True
        return found, self._waited, self._last

    def ends(self, error: BaseException) -> None:
        """The call ends by something else, such as its deadline: let it tell what went before."""
        error.attempts = self.failed  # type: ignore[attr-defined]  # a `Deadline` hands it on

    def _next(self) -> Leg | None:
        """The next leg that has not been asked; None where there is none."""
        for leg in () if self._stays else islice(self._legs, MAX_LEGS):
            if self._fits(leg) and leg not in self._asked:  # a strategy may say one twice, or for ever
                leg.gate.budget.deposit()
                return leg
        return None

    def _busy_before(self) -> Leg | None:
        """The next leg that had no room when it was asked; None where there is none."""
        while self._later:
            leg = self._later.pop(0)
            if self._fits(leg):
                return leg
        return None

    def _fits(self, leg: Leg) -> bool:
        """May it be asked: was nothing too long so far, or is it known to hold more than what was?"""
        return not self._context or self._context < _context(leg)

    def _note(self, leg: Leg, error: GleitzeitError) -> None:
        """Take the failure down, and decide whether the call may go on; raises `error` where it may not."""
        self._asked.add(leg)
        error.attempts = self.failed
        if self._told is None or not isinstance(error, BreakerOpenError):
            self._told = error  # an open breaker tells less than what has opened it
        if isinstance(error, TooLongError) and _context(leg):
            self._context = max(self._context, _context(leg))
        elif error.sent is not False and not (self._request.operation.idempotent or leg.target.repeatable):
            raise error
        elif isinstance(error, SecurityDeniedError):
            pass  # of this target; another may be allowed, and is asked
        else:
            if _busy(leg, error, waited=self._waited, last=self._last):
                self._later.append(leg)
            elif (delay := self._delay(leg, error)) is not None:
                if not error.fallback:
                    self._stays = True
                    self._again.clear()
                    self._later.clear()
                self._again[leg] = time.monotonic() + delay, error
            elif not error.fallback:
                raise error
        usage = getattr(error.partial, "usage", None)
        self.failed = (*self.failed, Attempt(leg.target, error=error, usage=usage))

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
            if not self._fits(leg):
                continue
            now = time.monotonic()
            deadline = self._request.deadline
            if (deadline is not None and max(at, now) >= deadline) or self._delay(leg, error) is None:
                continue
            if not _refused(error):  # else nobody has been asked, and only the deadline bounds the waiting
                if not leg.gate.budget.withdraw():
                    continue
                self._retries += 1
                leg.gate.stats.retries += 1
            if at > now:
                try:
                    await asyncio.sleep(at - now)
                except asyncio.CancelledError as ended:
                    self.ends(ended)
                    raise
            return leg
        told = self._told
        assert told is not None, "there is a failure, or nothing would be recovered from"
        at = max(number for number, attempt in enumerate(self.failed) if attempt.error is told)
        told.attempts = self.failed[:at] + self.failed[at + 1 :]
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
