"""One timer of the loop for every deadline of a host.

A timer of the loop's own for each call costs more than a microsecond to arm and to cancel; an
entry here costs a tenth of that, as nearly all of them are taken back before they are due.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, Protocol

from gleitzeit.errors import UsageError
from gleitzeit.values.tasks import running_task

__all__ = ["Clock", "Entry"]

#: Seconds: all that is due within them is sorted at once, so that many deadlines that really
#: come do not mean many looks at all the others.
_WINDOW: Final = 0.25


class Entry(Protocol):
    """What is rung once when its time has come, in the loop's thread; it must not raise."""

    #: In the clock's seconds; it changes only while the entry is not in the clock.
    due: float

    def ring(self, now: float) -> None:
        """Its time has come, and it is out of the clock; it may add itself again with a later `due`."""


class Clock:
    """Rings entries when they are due: never early, and late only by as much as the loop is.

    For one event loop, not thread-safe. `close` it, and it may be used again, in another loop, too.
    """

    __slots__ = ("_entries", "_handle", "_horizon", "_numbers", "_soon", "firings", "loop", "next_at", "now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        #: When the loop's timer is set for; infinite while it is not set.
        self.next_at = math.inf
        #: How often entries were looked for.
        self.firings = 0
        #: The time in its seconds.
        self.now = now
        #: The loop that it belongs to: asking which one runs costs as much as an entry.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._entries: set[Entry] = set()
        #: All entries due before the horizon, sorted; some may be gone again.
        self._soon: list[tuple[float, int, Entry]] = []
        self._horizon = -math.inf
        self._numbers = itertools.count()
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def task(self) -> asyncio.Task[Any]:
        """The task that runs now; raises `UsageError` where none does."""
        task = running_task(self.loop) if self.loop is not None else None
        if task is None:
            self.loop = asyncio.get_running_loop()
            task = running_task(self.loop)
        if task is None:
            raise UsageError("a call needs a task", hint="await it inside a coroutine run by asyncio")
        return task

    def add(self, entry: Entry) -> None:
        """Ring `entry` when it is due; needs a running loop."""
        self._entries.add(entry)
        due = entry.due
        if due < self._horizon:
            heappush(self._soon, (due, next(self._numbers), entry))
        if due < self.next_at:
            self._arm(due)

    def discard(self, entry: Entry) -> None:
        """Do not ring `entry`; it may be gone already. The timer stays, and finds out when it goes off."""
        self._entries.discard(entry)

    def fire(self) -> None:
        """Ring what is due, and set the timer anew; the timer does this itself.

        What a ring raises is raised, after the timer is set for the others.
        """
        self._disarm()
        self.next_at = -math.inf  # what is added by those who are rung arms nothing
        self.firings += 1
        now = self.now()
        try:
            if not self._soon:
                self._look(now)
            soon, entries = self._soon, self._entries
            while soon and soon[0][0] <= now:
                due, _, entry = heappop(soon)
                if entry in entries and entry.due == due:
                    entries.discard(entry)
                    entry.ring(now)
        finally:
            if self.next_at == -math.inf:  # else one of them has closed the clock
                self._set(now)

    def close(self) -> None:
        """Forget all entries and cancel the timer."""
        self._entries.clear()
        self._soon.clear()
        self._horizon = -math.inf
        self.loop = None
        self._disarm()

    def _disarm(self) -> None:
        handle, self._handle = self._handle, None
        self.next_at = math.inf
        if handle is not None:
            handle.cancel()

    def _arm(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        self._disarm()
        self.next_at = due
        self._handle = loop.call_later(max(0.0, due - self.now()), self.fire)

    def _set(self, now: float) -> None:
        """Arm for the earliest entry that is left."""
        self.next_at = math.inf
        soon = self._soon
        while soon and (soon[0][2] not in self._entries or soon[0][2].due != soon[0][0]):
            heappop(soon)
        earliest = soon[0][0] if soon else self._look(now)
        if earliest < math.inf:
            self._arm(earliest)

    def _look(self, now: float) -> float:
        """Sort what is due soon, and give the earliest due of all."""
        horizon = self._horizon = now + _WINDOW
        earliest = math.inf
        # A copy: a stream that the garbage collector frees meanwhile takes its entry out.
        for entry in tuple(self._entries):
            due = entry.due
            if due < horizon:
                self._soon.append((due, next(self._numbers), entry))
            if due < earliest:
                earliest = due
        heapify(self._soon)
        return earliest
