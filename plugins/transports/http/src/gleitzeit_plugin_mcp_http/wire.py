"""One open connection to a server, in whatever dialect of HTTP it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from gleitzeit.errors import GleitzeitError
from gleitzeit.kinds import Frame
from gleitzeit.wire.jsonrpc import dump
from gleitzeit_plugin_mcp_http.dialect import Dialect
from gleitzeit_plugin_mcp_http.inbox import Inbox
from gleitzeit_plugin_mcp_http.link import Link
from gleitzeit_plugin_mcp_http.sse import Sse
from gleitzeit_plugin_mcp_http.streamable import Streamable

__all__ = ["HttpWire"]

#: What a server of 2024 answers to a POST at the address of its stream.
_OLDER: Final = frozenset({400, 404, 405})
#: How an older streamable server may answer a greeting that it does not know.
_GREETED: Final = _OLDER | {406, 409, 410, 415, 422, 500, 501}
_INVALID: Final = -32600


class HttpWire:
    """See `gleitzeit.kinds.Wire`. Nothing is connected before the first message, but for HTTP+SSE.

    `auto` allows it to change from streamable HTTP to HTTP+SSE at the first message; `found` hears
    of that.
    """

    def __init__(self, link: Link, *, limit: int, auto: bool, found: Callable[[], None]) -> None:
        self._link = link
        self._limit = limit
        self._auto = auto
        self._found = found
        self._inbox = Inbox(link.name)
        self._streamable = Streamable(link, self._inbox, limit)
        self._dialect: Dialect = self._streamable
        self._turning = asyncio.Lock()
        self._sse: Sse | None = None

    async def open_sse(self) -> None:
        """Speak HTTP+SSE from now on; raises where the server does not."""
        sse = self._sse = Sse(self._link, self._inbox, self._limit)
        try:
            await sse.open()
        except BaseException:
            await sse.close()
            raise
        self._dialect = sse

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""
        return self._inbox.lost

    @property
    def error(self) -> GleitzeitError | None:
        """Why the wire was lost; None while it stands and after a wanted close."""
        return self._inbox.error

    async def send(self, frame: Frame) -> None:
        """Post a frame; lasts until the server has taken it, or begun to answer it.

        Cancelling breaks the exchange off, which since 2026-07-28 cancels the request. Raises what the
        server's refusal or the failed connection means, for this frame alone.
        """
        message = frame.message
        body = dump(message, self._inbox.name)
        if self._inbox.lost.is_set():
            raise self._inbox.gone(sent=False)
        dialect = self._dialect
        try:
            await dialect.send(message, body, frame.headers)
        except GleitzeitError as error:
            if dialect is not self._streamable or self._streamable.spoken:
                raise
            if self._auto and error.status in _OLDER and await self._turn():
                await self._dialect.send(message, body, frame.headers)
            elif message.get("method") == "server/discover" and error.status in _GREETED:
                # To an older server this is a request out of turn, which says nothing against a handshake.
                fault = {"code": _INVALID, "message": error.message}
                self._inbox.put({"jsonrpc": "2.0", "id": message.get("id"), "error": fault})
            else:
                raise

    async def _turn(self) -> bool:
        """Change to HTTP+SSE if the server speaks that."""
        async with self._turning:
            if self._dialect is self._streamable:
                with suppress(GleitzeitError):
                    await self.open_sse()
                    self._found()
        return self._dialect is not self._streamable

    def __aiter__(self) -> HttpWire:
        return self

    async def __anext__(self) -> Frame:
        return await self._inbox.get()

    def diagnostics(self) -> Mapping[str, Any]:
        """Address and dialect, and how much is under way; nothing secret."""
        return {
            "url": self._link.place,
            "dialect": self._dialect.name,
            "session": self._streamable.session is not None,
            "in_flight": self._streamable.in_flight,
            "junk": self._inbox.junk,
        }

    async def close(self) -> None:
        """End what is under way, and the session on the server."""
        self._inbox.lose(None)
        await self._streamable.close()
        if self._sse is not None:
            await self._sse.close()
        await self._dialect.farewell()
