"""A small HTTP/1.1 server on the loopback address that can misbehave on purpose.

It is for tests and demonstrations: no limits, one event loop. Fakes of vendors build on it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import unquote, urlsplit

__all__ = ["Call", "Handler", "LoopbackServer"]

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
}

#: Seconds that a connection has to take the rest of what was written to it.
_PATIENCE: Final = 1.0


class Call:
    """One request, and the means to answer it well or badly."""

    def __init__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, writer: Any
    ) -> None:
        self.method = method
        parts = urlsplit(target)
        self.path = unquote(parts.path)
        self.query = parts.query
        #: Names are in lower case.
        self.headers = headers
        self.body = body
        #: Set when the client closed the connection before the answer was complete.
        self.closed = asyncio.Event()
        #: Set when the answer was complete.
        self.done = asyncio.Event()
        self._writer: asyncio.StreamWriter = writer
        self._chunked = False
        #: May the connection serve another request?
        self.keep = True

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.write(body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer; without `content-length` the body is sent in chunks."""
        self._chunked = "content-length" not in {name.lower() for name in headers}
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Fake')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await self._writer.drain()

    async def write(self, data: bytes) -> None:
        """A piece of the body."""
        if data:
            self._writer.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)
            await self._writer.drain()

    async def end(self) -> None:
        """The end of a body sent in chunks."""
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()

    async def raw(self, data: bytes) -> None:
        """Any bytes in place of an answer; the connection is closed after them."""
        self._writer.write(data)
        await self._writer.drain()
        self.keep = False

    def close(self) -> None:
        """Close the connection in the usual way (FIN), whatever was sent."""
        self.keep = False

    def reset(self) -> None:
        """Break the connection (RST)."""
        self.keep = False
        connection: socket.socket | None = self._writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def stall(self) -> None:
        """Say nothing more until the client goes."""
        self.keep = False
        await self.closed.wait()


Handler: TypeAlias = Callable[[Call], Awaitable[None]]


class LoopbackServer:
    """Serves `handler` on 127.0.0.1 while its block is entered.

    `requests` keeps every call in order of arrival. When a client goes before its
    answer is complete, `call.closed` is set and the handler cancelled. What a handler raises is
    raised where the block ends.
    """

    def __init__(self, handler: Handler, *, port: int = 0) -> None:
        self._handler = handler
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []
        self._arrived = asyncio.Condition()
        self.requests: list[Call] = []
        #: Set before it starts, it speaks TLS.
        self.tls: ssl.SSLContext | None = None
        #: Connections that were opened, over all time.
        self.connections = 0

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`, or `https://` with `tls`."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self._port}"

    async def request(self, number: int = 0) -> Call:
        """The request with this number, as soon as it has arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, ssl=self.tls)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        if self._faults and error is None:
            raise self._faults[0]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._faults.append(fault)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead = b""
        try:
            while (call := await _read(reader, writer, ahead)) is not None:
                async with self._arrived:
                    self.requests.append(call)
                    self._arrived.notify_all()
                ahead = await self._answer(call, reader)
                if not call.keep:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client that goes is what many tests are about
        finally:
            await _close(writer)

    async def _answer(self, call: Call, reader: asyncio.StreamReader) -> bytes:
        """Run the handler while watching for the client's going; gives what was read of a next request."""
        handler = asyncio.ensure_future(self._handler(call))
        watch = asyncio.ensure_future(_ahead(reader))
        try:
            await asyncio.wait({handler, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not watch.done() or watch.result():
                await asyncio.wait({handler})
            else:
                await asyncio.sleep(
                    0
                )  # a client may go as soon as it has all, before the handler has returned
                if not handler.done():
                    call.closed.set()
                    handler.cancel()
        finally:
            handler.cancel()
            watch.cancel()
            result, ahead = await asyncio.gather(handler, watch, return_exceptions=True)
        if isinstance(result, ConnectionError):
            call.closed.set()
        if call.closed.is_set():
            call.keep = False
        elif isinstance(result, BaseException):
            raise result
        else:
            call.done.set()
        return ahead if isinstance(ahead, bytes) else b""


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close, and break off what a client that does not read would never take."""
    writer.close()
    try:
        async with asyncio.timeout(_PATIENCE):
            await writer.wait_closed()
    except (TimeoutError, ConnectionError):
        writer.transport.abort()


async def _ahead(reader: asyncio.StreamReader) -> bytes:
    """The first byte of a next request; nothing when the client has closed."""
    try:
        return await reader.read(1)
    except ConnectionError:
        return b""


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes) -> Call | None:
    try:
        head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(method, target, headers, body, writer)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(pieces)
