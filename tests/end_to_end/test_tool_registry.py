"""Tools of published servers: names, categories, search, approval, and a list that changes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from gleitzeit import Chat, Host, ToolCall
from gleitzeit.contracts import write_lock
from gleitzeit.errors import AmbiguousModelError, SecurityDeniedError, UnknownModelError
from gleitzeit.values import Change

#: A server of one file that announces a new list of tools when it is told to.
GROWING = """
import json, sys
tools = ["get_current_time", "grow", "chat"]
def tell(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()
for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        tell({"id": number, "result": {"protocolVersion": "2025-06-18", "serverInfo": {"name": "growing",
            "version": "1"}, "capabilities": {"tools": {"listChanged": True}}}})
    elif method == "tools/list":
        schema = {"type": "object"}
        rows = [{"name": name, "description": "does " + name, "inputSchema": schema} for name in tools]
        rows[2]["description"] += ", and " + tools[-1]
        tell({"id": number, "result": {"tools": rows}})
    elif method == "tools/call":
        tell({"id": number, "result": {"content": [{"type": "text", "text": message["params"]["name"]}]}})
        if message["params"]["name"] == "grow" and "grown" not in tools:
            tools.append("grown")
            tell({"method": "notifications/tools/list_changed"})
    elif number is not None:
        tell({"id": number, "error": {"code": -32601, "message": "no such method"}})
"""


def module(name: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-m", name, *args], "sandbox": "none", **more}


@pytest.fixture
def servers(tmp_path: Path) -> dict[str, Any]:
    growing = tmp_path / "growing.py"
    growing.write_text(GROWING)
    said = {
        "git_*": {"rename": "*", "category": "version-control"},
        "git_log": {"tags": ["reading"], "description": "Shows the last commits."},
    }
    return {
        "git": module("mcp_server_git", tools=said),
        "time": module("mcp_server_time", "--local-timezone", "UTC", tools={"*": {"category": "clock"}}),
        "growing": {
            "command": sys.executable,
            "args": [str(growing)],
            "sandbox": "none",
            "models": ["talker"],
            "tools": {"chat": {"hidden": True}},
        },
    }


def host(servers: dict[str, Any], **more: Any) -> Host:
    return Host({"servers": servers, **more})


async def shown(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def changed(h: Host, act: Callable[[], Any], name: str) -> None:
    """Do something, and wait until the host has heard that what this instance offers has changed."""
    heard = asyncio.Event()

    def watch(change: Change) -> None:
        if change.instance == name and change.resource is None:
            heard.set()

    unwatch = h.watch(watch)
    try:
        await act()
        await heard.wait()
    finally:
        unwatch()


@pytest.mark.feature("S004-24")
@pytest.mark.feature("S004-25")
async def test_clashing_names_are_told_apart_and_a_changed_list_is_seen(servers: dict[str, Any]) -> None:
    async with host(servers) as h:
        tools = {each.name: each for each in await h.tools()}
        assert {"git/log", "time/get_current_time", "growing/get_current_time", "growing/grow"} <= set(tools)
        assert (tools["git/log"].own, tools["git/log"].tool.description) == (
            "git_log",
            "Shows the last commits.",
        )
        with pytest.raises(AmbiguousModelError, match="growing/get_current_time"):
            await h.call(ToolCall({}).to("get_current_time"))
        assert {each.name for each in await h.tools(category="clock")} == {
            "time/convert_time",
            "time/get_current_time",
        }
        assert [each.name for each in await h.tools(category="version-control", tags="reading")] == [
            "git/log"
        ]
        await changed(h, lambda: h.call(ToolCall({}).to("growing/grow")), "growing")
        assert "growing/grown" in {each.name for each in await h.tools()}
        assert (await h.call(ToolCall({}).to("growing/grown"))).text == "grown"


async def test_what_a_server_adds_or_changes_is_quarantined_until_it_is_approved(
    servers: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "gleitzeit.lock"
    async with host(servers) as h:
        approved, failed = await h.toolbox.contracts()
        assert not failed
    write_lock(str(lock), approved)
    async with (
        host(servers, host={"tools_lock": str(lock)}) as h,
        h.mcp_server().http() as url,
        Client(url) as client,
    ):
        # A tool that stands for a model may well be hidden as a tool.
        talk = Chat("hi").to("growing/talker")
        assert (await h.call(talk)).text == "chat"
        await changed(h, lambda: h.call(ToolCall({}).to("growing/grow")), "growing")
        with pytest.raises(SecurityDeniedError, match="approve 'growing/grown'"):
            await h.call(ToolCall({}).to("growing/grown"))
        assert "growing__grown" not in await shown(client)
        with pytest.raises(SecurityDeniedError, match="growing/chat is quarantined: it has changed"):
            await h.call(talk)
        with pytest.raises(SecurityDeniedError, match="growing/chat"):
            async with h.stream(talk) as stream:
                await stream.collect()
        assert (await h.call(ToolCall({"timezone": "UTC"}).to("time/get_current_time"))).data
        write_lock(str(lock), (await h.toolbox.contracts())[0])
        assert (await h.call(ToolCall({}).to("growing/grown"))).text == "grown"
        assert (await h.call(talk)).text == "chat"
        # So does a server of the host's, which nobody told.
        assert (await client.call_tool("growing__grown", {})).content[0].text == "grown"  # type: ignore[union-attr]
        assert "growing__grown" in await shown(client)


@pytest.mark.feature("S004-44")
async def test_a_failing_tool_is_replaced_once_where_that_is_safe(servers: dict[str, Any]) -> None:
    spare = {"fallback": "growing/get_current_time"}
    asked = ToolCall({"timezone": "Mars/Base"}).to("time/get_current_time")
    for said, answered in (({**spare, "idempotent": True}, "growing"), (spare, "time")):
        servers["time"]["tools"] = {"get_current_time": said}
        async with host(servers) as h:
            reply = await h.call(asked)
            assert reply.target is not None
            assert reply.target.instance == answered
            assert reply.is_error is (answered == "time")
            assert [str(each.target) for each in reply.attempts] == (
                ["time/get_current_time"] if answered == "growing" else []
            )


@pytest.mark.feature("S004-26")
async def test_tools_of_real_servers_are_found_by_words(servers: dict[str, Any]) -> None:
    async with host(servers) as h:
        reply = await h.call(ToolCall({"query": "current time"}).to("tool-search/search_tools"))
        found = [row["name"] for row in reply.data["tools"]]
        assert set(found[:2]) == {"time/get_current_time", "growing/get_current_time"}
        asked = ToolCall({"query": "last commits", "among": ["git/*"], "limit": 3}).to(
            "tool-search/search_tools"
        )
        found = [row["name"] for row in (await h.call(asked)).data["tools"]]
        assert "git/log" in found
        assert all(name.startswith("git/") for name in found)
        with pytest.raises(UnknownModelError):
            await h.call(ToolCall({}).to("git/git_log"))
