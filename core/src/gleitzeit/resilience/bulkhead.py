"""The bulkhead: so many calls at once, the others in a queue with an end."""

from __future__ import annotations

import asyncio
from collections import deque

from gleitzeit.errors import QueueFullError

__all__ = ["Bulkhead"]


class Bulkhead:
    """Places for calls; who comes first is served first.

    Single-loop, not thread-safe. Whoever has taken a place, by `take` or by `wait`, gives it back once.
    """

    __slots__ = ("_queue", "in_use", "max_calls", "max_queue")

    def __init__(self, max_calls: int, max_queue: int) -> None:
        self.max_calls = max_calls
        self.max_queue = max_queue
        self.in_use = 0
        # While anybody is in it every place is taken, so nobody overtakes: a place given back goes to the
        # next one directly.
        self._queue: deque[asyncio.Future[bool]] = deque()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return sum(not place.done() for place in self._queue)

    def take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self.in_use >= self.max_calls:
            return False
        self.in_use += 1
        return True

    async def wait(self, seconds: float | None) -> None:
        """Take a place, after at most so many seconds in the queue (None: however long it takes).

        Raises `QueueFullError` where the queue is full, or no place came free in time. A cancelled
        waiter leaves the queue; a place that it has just been given goes to the next one.
        """
        if self.take():
            return
        if len(self._queue) >= self.max_queue and self.waiting >= self.max_queue:
            raise QueueFullError(
                f"all {self.max_calls} places are taken, and {self.max_queue} calls wait already",
                hint="raise bulkhead.max_calls or bulkhead.max_queue, or name a fallback target in a route",
                sent=False,
            )
        if seconds is not None and seconds <= 0:
            raise self._late(0.0)
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, self._expire, place) if seconds is not None else None
        self._queue.append(place)
        try:
            given = await place
        except BaseException:
            if place.done() and not place.cancelled() and place.result():
                self.give()
            else:
                self._forget(place)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not given:
            raise self._late(seconds or 0.0)

    def give(self) -> None:
        """Give a place back; the longest waiting call gets it."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():  # cancelled, and about to leave by itself
                place.set_result(True)
                return
        self.in_use -= 1

    def _expire(self, place: asyncio.Future[bool]) -> None:
        if not place.done():
            self._forget(place)
            place.set_result(False)

    def _forget(self, place: asyncio.Future[bool]) -> None:
        try:
            self._queue.remove(place)
        except ValueError:
            pass  # passed over by `give`, or expired in the same moment

    def _late(self, seconds: float) -> QueueFullError:
        return QueueFullError(
            f"none of {self.max_calls} places came free within {seconds:g} s",
            hint="raise bulkhead.max_calls or timeouts.queue, or name a fallback target in a route",
            sent=False,
        )

    def __repr__(self) -> str:
        return f"Bulkhead({self.in_use} of {self.max_calls} in use, {self.waiting} waiting)"
