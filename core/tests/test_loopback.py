"""The loopback server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from gleitzeit.errors import ConfigError, PermissionDeniedError, PluginNotFoundError
from gleitzeit.testing import FakeContext, LoopbackServer
from gleitzeit.testing.loopback import Call
from gleitzeit.values import Chat, Reply


async def test_a_request_is_seen_as_it_was_sent() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {"x-own": "1"}, call.body[::-1])

    async with LoopbackServer(handler) as server, FakeContext() as context:
        response = await context.http.post(f"{server.address}/a%20b?c=d", content=b"abc")
        call = await server.request()
        await asyncio.wait_for(call.done.wait(), 30)
    assert (response.content, response.headers["x-own"]) == (b"cba", "1")
    assert (call.method, call.path, call.query, call.body, call.json) == ("POST", "/a b", "c=d", b"abc", None)
    assert not call.closed.is_set()


async def test_a_body_in_chunks_is_read() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, call.body)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    async with LoopbackServer(handler) as server, FakeContext() as context:
        assert (await context.http.post(server.address, content=pieces())).content == b"abcd"


async def test_a_client_that_goes_ends_the_handler() -> None:
    ended = asyncio.Event()

    async def handler(call: Call) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with LoopbackServer(handler) as server, FakeContext() as context:
        asked = asyncio.ensure_future(context.http.get(server.address))
        call = await server.request()
        asked.cancel()
        await asyncio.wait_for(ended.wait(), 30)
        assert call.closed.is_set()
        with pytest.raises(asyncio.CancelledError):
            await asked


async def test_what_a_handler_raises_is_not_lost() -> None:
    async def handler(call: Call) -> None:
        raise ValueError("the test's own mistake")

    server = LoopbackServer(handler)
    async with FakeContext() as context:
        await server.__aenter__()
        with pytest.raises(httpx2.HTTPError):
            await context.http.get(server.address)
        with pytest.raises(ValueError, match="own mistake"):
            await server.__aexit__(None, None, None)


async def test_a_server_that_stops_leaves_nothing_behind() -> None:
    async def handler(call: Call) -> None:
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with FakeContext() as context:
        async with LoopbackServer(handler) as server:
            asked = asyncio.ensure_future(context.http.get(server.address))
            await server.request()
        with pytest.raises(httpx2.HTTPError):
            await asked
    assert asyncio.all_tasks() == before


async def test_a_context_gives_what_it_was_given() -> None:
    context = FakeContext("x", environ={"A": "b"}, replies=(Reply("yes"),), drivers={("transport", "t"): 7})
    assert (context.name, context.logger.name) == ("x", "gleitzeit.plugin.x")
    assert await context.secret("secret://env/A") == "b"
    assert await context.driver("transport", "t") == 7
    assert (await context.ask(Chat("?").to("m"))).text == "yes"
    context.changed()
    assert (context.changes, len(context.asked)) == (1, 1)


async def test_a_context_refuses_as_a_host_does() -> None:
    context = FakeContext(environ={})
    with pytest.raises(ConfigError):
        await context.secret("secret://env/A")
    with pytest.raises(PluginNotFoundError):
        await context.driver("transport", "t")
    with pytest.raises(PermissionDeniedError):
        await context.ask(Chat("?").to("m"))
