"""Resources that a server lets its clients keep for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["Kept", "lasting"]

#: Seconds that anything is kept at most.
LONGEST: Final = 86_400.0
#: Characters of one resource that are kept, and of all together.
LARGEST: Final = 1 << 20
ROOM: Final = 8 << 20


def lasting(result: Mapping[str, Any]) -> float:
    """Seconds that a result may be kept, by its own `ttlMs`; 0 where it says nothing."""
    ttl = result.get("ttlMs")
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not ttl > 0:
        return 0.0
    return min(float(ttl) / 1000, LONGEST)


class Kept:
    """Results of `resources/read` by URI: public ones for all, others for the principal who asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: OrderedDict[tuple[str, str | None, bool], tuple[float, int, dict[str, Any]]] = (
            OrderedDict()
        )
        self._size = 0
        #: How often anything was dropped: what was asked for before that is not kept any more.
        self.turn = 0

    def get(self, uri: str, principal: str | None) -> dict[str, Any] | None:
        """What is known and not too old."""
        for key in ((uri, None, True), (uri, principal, False)):
            found = self._found.get(key)
            if found is not None and self._clock() < found[0]:
                self._found.move_to_end(key)
                return found[2]
            if found is not None:
                self._drop(key)
        return None

    def put(self, uri: str, principal: str | None, result: dict[str, Any], asked: float) -> None:
        """Keep a result that was asked for at `asked`, as long as it says."""
        seconds, size = lasting(result), _size(result)
        public = result.get("cacheScope") == "public"
        key = (uri, None if public else principal, public)
        self._drop(key)
        if seconds <= 0 or size > LARGEST or asked + seconds <= self._clock():
            return
        self._found[key] = (asked + seconds, size, result)
        self._size += size
        while self._size > ROOM:
            self._drop(next(iter(self._found)))

    def forget(self, uri: str | None = None) -> None:
        """One resource has changed, or any (None) may have."""
        self.turn += 1
        for key in [key for key in self._found if uri is None or key[0] == uri]:
            self._drop(key)

    def _drop(self, key: tuple[str, str | None, bool]) -> None:
        found = self._found.pop(key, None)
        if found is not None:
            self._size -= found[1]


def _size(result: Mapping[str, Any]) -> int:
    items = result.get("contents")
    texts = [
        text
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, Mapping)
        for text in (item.get("text"), item.get("blob"))
        if isinstance(text, str)
    ]
    return 200 + sum(map(len, texts))
