"""What a scripted provider has lived through, for tests to read and to wait for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final, Literal, TypeAlias

from gleitzeit.errors import UsageError
from gleitzeit.values import Request

__all__ = ["Ending", "Seen"]

Ending: TypeAlias = Literal["finished", "failed", "cancelled", "closed"]

_COUNTS: Final = ("calls", "open", "finished", "failed", "cancelled", "closed", "abandoned")


class Seen:
    """Counts of calls by how they ended, and the latest requests.

    A call is `open` from its start until it has ended in one of four ways: `finished`; `failed`
    by a scripted error or fault; `cancelled`; `closed`, which is a stream closed by its reader
    before the end.
    """

    def __init__(self, remember: int = 32) -> None:
        self.calls = self.open = self.finished = self.failed = self.cancelled = self.closed = 0
        self.models: Counter[str] = Counter()
        self.requests: deque[Request] = deque(maxlen=remember)
        self._waiting: list[tuple[dict[str, int], asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"Seen({', '.join(f'{name}={getattr(self, name)}' for name in _COUNTS)})"

    @property
    def abandoned(self) -> int:
        """Calls that their caller left before the end: cancelled or closed."""
        return self.cancelled + self.closed

    async def until(self, **counts: int) -> None:
        """Wait until each named count is at least so high: `await seen.until(open=1)`."""
        unknown = sorted(counts.keys() - set(_COUNTS))
        if unknown:
            raise UsageError(
                f"nothing is counted as {', '.join(unknown)}", hint=f"there are {', '.join(_COUNTS)}"
            )
        if self._reached(counts):
            return
        waiting = (counts, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            await waiting[1]
        finally:
            self._waiting.remove(waiting)

    def begin(self, request: Request) -> None:
        """Note that a call has begun."""
        self.calls += 1
        self.open += 1
        self.models[request.name] += 1
        self.requests.append(request)
        self._wake()

    def end(self, ending: Ending) -> None:
        """Note how a call has ended."""
        self.open -= 1
        setattr(self, ending, getattr(self, ending) + 1)
        self._wake()

    def _wake(self) -> None:
        for counts, future in self._waiting:
            if not future.done() and self._reached(counts):
                future.set_result(None)

    def _reached(self, counts: dict[str, int]) -> bool:
        return all(getattr(self, name) >= least for name, least in counts.items())
