"""How fast a server answers of late."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Pace"]

#: So many answers, none older than so many seconds, tell how fast a server is now.
ANSWERS: Final = 20
RECENT: Final = 300.0


class Pace:
    """The last answers of a server, and how long each took.

    What a host counts goes back to its start; whether a server is slow *now* only its last answers tell.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: deque[tuple[float, float]] = deque(maxlen=ANSWERS)

    def add(self, seconds: float) -> None:
        """One more answer, or a wait for one that was given up."""
        self._answers.append((self._clock(), seconds))

    @property
    def mean(self) -> float | None:
        """Seconds on average; None where there was no answer of late."""
        since = self._clock() - RECENT
        found = [seconds for at, seconds in self._answers if at >= since]
        return sum(found) / len(found) if found else None
