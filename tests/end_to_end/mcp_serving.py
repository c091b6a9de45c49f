"""Hosts that serve MCP, and clients of the official SDK, for tests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from gleitzeit import Host
from gleitzeit.values import (
    Chat,
    Classification,
    Embedding,
    GetPrompt,
    ReadResource,
    TextDelta,
    Tool,
    ToolCall,
)
from tests.end_to_end.mcp_upstream import BIG

Mode: TypeAlias = Literal["auto", "legacy"]

UPSTREAM = str(Path(__file__).with_name("mcp_upstream.py"))
#: Long enough for any machine: a process may take its time to start.
LONG = 120
PATIENT = {"timeout": LONG, "hook_timeout": LONG, "list_timeout": LONG}
BEHIND: dict[str, Any] = {
    "host": PATIENT,
    "providers": {"scripted": {}},
    "servers": {
        "up": {
            "command": sys.executable,
            "args": [UPSTREAM],
            "sandbox": "none",
            "mode": "modern",
            "timeout": LONG,
        }
    },
}
TOML = f"""
[host]
timeout = {LONG}
hook_timeout = {LONG}
list_timeout = {LONG}

[providers.scripted]

[servers.up]
command = {sys.executable!r}
args = [{UPSTREAM!r}]
sandbox = "none"
mode = "modern"
timeout = {LONG}
"""
MODELS = ["scripted/hello", "scripted/tools", "scripted/embed", "scripted/sentiment"]
SERVE = ("-m", "gleitzeit.cli", "mcp", "serve")


def written(directory: Path) -> str:
    """The configuration of a host with the upstream behind it, as a file."""
    file = directory / "gleitzeit.toml"
    file.write_text(TOML)
    return str(file)


def started(config: str, *words: str) -> dict[str, Any]:
    """How a client starts `gleitzeit mcp serve` over stdio."""
    return {"command": sys.executable, "args": [*SERVE, "--config", config, *words]}


@asynccontextmanager
async def client(
    wire: str, mode: Mode, directory: Path, *words: str, **settings: Any
) -> AsyncIterator[Client]:
    """A client of a host, over stdio in a process of its own, or over HTTP in this one."""
    async with asyncio.timeout(LONG):
        if wire == "stdio":
            given = started(written(directory), *words)
            with open(os.devnull, "w") as silence:
                transport = stdio_client(StdioServerParameters(**given), errlog=silence)
                # Finding out which era it is has a deadline of its own, too short for a process to start.
                era = "2026-07-28" if mode == "auto" else mode
                async with Client(transport, mode=era, **settings) as found:
                    yield found
            return
        async with (
            Host(BEHIND, environ={}) as host,
            host.mcp_server().http() as url,
            Client(url, mode=mode, **settings) as found,
        ):
            yield found


async def until(check: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait for something that can only be asked for."""
    async with asyncio.timeout(LONG):
        while not await check():
            await asyncio.sleep(0.01)


def text(result: Any) -> str:
    """What a tool said."""
    return "".join(block.text for block in result.content)


@asynccontextmanager
async def chained(wire: str, directory: Path, **entry: Any) -> AsyncIterator[Host]:
    """A host whose only server, `inner`, is a host with the upstream behind it."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(LONG))
        if wire == "stdio":
            reach = started(written(directory))
        else:
            inner = await stack.enter_async_context(Host(BEHIND, environ={}))
            if wire == "http":
                reach = {"url": await stack.enter_async_context(inner.mcp_server().http())}
            else:
                front = inner.mcp_server().listen("grpc", "127.0.0.1:0")
                reach = {"url": await stack.enter_async_context(front)}
        served = {**reach, "models": MODELS, "timeout": LONG, **entry}
        config = {"host": PATIENT, "servers": {"inner": served}}
        yield await stack.enter_async_context(Host(config, environ={}))


async def everything(host: Host) -> None:
    """Ask of a host in a chain whatever the one behind it has."""
    hello = Chat("hi").to("inner/scripted/hello")
    whole = await host.call(hello)
    assert whole.text.startswith("Hello! I am a scripted model")
    assert whole.finish_reason == "stop"
    assert whole.usage is not None
    assert (whole.usage.input, whole.usage.output) == (1, 16)
    async with host.stream(hello) as stream:
        pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.text
    assert (stream.reply.usage, stream.reply.finish_reason) == (whole.usage, "stop")

    tool = Tool("add", description="Adds.", input_schema={"type": "object"})
    asked = await host.call(Chat('call add {"a": 1}', tools=[tool]).to("inner/scripted/tools"))
    assert [call.name for call in asked.tool_calls] == ["add"]
    assert asked.finish_reason == "tool_calls"

    vectors = await host.call(Embedding(["a", "b"]).to("inner/scripted/embed"))
    assert vectors.vectors is not None
    assert len(vectors.vectors) == 2
    labels = await host.call(Classification(["good"]).to("inner/scripted/sentiment"))
    assert labels.labels is not None
    assert len(labels.labels) == 1

    tools = {tool.name for offer in await host.offers("tools") for tool in offer.items}
    assert {"chat", "up__echo"} <= tools
    said = await host.call(ToolCall({"text": "x"}).to("inner/up__echo"))
    assert said.text == "said x"
    assert said.data == {"text": "x", "big": BIG}
    assert said.raw["novel"] == {"kept": True}
    resource = await host.call(ReadResource("test://item/7").to("inner"))
    assert resource.text == "read test://item/7"
    greeting = await host.call(GetPrompt({"who": "Al"}).to("inner/up__greet"))
    assert greeting.messages[0].text == "Hello Al"
