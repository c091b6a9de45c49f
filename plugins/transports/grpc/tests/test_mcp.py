"""Whole sessions of MCP: our provider in a host, a server of the official SDK behind our door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc.aio
import mcp_types as types
import pytest
from gleitzeit_plugin_mcp import McpProvider
from gleitzeit_plugin_mcp_grpc import GrpcTransport
from gleitzeit_plugin_mcp_grpc.codec import pack, unpack
from gleitzeit_plugin_mcp_grpc.transport import METHOD
from mcp.server.lowlevel.server import Server

from gleitzeit import Host, Model, Provider, Reply, Request, ToolCall
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError, WireError
from gleitzeit.wire.jsonrpc import dump, messages
from plugins.transports.grpc.tests.conftest import serve

Start: TypeAlias = Any


class Oracle(Provider):
    """Answers what servers ask of models."""

    def provide_models(self) -> list[Model]:
        return [Model("o")]

    async def call(self, request: Request) -> Reply:
        return Reply("Oslo", finish_reason="stop")


def tools(running: dict[str, asyncio.Event]) -> Server[Any]:
    schema = {"type": "object"}
    names = ("echo", "count", "hang", "ask", "large")

    async def listed(ctx: Any, params: Any) -> types.ListToolsResult:
        found = [types.Tool(name=name, input_schema=schema) for name in names]
        return types.ListToolsResult(tools=found, ttl_ms=0, cache_scope="private")

    async def call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        given = params.arguments or {}
        text = str(given.get("text", ""))
        if params.name == "count":
            for number in range(3):
                await ctx.session.report_progress(number, 3, f"step {number}")
        elif params.name == "hang":
            running["begun"].set()
            try:
                await asyncio.sleep(60)
            finally:
                running["cancelled"].set()
        elif params.name == "ask":
            words = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Where?"))
            said = await ctx.session.create_message([words], max_tokens=5)
            text = f"{said.content.text}!"
        elif params.name == "large":
            text = "x" * int(given["size"])
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    return Server("grpc-tools", on_list_tools=listed, on_call_tool=call)


@pytest.fixture
def running() -> dict[str, asyncio.Event]:
    return {"begun": asyncio.Event(), "cancelled": asyncio.Event()}


@pytest.fixture
def start(transport: GrpcTransport, running: dict[str, asyncio.Event]) -> Start:
    """A host with one server `far`, of the given era."""

    @asynccontextmanager
    async def run(mode: str) -> AsyncIterator[Host]:
        server = tools(running)
        async with transport.listen("grpc://127.0.0.1:0", lambda wire: serve(server, wire), {}) as url:
            entry = {"url": url, "transport": "grpc", "mode": mode, "may_ask": True, "sampling_model": "o/o"}
            config = {"servers": {"far": entry}, "providers": {"o": {"plugin": "oracle"}}}
            own = {"mcp": McpProvider, "grpc": GrpcTransport, "oracle": Oracle}
            async with Host(config, plugins=own, environ={}, index=Index(())) as host, asyncio.timeout(60):
                yield host

    return run


ERAS = pytest.mark.parametrize("mode", ["modern", "legacy", "auto"])


@ERAS
@pytest.mark.feature("S001-10")
async def test_tools_are_listed_called_and_report_progress(start: Start, mode: str) -> None:
    async with start(mode) as host:
        [offer] = [offer for offer in await host.offers("tools") if offer.instance == "far"]
        assert {tool.name for tool in offer.items} == {"echo", "count", "hang", "ask", "large"}
        assert (await host.call(ToolCall({"text": "Grüße 😀"}).to("far/echo"))).text == "Grüße 😀"
        assert len((await host.call(ToolCall({"size": 5 * 2**20}).to("far/large"))).text) == 5 * 2**20
        async with host.stream(ToolCall({}).to("far/count", stream=True)) as stream:
            seen = [event async for event in stream]
        assert [event.message for event in seen if hasattr(event, "message")] == [
            "step 0",
            "step 1",
            "step 2",
        ]


@ERAS
async def test_many_calls_at_once_get_their_own_answers(start: Start, mode: str) -> None:
    async with start(mode) as host:
        calls = [host.call(ToolCall({"text": str(n)}).to("far/echo")) for n in range(200)]
        assert [reply.text for reply in await asyncio.gather(*calls)] == [str(n) for n in range(200)]


@ERAS
async def test_giving_up_reaches_the_server(
    start: Start, mode: str, running: dict[str, asyncio.Event]
) -> None:
    async with start(mode) as host:
        call = asyncio.ensure_future(host.call(ToolCall({}).to("far/hang")))
        await running["begun"].wait()
        call.cancel()
        await running["cancelled"].wait()
        assert (await host.call(ToolCall({"text": "on"}).to("far/echo"))).text == "on"


@pytest.mark.feature("S001-07")
@pytest.mark.filterwarnings("ignore:The sampling capability is deprecated")  # servers still use it
async def test_a_server_asks_back_while_a_call_is_out(start: Start) -> None:
    async with start("legacy") as host:
        assert (await host.call(ToolCall({}).to("far/ask"))).text == "Oslo!"


@ERAS
async def test_the_loss_of_a_server_ends_the_calls_and_its_return_heals(
    transport: GrpcTransport, running: dict[str, asyncio.Event], mode: str
) -> None:
    server = tools(running)
    begun = running["begun"]
    door = transport.listen("grpc://127.0.0.1:0", lambda wire: serve(server, wire), {})
    url = await door.__aenter__()
    entry = {"url": url, "transport": "grpc", "mode": mode}
    own = {"mcp": McpProvider, "grpc": GrpcTransport}
    config = {"servers": {"far": entry}, "host": {"retry": {"max_retries": 0}}}
    async with Host(config, plugins=own, environ={}, index=Index(())) as host, asyncio.timeout(60):
        call = asyncio.ensure_future(host.call(ToolCall({}).to("far/hang")))
        await begun.wait()
        await door.__aexit__(None, None, None)
        with pytest.raises(WireError) as told:
            await call
        assert told.value.sent is not False
        async with transport.listen(url, lambda wire: serve(server, wire), {}):
            reply = None
            while reply is None:  # until the supervisor's next start
                try:
                    reply = await host.call(ToolCall({"text": "back"}).to("far/echo", timeout=10))
                except GleitzeitError:
                    await asyncio.sleep(0.05)
            assert reply.text == "back"


async def test_a_plain_client_needs_only_the_definition(
    transport: GrpcTransport, running: dict[str, asyncio.Event]
) -> None:
    server = tools(running)
    async with transport.listen("grpc://127.0.0.1:0", lambda wire: serve(server, wire), {}) as url:
        channel = grpc.aio.insecure_channel(url.removeprefix("grpc://"))
        async with channel:
            stream: Any = channel.stream_stream(METHOD)()

            async def ask(id: int, method: str, params: dict[str, Any]) -> Any:
                asked = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
                await stream.write(pack(dump(asked, "server")))
                found = messages(unpack(await stream.read()))
                assert found is not None
                return found[0]["result"]

            client = {"name": "plain", "version": "1"}
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
            assert (await ask(1, "initialize", hello))["serverInfo"]["name"] == "grpc-tools"
            await stream.write(pack(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'))
            answer = await ask(2, "tools/call", {"name": "echo", "arguments": {"text": "hi"}})
            assert answer["content"][0]["text"] == "hi"
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
