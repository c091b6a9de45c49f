"""The tail of latencies: what nearly all calls stay below."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Tail"]

_NEEDED: Final = 20
_KEPT: Final = 200
_RENEWED: Final = 10
_SHARE: Final = 0.95


class Tail:
    """The 95th percentile of the latest calls."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_KEPT)
        self._count = 0
        #: Seconds; None as long as too little was seen.
        self.limit: float | None = None

    def add(self, seconds: float) -> None:
        """A call took so long, or longer."""
        self._seen.append(seconds)
        self._count += 1
        if self._count >= _NEEDED and self._count % _RENEWED == 0:
            self.limit = sorted(self._seen)[int(_SHARE * len(self._seen))]
