"""A server that takes its time: to start, to say what it offers, to answer."""

import asyncio
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import pace
from gleitzeit_plugin_mcp.pace import Pace
from mcp import Client

from gleitzeit import Host
from gleitzeit.errors import CannotConnectError, DeadlineError
from gleitzeit.values import Change, ToolCall

LONG = 120


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file is missing, the slow server does not answer its greeting."""
    return tmp_path / "gate"


@pytest.fixture
def entry(config: Callable[..., Any], gate: Path) -> Callable[..., dict[str, Any]]:
    """An entry of `[servers]`: of a server that starts when the gate is open, or of one that just starts."""

    def make(slow: bool = False, **fields: Any) -> dict[str, Any]:
        given = config({"gate": str(gate)} if slow else {})
        return {
            "command": sys.executable,
            "args": list(given.args),
            "mode": "modern",
            "timeout": LONG,
            **fields,
        }

    return make


Entry = Callable[..., dict[str, Any]]


def hosting(entries: dict[str, Any], **host: Any) -> Host:
    return Host({"host": {"timeout": LONG, **host}, "servers": entries}, environ={})


async def test_a_call_waits_for_a_first_start_as_long_as_its_own_time_allows(
    entry: Entry, gate: Path
) -> None:
    async with hosting({"slow": entry(slow=True)}, hook_timeout=0.05) as host, asyncio.timeout(LONG):
        call = asyncio.create_task(host.call(ToolCall({"text": "hi"}).to("slow/echo")))
        with pytest.raises(DeadlineError):  # meanwhile somebody who has less time
            await host.call(ToolCall({"text": "hi"}).to("slow/echo", timeout=0.3))
        assert not call.done()
        gate.touch()
        assert (await call).text == "hi"


async def test_a_start_that_fails_is_the_error_of_who_waits_for_it(entry: Entry) -> None:
    async with hosting({"slow": entry(slow=True, timeout=0.5)}, hook_timeout=0.05) as host:
        with pytest.raises(CannotConnectError, match=r"within 0\.5 s"):
            await host.call(ToolCall({"text": "hi"}).to("slow/echo"))


async def test_a_list_names_who_is_starting_and_tells_when_it_has_come(entry: Entry, gate: Path) -> None:
    changes: list[Change] = []
    came = asyncio.Event()

    def watcher(change: Change) -> None:
        changes.append(change)
        came.set()

    async with hosting({"quick": entry(), "slow": entry(slow=True)}) as host, asyncio.timeout(LONG):
        await host.call(ToolCall({}).to("quick/who"))  # which asks for its list, too
        host.watch(watcher)
        offers = await host.offers("tools", wait=0.05)
        quick, slow = [each for each in offers if each.instance in ("quick", "slow")]
        assert (quick.pending, quick.error) == (False, None)
        assert (slow.pending, slow.items) == (True, ())
        assert isinstance(slow.error, DeadlineError)
        assert "may be starting" in str(slow.error)
        gate.touch()
        while Change("slow") not in changes:
            await came.wait()
            came.clear()
        found = {each.instance: each for each in await host.offers("tools", wait=0.0)}
        assert (found["slow"].pending, found["slow"].error) == (False, None)
        assert len(found["slow"].items) == len(found["quick"].items)


async def test_whoever_waits_without_an_end_gets_everything(entry: Entry, gate: Path) -> None:
    async with hosting({"slow": entry(slow=True)}, hook_timeout=0.05) as host, asyncio.timeout(LONG):
        whole = asyncio.create_task(host.offers("tools", wait=math.inf))
        [part] = [each for each in await host.offers("tools") if each.instance == "slow"]
        assert part.pending
        named = asyncio.create_task(host.find_tools(["slow/e*"]))
        gate.touch()
        assert [each.error for each in await whole if each.instance == "slow"] == [None]
        assert {name for name, _, _ in await named} == {"slow/echo", "slow/environment"}


async def test_a_host_closes_while_a_list_is_awaited(entry: Entry) -> None:
    async with hosting({"slow": entry(slow=True)}) as host:
        waiting = asyncio.create_task(host.offers("tools", wait=math.inf))
        [part] = [each for each in await host.offers("tools", wait=0.0) if each.instance == "slow"]
        assert part.pending
    await asyncio.wait({waiting}, timeout=LONG)
    assert waiting.done()


def said(result: Any) -> Any:
    return result.content[0].text


async def test_the_lists_that_are_served_do_not_wait_for_one_server(entry: Entry, gate: Path) -> None:
    changed = asyncio.Event()

    async def listen(message: Any) -> None:
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            changed.set()

    async def names(client: Client) -> set[str]:
        return {tool.name for tool in (await client.list_tools()).tools}

    entries = {"slow": entry(slow=True), "quick": entry()}
    async with hosting(entries, list_timeout=0.05) as host, asyncio.timeout(LONG):
        await host.call(ToolCall({}).to("quick/who"))
        assert await host.offers("tools", wait=0.0)
        server = host.mcp_server(bare=["slow"])
        async with server.http() as url, Client(url, mode="legacy", message_handler=listen) as client:
            assert {"quick__who", "chat"} <= await names(client)
            assert "echo" not in await names(client)
            # Who names a tool of the slow one waits for it, and for nobody else it is missing.
            call = asyncio.create_task(client.call_tool("echo", {"text": "hi"}))
            assert said(await client.call_tool("quick__echo", {"text": "ho"})) == "ho"
            read = asyncio.create_task(client.read_resource("file:///a"))
            gate.touch()
            assert said(await call) == "hi"
            [content] = (await read).contents
            assert getattr(content, "text", None) == "the text of a"
            while "echo" not in await names(client):
                await asyncio.sleep(0.01)


async def test_clients_are_told_when_a_slow_server_has_come(entry: Entry, gate: Path) -> None:
    async with (
        asyncio.timeout(LONG),
        hosting({"slow": entry(slow=True)}, list_timeout=0.05) as host,
        host.mcp_server().http() as url,
        Client(url) as client,
        client.listen(tools_list_changed=True) as news,
    ):
        assert "slow__echo" not in {tool.name for tool in (await client.list_tools()).tools}
        gate.touch()
        await anext(aiter(news))
        assert "slow__echo" in {tool.name for tool in (await client.list_tools()).tools}


async def test_a_slow_server_is_degraded_and_well_again(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting({"one": entry(slow_after=1000.0), "other": entry()}) as host, asyncio.timeout(LONG):
        for name in ("one", "other"):
            await host.call(ToolCall({}).to(f"{name}/who"))
        status = await host.servers.status()
        assert (status.healthy, status.degraded) == (2, 0)
        [provider] = [each.object for each in host._registry.of_kind("provider") if each.name == "one"]
        for _ in range(pace.ANSWERS):
            provider._exchange.pace.add(2500.0)  # as after so many slow answers
        [one, _] = await host.servers.list()
        assert (one.health, one.state) == ("degraded", "ready")
        assert one.detail == "slow: its last answers took 2.5e+03 s on average (slow_after = 1000)"
        status = await host.servers.status()
        assert (status.healthy, status.degraded) == (1, 1)
        assert [each.health.status for each in await host.health() if each.name == "one"] == ["degraded"]
        for _ in range(pace.ANSWERS):
            await host.call(ToolCall({}).to("one/who"))
        assert (await host.servers.status()).degraded == 0


async def test_answers_that_never_came_count_as_slow_ones(entry: Entry) -> None:
    async with hosting({"one": entry(slow_after=1e-9)}) as host, asyncio.timeout(LONG):
        await host.call(ToolCall({}).to("one/who"))
        [provider] = [each.object for each in host._registry.of_kind("provider") if each.name == "one"]
        provider._exchange.pace = Pace()
        with pytest.raises(DeadlineError):
            await host.call(ToolCall({}).to("one/hang", timeout=0.5))
        assert provider._exchange.pace.mean is not None
        while (one := (await host.servers.list())[0]).detail == "silent; being pinged":
            await asyncio.sleep(0.01)
        assert one.health == "degraded"
        assert one.detail.startswith("slow: ")


def test_only_the_last_answers_count_and_none_that_is_old() -> None:
    now = [0.0]
    found = Pace(clock=lambda: now[0])

    def mean() -> float | None:
        return found.mean

    assert mean() is None
    for _ in range(pace.ANSWERS):
        found.add(1.0)
    assert mean() == 1.0
    now[0] += pace.RECENT
    for _ in range(pace.ANSWERS // 2):
        found.add(3.0)
    assert mean() == 2.0
    now[0] += 1
    assert mean() == 3.0
    now[0] += pace.RECENT
    assert mean() is None
