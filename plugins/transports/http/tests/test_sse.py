"""HTTP+SSE: where messages go, and what ends the wire."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_mcp_http import McpHttpTransport

from gleitzeit.errors import AuthenticationError, CannotConnectError, GleitzeitError, ResetError
from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext
from gleitzeit.testing.loopback import Call, LoopbackServer
from plugins.transports.http.tests.conftest import Connect
from plugins.transports.http.tests.script import EVENTS, ask, event, heard, result


def stream(text: str, *, then: str = "stall") -> Callable[[Call], Any]:
    """A server whose stream begins with a text, and then stalls, ends or breaks."""

    async def handler(call: Call) -> None:
        if call.method == "POST":
            await call.send(202, {}, b"Accepted")
            return
        await call.start(200, EVENTS)
        await call.write(text.encode())
        if then == "stall":
            await call.stall()
        elif then == "break":
            call.reset()
        else:
            await call.end()

    return handler


ENDPOINT = "event: endpoint\ndata: /messages?id=1\n\n"


async def test_messages_go_where_the_stream_says(connect: Connect) -> None:
    text = f": hello\n\n{ENDPOINT}event: message\n" + event(result(1)).decode() + "data:\n\ndata: junk\n\n"
    async with LoopbackServer(stream(text)) as server:
        async with connect(f"{server.address}/sse", {"x-key": "k"}, mode="sse") as wire:
            await wire.send(ask(1))
            assert await heard(wire) == result(1)
            assert wire.diagnostics()["dialect"] == "sse"
        assert [(call.method, call.path, call.query) for call in server.requests] == [
            ("GET", "/sse", ""),
            ("POST", "/messages", "id=1"),
        ]
        assert {call.headers["x-key"] for call in server.requests} == {"k"}


async def test_what_was_found_out_is_remembered_until_it_fails() -> None:
    async def handler(call: Call) -> None:
        if call.method == "POST" and call.path == "/sse":
            await call.send(405, {}, b"")
        else:
            await stream(ENDPOINT)(call)

    async with LoopbackServer(handler) as server, FakeContext("http") as context, asyncio.timeout(60):
        transport = McpHttpTransport(None, context)
        for _ in range(2):
            async with transport.connect(Endpoint("desk", url=f"{server.address}/sse")) as wire:
                await wire.send(ask(1))
                assert wire.diagnostics()["dialect"] == "sse"
        assert [(call.method, call.path) for call in server.requests] == [
            ("POST", "/sse"),
            *[("GET", "/sse"), ("POST", "/messages")] * 2,
        ]


@pytest.mark.parametrize("then", ["end", "break"])
async def test_the_wire_is_lost_with_its_stream(connect: Connect, then: str) -> None:
    server = LoopbackServer(stream(ENDPOINT, then=then))
    async with server, connect(f"{server.address}/sse", mode="sse") as wire:
        with pytest.raises(StopAsyncIteration):
            await heard(wire)
        assert wire.lost.is_set()
        assert isinstance(wire.error, ResetError)


@pytest.mark.parametrize(
    "handler, told",
    [
        (stream("event: endpoint\ndata: http://example.com/x\n\n"), "another host"),
        (stream("event: endpoint\ndata: http://a:b/\n\n"), "address for messages"),
        (stream("data: 1\n\n", then="end"), "closed the stream"),
        (lambda call: call.send(200, {"content-type": "text/html"}, b"hi"), "text/html"),
        (lambda call: call.send(404, {}, b""), "no MCP endpoint"),
    ],
)
async def test_a_stream_that_names_no_address_is_refused(connect: Connect, handler: Any, told: str) -> None:
    async with LoopbackServer(handler) as server:
        with pytest.raises((CannotConnectError, ResetError), match=told):
            async with connect(f"{server.address}/sse", mode="sse"):
                pass


async def test_a_close_ends_the_search_for_the_dialect(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if call.method == "POST":
            await call.send(405, {}, b"")
        else:
            await call.stall()

    async with LoopbackServer(handler) as server:
        async with connect(f"{server.address}/sse") as wire:
            sending = asyncio.create_task(wire.send(ask(1)))
            await server.request(1)
        with pytest.raises(GleitzeitError):
            await sending


async def test_a_refused_credential_is_told_at_once(connect: Connect) -> None:
    async with LoopbackServer(lambda call: call.send(401, {}, b"")) as server:
        with pytest.raises(AuthenticationError):
            async with connect(f"{server.address}/sse", mode="sse"):
                pass


async def test_a_refused_message_fails_alone(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if call.method == "POST" and call.json["id"] == 1:
            await call.send(500, {}, b"oops")
        else:
            await stream(ENDPOINT)(call)

    async with LoopbackServer(handler) as server, connect(f"{server.address}/sse", mode="sse") as wire:
        with pytest.raises(GleitzeitError, match="500"):
            await wire.send(ask(1))
        await wire.send(ask(2))
        assert not wire.lost.is_set()


async def test_a_loss_in_the_moment_of_a_send_is_told_and_nothing_was_sent(connect: Connect) -> None:
    async with LoopbackServer(stream(ENDPOINT)) as server:
        async with connect(f"{server.address}/sse", mode="sse") as wire:
            sending = asyncio.create_task(wire.send(ask(1)))
            while not any(task.get_name().startswith("http: post") for task in asyncio.all_tasks()):
                await asyncio.sleep(0)  # … and that task has not run yet
            wire._dialect.lose(ResetError("the stream has ended"))
            async with asyncio.timeout(30):
                with pytest.raises(ResetError, match="the stream has ended") as told:
                    await sending
            assert told.value.sent is False
        assert [call.method for call in server.requests] == ["GET"]
