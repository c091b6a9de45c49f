"""Several addresses of one name."""

from __future__ import annotations

import asyncio
import socket

import pytest
from gleitzeit_plugin_http_fast.tcp import connect


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


@pytest.fixture
async def resolve(monkeypatch):
    """Make every name resolve to these addresses."""

    def to(*places):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

        async def getaddrinfo(*args, **kwargs):
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return to


async def test_an_address_that_refuses_is_followed_by_the_next(resolve):
    with listening() as good:
        resolve(("127.0.0.1", 1), good.getsockname())
        with await connect("name.invalid", 0) as sock:
            assert sock.getpeername() == good.getsockname()


async def test_an_address_that_is_silent_is_overtaken(resolve, monkeypatch):
    loop = asyncio.get_running_loop()
    real, asked = loop.sock_connect, []

    async def sock_connect(sock, place):
        asked.append(place)
        if place[1] == 1:
            await asyncio.Event().wait()
        await real(sock, place)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    monkeypatch.setattr("gleitzeit_plugin_http_fast.tcp._STAGGER", 0.01)
    with listening() as good:
        resolve(("127.0.0.1", 1), good.getsockname())
        with await connect("name.invalid", 0) as sock:
            assert sock.getpeername() == good.getsockname()
    assert len(asked) == 2


async def test_where_none_answers_the_first_error_tells(resolve):
    resolve(("127.0.0.1", 1), ("127.0.0.1", 2))
    with pytest.raises(ConnectionRefusedError):
        await connect("name.invalid", 0)


async def test_cancelled_at_any_moment_no_socket_is_left(resolve):
    with listening() as good:
        resolve(("127.0.0.1", 1), good.getsockname(), good.getsockname())
        for turns in range(12):
            task = asyncio.create_task(connect("name.invalid", 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result().close()
