"""One attempt at one target, from the moment it is chosen until how it ended is known to all."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Literal

from gleitzeit.errors import DeadlineError, GleitzeitError, PluginError, ToolFailedError
from gleitzeit.kinds import Ending
from gleitzeit.pipeline.legs import Leg
from gleitzeit.resilience import Pass
from gleitzeit.values import Reply, Request, Stream, StreamEnd, Usage

__all__ = ["Visit"]

logger = logging.getLogger(__name__)

#: How an attempt is counted that gave an answer in which a tool reports a failure.
_REPORTED: Final = ToolFailedError.code


class Visit(Pass):
    """Enters the gate, and tells gate, balancers and statistics of the end, exactly once."""

    __slots__ = ("_first", "_leg", "_open", "_request", "_started", "_told")

    def __init__(self, leg: Leg, request: Request) -> None:
        self._leg = leg
        self._request = request
        self.permit = self.tokens = -1
        self._first = 0.0
        self._open = True
        #: How many balancers know of it; None: all.
        self._told: int | None = None
        self._started = time.monotonic()
        leg.gate.stats.in_flight += 1
        if leg.watchers:
            self._begin()

    @property
    def asked(self) -> bool:
        """Was the target reached, or did the gate refuse?"""
        return self.permit >= 0

    async def enter(self, *, waits: bool, last: bool) -> None:
        """Pass the gate when it lets the call in; raises what it raises."""
        await self._leg.gate.enter(self._request, self, waits=waits, last=last)
        self._started = time.monotonic()  # what the queue took is not the target's

    def follow(self, stream: Stream) -> None:
        """From here on the stream says when the visit ends."""
        stream.tap(on_end=self._ended)

    def committed(self, stream: Stream) -> None:
        """The first event with content has come."""
        self._first = time.monotonic() - self._started
        self._leg.gate.stats.first_event.record(self._first)
        started = stream.started
        if started is not None and started.limits is not None:
            self._leg.gate.learn(started.limits)

    def answered(self, reply: Reply) -> None:
        """A whole answer has come."""
        if reply.limits is not None:
            self._leg.gate.learn(reply.limits)
        self._end(None, reply.usage, _REPORTED if reply.is_error else "ok")

    def failed(self, error: BaseException) -> None:
        """It came to nothing, or to something that cannot be used."""
        self._end(error, getattr(getattr(error, "partial", None), "usage", None))

    def _ended(self, end: StreamEnd) -> None:
        error = None if end.outcome == "finished" else end.error or asyncio.CancelledError()
        self._end(error, end.usage, _REPORTED if end.is_error else "")

    def _end(self, error: BaseException | None, usage: Usage | None, word: str = "") -> None:
        if not self._open:
            return
        self._open = False
        leg, seconds = self._leg, time.monotonic() - self._started
        gate = leg.gate
        stats = gate.stats
        stats.in_flight -= 1
        if error is not None and self._overdue(error):
            error = DeadlineError("")  # a cancellation that our own clock asked for is the target's failure
        if self.asked:
            used = None if usage is None else (usage.input or 0) + (usage.output or 0)
            gate.leave(self, used, error)
            stats.attempt(word or _word(error), seconds, usage)
        else:
            stats.refused += 1
        if leg.watchers:
            self._tell(error, seconds)

    def _begin(self) -> None:
        """Tell the balancers. One that raises fails the attempt, and those told before it hear of the end."""
        told = 0
        try:
            for balancer, choice in self._leg.watchers:
                balancer.begun(choice, self._request)
                told += 1
        except Exception as fault:
            failure = PluginError(
                f"{type(self._leg.watchers[told][0]).__name__}.begun raised {type(fault).__name__}: {fault}",
                hint="this is a fault of the plugin of the route's strategy",
                sent=False,
            )
            self._told = told
            self.failed(failure)
            raise failure from fault

    def _tell(self, error: BaseException | None, seconds: float) -> None:
        typed = error if isinstance(error, GleitzeitError) else None
        outcome: Literal["ok", "failed", "neutral"] = "ok" if error is None else "neutral"
        if typed is not None and typed.counts and self.asked:
            outcome = "failed"
        ending = Ending(outcome, seconds=seconds, first=self._first or seconds, error=typed)
        for balancer, choice in self._leg.watchers[: self._told]:
            try:
                balancer.ended(choice, self._request, ending)
            except Exception as fault:  # noqa: BLE001 - the answer is there all the same, and the others want to know
                logger.warning("%s.ended raised %s", type(balancer).__name__, type(fault).__name__)

    def _overdue(self, error: BaseException) -> bool:
        deadline = self._request.deadline
        return (
            isinstance(error, asyncio.CancelledError)
            and deadline is not None
            and time.monotonic() >= deadline
        )


def _word(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, GleitzeitError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else PluginError.code
