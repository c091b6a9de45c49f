"""Where a person's browser returns to after signing in: an address on this machine, for once."""

from __future__ import annotations

import asyncio
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

__all__ = ["Returned"]

PATH: Final = "/callback"
_PAGE: Final = (
    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


class Returned:
    """Listens on a loopback port while its block is entered; `parameters` is what the browser brought.

    Raises `OSError` where the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @property
    def url(self) -> str:
        """The address to return to."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def parameters(self) -> dict[str, str]:
        """Wait for the browser."""
        return await asyncio.shield(self._came)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._came.cancel()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                _, target, _ = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
                status, text = self._take(target)
                body = text.encode()
                writer.write(_PAGE % (status, len(body), body))
                await writer.drain()
        except (TimeoutError, OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # whoever it was, it was not the browser
        finally:
            writer.close()

    def _take(self, target: str) -> tuple[bytes, str]:
        parts = urlsplit(target)
        found = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path != PATH or not found.keys() & {"code", "error"}:
            return b"404 Not Found", "There is nothing here."
        if not self._came.done():
            self._came.set_result(found)
        return b"200 OK", "You can close this window and return to the application."
