"""Whatever bytes come in whatever pieces: an answer or an exception of httpx2's, and the lease comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from gleitzeit_plugin_http_fast.connection import Connection
from gleitzeit_plugin_http_fast.head import build_head
from gleitzeit_plugin_http_fast.pool import Pool
from gleitzeit_plugin_http_fast.routes import Route
from hypothesis import given
from hypothesis import strategies as st

WORDS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.0 204 None\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
)
#: Never an empty one: a loop gives none.
PIECES = st.lists(st.sampled_from(WORDS) | st.binary(min_size=1, max_size=8), max_size=12)
HEAD = build_head(b"GET", b"/", [(b"Host", b"x")])


class Silent:
    """A transport of no socket."""

    closed = False

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


async def begun() -> tuple[Pool, Connection, Any, asyncio.Task[Any]]:
    """A request that has been sent."""
    pool = Pool(1, 30.0)
    connection = Connection(pool, Route("x", 80, False), asyncio.get_running_loop())
    transport: Any = Silent()
    connection._transport = transport
    pool.made(connection)
    assert await pool.lease(connection.route, None) is None
    task = asyncio.ensure_future(connection.ask(HEAD, b"", b"GET"))
    await asyncio.sleep(0)
    return pool, connection, transport, task


async def talk(pieces: list[bytes]) -> None:
    pool, connection, transport, task = await begun()
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
    assert (connection in pool._since) == (not transport.closed and pool._leases == 0)
    connection.connection_lost(None)
    try:
        body = [piece async for piece in await task]
        assert all(body)
    except httpx2.TransportError:
        pass
    assert (pool._leases, pool._open, pool._since) == (0, set(), {})
    await pool.aclose()


@given(PIECES)
def test_any_bytes(pieces: list[bytes]) -> None:
    asyncio.run(talk(pieces))


async def test_who_gives_up_as_the_answer_comes_costs_no_connection() -> None:
    pool, connection, transport, task = await begun()
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (pool._leases, list(pool._since), transport.closed) == (0, [connection], False)
    connection.connection_lost(None)
    await pool.aclose()


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_no_header_makes_a_second_one(name: bytes, value: bytes) -> None:
    try:
        head = build_head(b"GET", b"/", [(b"Host", b"x"), (name, value)])
    except httpx2.LocalProtocolError:
        return
    assert head.data == b"GET / HTTP/1.1\r\nHost: x\r\n" + name + b": " + value + b"\r\n\r\n"
    assert not set(b"\r\n\0") & set(name + value)
