"""The time of a call and of its stream: one deadline for everything below, and limits on silence.

`asyncio.timeout` costs 3 µs a call and 3 µs an event; an entry of the host's clock costs a tenth of
a microsecond a call and nothing an event.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from gleitzeit.errors import DeadlineError, GleitzeitError
from gleitzeit.resilience.clock import Clock
from gleitzeit.values import Stream

__all__ = ["Deadline", "Lease", "StreamGuard"]

#: Seconds between two looks at a stream, at most.
_TICK: Final = 0.5


def _expired(what: str) -> DeadlineError:
    """The error for a deadline that has passed."""
    return DeadlineError(
        f"{what} did not end within its deadline", hint="give it more time, or see the target's health"
    )


class Deadline:
    """Cancels the task inside the block at `deadline` and raises `DeadlineError` instead.

    `deadline` is in the seconds of `clock`, None for none. A cancellation from outside stays one. `what`
    and `of` together name the block in the error. What the cancellation was told on its way out, it
    tells too: `provider`, who was being asked, and `attempts` of a call that was trying again.
    """

    __slots__ = ("_base", "_clock", "_error", "_of", "_task", "_what", "due", "expired")

    def __init__(self, deadline: float | None, what: str, clock: Clock, *, of: object = "") -> None:
        self.due = math.inf if deadline is None else deadline
        #: Did the block end because its time was over?
        self.expired = False
        self._what, self._of = what, of
        self._clock = clock
        self._error: DeadlineError | None = None

    def __enter__(self) -> Self:
        clock = self._clock
        self._task = task = clock.task()
        self._base = task.cancelling()
        if self.due != math.inf:
            if self.due <= clock.now():
                self.expired = True
                raise _expired(f"{self._what}{self._of}")
            clock.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.discard(self)
        if (
            self._error is not None
            and self._task.uncancel() <= self._base
            and isinstance(error, asyncio.CancelledError)
        ):
            self.expired = True
            self._error.provider = getattr(error, "provider", None)
            self._error.attempts = getattr(error, "attempts", ())
            raise self._error from None

    def ring(self, now: float) -> None:
        """The time is over."""
        if self._error is None:
            self._error = _expired(f"{self._what}{self._of}")
            self._task.cancel()


class Lease:
    """A call in flight: `fail` ends it. Whoever made it calls `settle` when it has ended with an error."""

    __slots__ = ("_base", "_task", "error", "private")

    #: Is the call private? Set only where it is.
    private: bool

    def __init__(self, clock: Clock) -> None:
        self._task = task = clock.task()
        self._base = task.cancelling()
        #: Why it was ended.
        self.error: GleitzeitError | None = None

    @property
    def cancelled(self) -> bool:
        """Is the task asked to stop? It may have been before the call, and hear of it inside."""
        return self._task.cancelling() > 0

    def fail(self, error: GleitzeitError) -> None:
        """End the call now with `error`: for whoever stops what it stands on."""
        if self.error is None:
            self.error = error
            self._task.cancel()

    def settle(self, error: BaseException | None) -> GleitzeitError | None:
        """The error to raise in place of the cancellation that `fail` asked for; None for any other end."""
        if self.error is not None and self._task.uncancel() <= self._base:
            return self.error if isinstance(error, asyncio.CancelledError) else None
        return None


class StreamGuard:
    """Ends a stream at its deadline, or when upstream is silent for too long; and for others who must.

    `first_event` bounds the silence before the first event with content, `idle` the silence after it,
    both in seconds, 0 for no limit. Only time in which a reader waits for upstream counts, and each
    byte is a sign of life. Silence is noticed up to half a second late: the stream is looked at
    from time to time, so that an event costs nothing.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_deadline",
        "_first_event",
        "_idle",
        "_own",
        "_progress",
        "_since",
        "_stream",
        "_what",
        "due",
        "private",
        "translate",
    )

    #: Is the stream private?
    private: bool

    def __init__(
        self,
        deadline: float | None,
        what: str,
        translate: Callable[[BaseException], BaseException],
        clock: Clock | None = None,
        first_event: float = 0.0,
        idle: float = 0.0,
    ) -> None:
        self._stream: weakref.ref[Stream] | None = None
        self.translate = translate
        self._what = what
        self._own = clock is None
        self._clock = Clock() if clock is None else clock
        self._deadline = math.inf if deadline is None else deadline
        self._first_event = first_event or math.inf
        self._idle = idle or math.inf
        #: Has content come?
        self._begun = False
        self._progress = -1
        #: Since when a reader has been seen to wait while nothing came; infinite while none does.
        self._since = math.inf
        self.due = min(self._deadline, self._next_look(self._clock.now()))
        if self.due != math.inf:
            self._clock.add(self)

    @property
    def stream(self) -> Stream | None:
        """The stream, by weak reference: one that its reader has dropped must not live on by its lease."""
        return self._stream() if self._stream is not None else None

    @stream.setter
    def stream(self, stream: Stream | None) -> None:
        self._stream = weakref.ref(stream) if stream is not None else None

    def stop(self) -> None:
        """The stream has ended."""
        self._clock.discard(self)
        if self._own:
            self._clock.close()

    def fail(self, error: GleitzeitError) -> None:
        """End the stream with `error`."""
        stream = self.stream
        if stream is not None:
            stream.interrupt(error)

    def ring(self, now: float) -> None:
        """Look after the stream; again later if it may live on."""
        stream = self.stream
        if now >= self._deadline:
            self._fail_typed(_expired(self._what))
            return
        if stream is None or stream.done:
            return
        if self._look(stream, now):
            limit = self._idle if self._begun else self._first_event
            phase = "after an event" if self._begun else "before its first event"
            key = "idle" if self._begun else "first_event"
            error = DeadlineError(
                f"{self._what} was silent for {limit:g} s {phase}",
                hint=f"see the target's health, or raise `{key}` in its `timeouts`",
                retryable=True,
                sent=True,
            )
            self._fail_typed(error)
            return
        limit = self._idle if self._begun else self._first_event
        self.due = min(self._deadline, self._next_look(now), self._since + limit)
        if self.due != math.inf:
            self._clock.add(self)

    def _fail_typed(self, error: DeadlineError) -> None:
        typed = self.translate(error)
        self.fail(typed if isinstance(typed, GleitzeitError) else error)

    def _look(self, stream: Stream, now: float) -> bool:
        """Has a reader waited for too long?"""
        progress = stream.progress
        if not stream.waiting:
            self._since = math.inf
        elif progress != self._progress or self._since == math.inf:
            self._since = now
        self._progress = progress
        if not self._begun:
            self._begun = stream.begun
        return now >= self._since + (self._idle if self._begun else self._first_event)

    def _next_look(self, now: float) -> float:
        """The next tick, on a grid that all streams share, so that one firing serves them all."""
        limit = self._idle if self._begun else min(self._idle, self._first_event)
        if limit == math.inf:
            return limit
        tick = min(_TICK, limit / 4)
        due = (now // tick + 1) * tick
        return due if due > now else due + tick
