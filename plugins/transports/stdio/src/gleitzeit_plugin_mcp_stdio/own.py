"""The standard streams of this process as a wire, for a server that its client has started."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from gleitzeit.errors import ConfigError, ResetError, WireError
from gleitzeit.kinds import Frame
from gleitzeit.wire.jsonrpc import dump, messages
from gleitzeit_plugin_mcp_stdio.framing import Lines

__all__ = ["OwnWire", "own"]

CHUNK: Final = 2**18
#: Bytes that wait for the client before further senders wait for room.
ROOM: Final = 2**16
#: Seconds for the client to take what is left to say when the wire is closed.
FLUSH: Final = 1.0
_CLIENT: Final = "the client"


class OwnWire:
    """Lines of JSON from a client and to it; see `gleitzeit.kinds.Wire`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limit: int) -> None:
        self._reader = reader
        self._writer = writer
        self._lost = asyncio.Event()
        self._error: WireError | None = None
        self._lines = Lines(limit)
        self._ready: deque[Mapping[str, Any]] = deque()
        self._junk = 0
        writer.transport.set_write_buffer_limits(high=ROOM)

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""
        return self._lost

    @property
    def error(self) -> WireError | None:
        """Why the wire was lost; None while it stands, and after the client has left."""
        return self._error

    async def send(self, frame: Frame) -> None:
        """Write a frame; waits while the client does not read."""
        line = dump(frame.message, _CLIENT) + b"\n"
        if self._lost.is_set() or self._writer.transport.is_closing():
            raise ResetError("the client has left", sent=False)
        self._writer.write(line)
        try:
            await self._writer.drain()
        except OSError as error:
            self._lost.set()
            raise ResetError(f"the client has left: {error}") from error

    def __aiter__(self) -> OwnWire:
        return self

    async def __anext__(self) -> Frame:
        while True:
            if self._ready:
                return Frame(self._ready.popleft())
            chunk = b""
            if not self._lost.is_set():
                with suppress(OSError):
                    chunk = await self._reader.read(CHUNK)
            if not chunk:
                self._lost.set()
                raise StopAsyncIteration
            for line in self._lines.feed(chunk):
                found = messages(line)
                if found is None:
                    self._junk += 1
                else:
                    self._ready.extend(found)
            if self._lines.overflow:
                self._error = ResetError(
                    f"the client sent a message of more than {self._lines.limit} bytes",
                    hint="raise `max_message_bytes` of the stdio transport if it needs that",
                )
                self._lost.set()

    def diagnostics(self) -> Mapping[str, Any]:
        """Our own process, and what came that was no message."""
        return {"pid": os.getpid(), "junk_lines": self._junk}

    async def close(self) -> None:
        """Say what is left to say, and close."""
        self._lost.set()
        transport = self._writer.transport
        transport.set_write_buffer_limits(high=0)  # so that waiting for room waits for all of it
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(FLUSH):
                await self._writer.drain()
        if not transport.is_closing():  # as it is where the client has closed its end
            transport.abort()


@asynccontextmanager
async def own(limit: int) -> AsyncIterator[OwnWire]:
    """The wire on standard input and output, which are put away so long: what is printed goes to stderr.

    Raises `ConfigError` where they are neither pipes, sockets nor a terminal.
    """
    sys.stdout.flush()
    kept = os.dup(0), os.dup(1)
    blocking = tuple(os.get_blocking(number) for number in kept)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    source, sink = io.FileIO(os.dup(kept[0]), "rb"), io.FileIO(os.dup(kept[1]), "wb")
    loop = asyncio.get_running_loop()
    reads: asyncio.BaseTransport | None = None
    wire: OwnWire | None = None
    try:
        try:
            reader = asyncio.StreamReader(limit=2**20)
            reads, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
            writes, protocol = await loop.connect_write_pipe(_Flow, sink)
        except ValueError as error:
            raise ConfigError(f"stdio: {error}", hint="let a client start this, or serve over http") from None
        wire = OwnWire(reader, asyncio.StreamWriter(writes, protocol, None, loop), limit=limit)
        yield wire
    finally:
        if wire is not None:
            await wire.close()
        if reads is not None:
            reads.close()
        await asyncio.sleep(0)  # they close their files in the next round of the loop
        sys.stdout.flush()
        source.close()
        sink.close()
        for number, file in enumerate(kept):
            os.set_blocking(file, blocking[number])  # others may hold the same streams, as a shell does
            os.dup2(file, number)
            os.close(file)


class _Flow(asyncio.streams.FlowControlMixin):
    """Lets a writer wait for room."""

    def __init__(self) -> None:
        super().__init__()
        self._closed: asyncio.Future[None] | None = None

    def _get_close_waiter(self, stream: asyncio.StreamWriter) -> asyncio.Future[None]:
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        return self._closed
