"""A proxy that spoils what goes through it: one `Fault` for each request, chosen by a plan.

    async with FaultProxy(upstream_port, lambda ask: Fault(cut=40, end="reset")) as proxy:
        ...                                   # point a client at proxy.url

A plan is asked for each request, not for each connection, so a pooled connection meets the plan of
the moment. `reset_on_accept` alone strikes connections: `drop()` those that a client keeps.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

__all__ = ["Ask", "Fault", "FaultProxy", "closed_port"]

_SLICE: Final = 0.02  # seconds between two slices of what goes slowly
_LINE: Final = b"x" * 65536
_LIMIT: Final = 1 << 20


@dataclass(frozen=True)
class Ask:
    """A request as it came."""

    number: int
    head: bytes
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one exchange; the default passes it on unharmed.

    `answer` goes out in place of what the upstream would say, which is then not asked. `delay` (and up
    to `jitter` more) are seconds before the first byte; `head_rate` and `rate` are bytes a second of head
    and body, 0 for all at once. After `cut` bytes of the body (raw, with the marks of its chunks) comes the
    `end`: the connection is closed, reset, or held without a word until the client goes. `corrupt` is the
    byte of the body that is broken; `flood` so many bytes without a newline follow the answer.
    """

    answer: bytes | None = None
    delay: float = 0.0
    jitter: float = 0.0
    head_rate: float = 0.0
    rate: float = 0.0
    cut: int | None = None
    end: Literal["go on", "close", "reset", "hold"] = "go on"
    corrupt: int | None = None
    flood: int = 0


Plan = Callable[[Ask], Fault]


class FaultProxy:
    """Listens on the loopback while its block is entered, and passes requests on to `upstream`, a port."""

    def __init__(self, upstream: int, plan: Plan = lambda ask: Fault(), *, seed: int = 0) -> None:
        self.plan = plan
        self.reset_on_accept = False
        #: Requests and connections that came, over all time; `active` ones are under way now.
        self.asked = self.accepted = self.active = 0
        #: Faults that struck nothing, as the body was shorter than their `cut` or `corrupt`.
        self.missed = 0
        self._upstream = upstream
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_LIMIT, backlog=2048)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.drop()
        await self._server.wait_closed()

    async def drop(self) -> None:
        """Close every connection, so that the next request needs a new one."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def quiet(self, timeout: float) -> bool:
        """Wait until no request is under way: every client has its answer, or has gone."""
        try:
            async with asyncio.timeout(timeout):
                while self.active:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.reset_on_accept:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        upstream = _Upstream(self._upstream)
        try:
            while (ask := await self._next(reader)) is not None:
                self.active += 1
                try:
                    open_ = await self._answer(self.plan(ask), ask, reader, writer, upstream)
                finally:
                    self.active -= 1
                    self._quiet.set()
                if not open_:
                    break
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client went, or the proxy closes; asyncio would log a cancelled server task
        finally:
            self._serving.discard(task)
            upstream.close()
            writer.close()

    async def _next(self, reader: asyncio.StreamReader) -> Ask | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        body = await reader.readexactly(_length(head) or 0)
        self.asked += 1
        return Ask(self.asked, head, body)

    async def _answer(
        self,
        fault: Fault,
        ask: Ask,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: _Upstream,
    ) -> bool:
        """Answer as the fault wants it; False when this was the last answer of the connection."""
        if fault.delay or fault.jitter:
            await _wait(reader, fault.delay + fault.jitter * self._random.random())
        struck = fault.cut is None and fault.corrupt is None
        rate, body, begun = fault.head_rate, 0, False
        async with aclosing(upstream.ask(ask) if fault.answer is None else _parts(fault.answer)) as pieces:
            async for piece in pieces:
                size = len(piece)
                if begun and fault.corrupt is not None and 0 <= (at := fault.corrupt - body) < size:
                    piece, struck = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :], True
                if begun and fault.cut is not None and body + size >= fault.cut:
                    await _send(reader, writer, piece[: fault.cut - body], rate)
                    struck = True
                    break
                await _send(reader, writer, piece, rate)
                rate, body, begun = fault.rate, body + size * begun, True
        self.missed += not struck
        for start in range(0, fault.flood, len(_LINE)):
            writer.write(_LINE[: fault.flood - start])
            await writer.drain()
        if fault.end == "hold":
            await _wait(reader, None)
        elif fault.end == "reset":
            _reset(writer)
        return fault.end == "go on"


class _Upstream:
    """The way to the upstream of one client's connection; opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()

    async def ask(self, ask: Ask) -> AsyncGenerator[bytes, None]:
        """The answer as it comes: its head, then its body in raw pieces."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=_LIMIT)
        reader, writer = self._streams
        writer.write(ask.head + ask.body)
        head = await reader.readuntil(b"\r\n\r\n")
        yield head
        length = _length(head)
        if length is not None:
            yield await reader.readexactly(length)
            return
        size = -1
        while size:  # in chunks, the last of which is empty
            mark = await reader.readuntil(b"\r\n")
            size = int(mark, 16)
            yield mark + await reader.readexactly(size + 2)


async def _parts(answer: bytes) -> AsyncGenerator[bytes, None]:
    head, mark, body = answer.partition(b"\r\n\r\n")
    yield head + mark
    if body:
        yield body


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, rate: float) -> None:
    size = max(1, int(rate * _SLICE)) if rate else len(data)
    for start in range(0, len(data), size or 1):
        writer.write(data[start : start + size])
        await writer.drain()
        if rate:
            await _wait(reader, size / rate)


async def _wait(reader: asyncio.StreamReader, seconds: float | None) -> None:
    """Wait so long, None for ever; raises `EOFError` as soon as the client goes."""
    try:
        async with asyncio.timeout(seconds):
            if await reader.read(1):
                raise AssertionError("the client sent more before it had its answer")
    except TimeoutError:
        return
    raise EOFError


def _length(head: bytes) -> int | None:
    _, mark, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.split(b"\r\n", 1)[0]) if mark else None


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST: what lingers for no time is thrown away."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of the loopback on which nobody listens; held, so that nobody gets it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
