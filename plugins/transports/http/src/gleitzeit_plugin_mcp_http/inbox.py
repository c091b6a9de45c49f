"""What has come over a wire and is not read yet, and how the wire ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import GleitzeitError, ResetError
from gleitzeit.kinds import Frame

__all__ = ["UPSTREAM", "Inbox"]

#: Frames read ahead of whoever iterates; then the connections are read no further.
AHEAD: Final = 256
#: The code under which one failed exchange is told to whoever waits for its answer.
UPSTREAM: Final = -32050


class Inbox:
    """Collects frames from several connections for one reader."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = asyncio.Event()
        self.error: GleitzeitError | None = None
        #: Pieces that were no messages.
        self.junk = 0
        self._ready: deque[Frame] = deque()
        self._more = asyncio.Event()  # frames are ready, or none will come
        self._room = asyncio.Event()
        self._room.set()

    def put(self, message: Mapping[str, Any]) -> None:
        """Add a message; nothing is added once the wire is lost."""
        if self.lost.is_set():
            return
        self._ready.append(Frame(message))
        self._more.set()
        if len(self._ready) >= AHEAD:
            self._room.clear()

    def fail(self, id: Any, error: GleitzeitError) -> None:
        """Tell the request `id`, which the server has got, that its answer will not come."""
        data = {"sent": True, "error": error.code}
        detail = {"code": UPSTREAM, "message": error.message, "data": data}
        self.put({"jsonrpc": "2.0", "id": id, "error": detail})

    async def room(self) -> None:
        """Wait while too much is unread."""
        await self._room.wait()

    async def get(self) -> Frame:
        """The next frame; raises `StopAsyncIteration` once the wire is lost and all is read."""
        while not self._ready:
            if self.lost.is_set():
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        frame = self._ready.popleft()
        if len(self._ready) < AHEAD:
            self._room.set()
        return frame

    def lose(self, error: GleitzeitError | None) -> None:
        """Nothing more will come; None where that is wanted. Idempotent."""
        if not self.lost.is_set():
            self.error = error
            self.lost.set()
            self._more.set()
            self._room.set()

    def gone(self, *, sent: bool | None) -> GleitzeitError:
        """The error for one more message, once the wire is lost."""
        why = self.error
        if why is None:
            what = f"the connection to server {self.name!r} is closed"
            return ResetError(what, provider=self.name, sent=sent)
        return type(why)(why.message, hint=why.hint, provider=self.name, status=why.status, sent=sent)
