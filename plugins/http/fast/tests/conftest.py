"""The stock transport and ours behind the same client, and servers that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import trustme
from gleitzeit_plugin_http_fast import Fast, FastConfig
from gleitzeit_plugin_http_fast.tcp import abort

from gleitzeit.config import HttpConfig
from gleitzeit.wire.client import make_client

Open = Callable[..., httpx2.AsyncClient]
Talk = Callable[["Wire"], Awaitable[None]]


class Wire:
    """One connection of a server, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        #: Bytes of each request's head and body, as they came.
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        #: The client has closed, and `gone` has seen it.
        self.left = asyncio.Event()

    async def request(self) -> bytes:
        """The next request's head; its body goes to `bodies`. Raises `EOFError` where the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        low = head.lower()
        if b"transfer-encoding: chunked" in low:
            body = await self.reader.readuntil(b"0\r\n\r\n")
        else:
            _, found, after = low.partition(b"content-length: ")
            body = await self.reader.readexactly(int(after.split(b"\r\n")[0]) if found else 0)
        self.bodies.append(body)
        return head

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.left.set()

    def reset(self) -> None:
        """RST in place of FIN."""
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Serving:
    """A server that runs `talk` for each connection."""

    def __init__(self, talk: Talk, context: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self.wires: list[Wire] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}"

    @property
    def heads(self) -> list[bytes]:
        """All requests of all connections."""
        return [head for wire in self.wires for head in wire.heads]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        wire = Wire(reader, writer)
        self.wires.append(wire)
        try:
            await self._talk(wire)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # a client that has gone, or the end of the test
        finally:
            self._tasks.discard(task)
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Serving]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for wire in self.wires:
                abort(wire.writer.transport)
            await server.wait_closed()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Serving]]]:
    """Starts servers: `await serve(talk)`."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        async def start(talk: Talk, context: ssl.SSLContext | None = None) -> Serving:
            return await stack.enter_async_context(Serving(talk, context).running())

        yield start


def fast(http: HttpConfig, **config: Any) -> httpx2.AsyncBaseTransport:
    """The transport as the plugin makes it."""
    context: Any = SimpleNamespace(name="fast")
    return Fast(FastConfig(**config), context).transport(http)


@pytest.fixture(params=["stock", "fast"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Makes the host's client, over each transport in turn: `client(max_connections=1)`."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:

        def make(**settings: Any) -> httpx2.AsyncClient:
            http = HttpConfig(**settings)
            transport = fast(http) if request.param == "fast" else None
            made = make_client(http, transport)
            stack.push_async_callback(made.aclose)
            return made

        yield make


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost", "example.org").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
