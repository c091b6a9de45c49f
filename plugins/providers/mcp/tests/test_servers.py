"""Servers at run time, through the host: deployed, called, scaled, listed, removed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import BlockingHost, Host
from gleitzeit.errors import (
    AmbiguousModelError,
    ConfigError,
    InvalidRequestError,
    ProcessDiedError,
    ServerFaultError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
)
from gleitzeit.values import Change, Elicitation, Elicited, Invoke, ToolCall

Entry = Callable[..., dict[str, Any]]
Eventually = Callable[..., Awaitable[Any]]
Heard = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def entry(config: Callable[..., Any]) -> Entry:
    """An entry of `[servers]` for a scripted server."""

    def make(server: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        given = config(server)
        base = {"command": sys.executable, "args": list(given.args), "sandbox": "none", "mode": "modern"}
        return {**base, **fields}

    return make


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host({}, environ={}) as host:
        yield host


async def pid_of(host: Host, name: str) -> int:
    return int((await host.call(ToolCall({}).to(f"{name}/who"))).text)


async def test_a_frozen_server_is_gone_when_its_host_has_closed_however_little_time_that_had(
    entry: Entry, gone: Callable[[int], bool]
) -> None:
    async with Host({"host": {"drain_timeout": 0.1}}, environ={}) as host:
        await host.servers.deploy("one", entry(options={"grace": 600}))
        pid = await pid_of(host, "one")
        os.kill(pid, signal.SIGSTOP)
    assert gone(pid)


@pytest.mark.feature("S003-13", "S003-12", "S003-07")
async def test_a_server_is_deployed_called_listed_and_removed(
    host: Host, entry: Entry, gone: Callable[[int], bool]
) -> None:
    await host.servers.deploy(
        "one", entry(priority=10, tags=["docker", "production"], kind="infrastructure", description="First.")
    )
    await host.servers.deploy("two", entry())
    assert [await host.servers.state(name) for name in ("one", "two")] == ["ready", "ready"]
    pid = await pid_of(host, "one")
    one, two = await host.servers.list()
    assert (one.name, one.kind, one.state, one.health) == ("one", "infrastructure", "ready", "ok")
    assert (one.priority, one.tags, one.description, one.instances) == (
        10,
        ("docker", "production"),
        "First.",
        1,
    )
    assert (two.name, two.kind, two.priority, two.tags) == ("two", "stdio", 0, ())
    status = await host.servers.status()
    assert (status.total, status.healthy, status.degraded, status.unhealthy) == (2, 2, 0, 0)
    assert status.average_response is not None
    await host.servers.undeploy("one")
    assert gone(pid)
    assert [each.name for each in await host.servers.list()] == ["two"]
    with pytest.raises(UnknownModelError):
        await host.call(ToolCall({}).to("one/who"))
    assert await pid_of(host, "two")


@pytest.mark.feature("S003-09")
@pytest.mark.parametrize("mode", ["legacy", "modern"])
async def test_raw_requests_go_to_one_server(host: Host, entry: Entry, mode: str) -> None:
    await host.servers.deploy("raw", entry(mode=mode))
    assert (await host.servers.execute("raw", {"method": "ping"})).data == {}
    called = {"method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi"}}}
    assert (await host.servers.execute("raw", called)).data["structuredContent"]["text"] == "hi"
    listed = await host.servers.execute("raw", {"method": "tools/list"}, timeout=20)
    assert {"echo", "die"} <= {tool["name"] for tool in listed.data["tools"]}
    by_name = {"method": "echo", "params": {"text": "a tool by its name"}}
    assert (await host.servers.execute("raw", by_name)).text == "a tool by its name"
    with pytest.raises(UnsupportedError):
        await host.servers.execute("raw", {"method": "no/such"})
    with pytest.raises(UnknownModelError):
        await host.servers.execute("raw", {"method": "no_such"})
    wrong: list[dict[str, Any]] = [{}, {"method": 7}, {"method": "ping", "params": [1]}]
    for request in wrong:
        with pytest.raises(InvalidRequestError):
            await host.servers.execute("raw", request)


@pytest.mark.feature("S003-10")
async def test_an_unknown_server_is_a_clear_error_and_harms_nothing(host: Host, entry: Entry) -> None:
    await host.servers.deploy("known", entry())
    servers = host.servers
    attempts = [
        servers.execute("knwon", {"method": "ping"}),
        servers.state("knwon"),
        servers.scale("knwon", 2),
        servers.undeploy("knwon"),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownModelError, match=r"no server 'knwon'.*known"):
            await attempt
    assert (await servers.execute("known", {"method": "ping"})).data == {}


@pytest.mark.feature("S003-05")
@pytest.mark.parametrize(
    "fields,says",
    [
        ({"priority": -1}, "priority"),
        ({"priority": 256}, "priority"),
        ({"auth": {"type": "magic"}}, "auth"),
        ({"auth": {"type": "api_key"}}, "needs `key`"),
        ({"auth": {"type": "bearer", "key": "s3cret-canary"}}, "needs `token`"),
        ({"command": None}, "command"),
        ({"instances": 0}, "instances"),
        ({"env": {"A": "${NOT_SET_ANYWHERE}"}}, "NOT_SET_ANYWHERE"),
        ({"transport": "pigeon"}, None),
    ],
    ids=str,
)
async def test_a_wrong_entry_leaves_nothing_behind(
    host: Host, entry: Entry, fields: dict[str, Any], says: str | None
) -> None:
    given = {key: value for key, value in entry(**fields).items() if value is not None}
    if says is None:  # that the wire is missing shows when it is needed
        await host.servers.deploy("wrong", given)
        assert await host.servers.state("wrong") in ("backoff", "open", "starting")
        await host.servers.undeploy("wrong")
    else:
        with pytest.raises(ConfigError, match=says) as caught:
            await host.servers.deploy("wrong", given)
        assert "servers.wrong" in str(caught.value)
        assert "canary" not in str(caught.value)
    assert await host.servers.list() == []
    await host.servers.deploy("wrong", entry())  # the name is free
    assert await host.servers.state("wrong") == "ready"


@pytest.mark.feature("S003-04")
async def test_a_name_is_given_once(host: Host, entry: Entry) -> None:
    found = await asyncio.gather(
        *(host.servers.deploy("same", entry()) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in found) == ["ConfigError", "ConfigError", "NoneType"]
    with pytest.raises(ConfigError, match="undeploy it first"):
        await host.servers.deploy("same", entry())
    await host.servers.undeploy("same")
    await host.servers.deploy("same", entry())
    assert await host.servers.state("same") == "ready"


@pytest.mark.feature("S003-02")
async def test_a_closed_host_deploys_nothing(entry: Entry) -> None:
    host = Host({}, environ={})
    with pytest.raises(UsageError):
        await host.servers.deploy("early", entry())
    async with host:
        await host.servers.deploy("good", entry())
        assert await pid_of(host, "good")
    with pytest.raises(UsageError):
        await host.servers.deploy("late", entry())


@pytest.mark.feature("S003-08")
async def test_undeploying_lets_calls_end(
    host: Host, entry: Entry, heard: Heard, eventually: Eventually
) -> None:
    await host.servers.deploy("busy", entry())
    call = asyncio.create_task(host.call(ToolCall({}).to("busy/gate")))
    await eventually(lambda: heard("tools/call", "gate"))
    going = asyncio.create_task(host.servers.undeploy("busy"))
    await asyncio.sleep(0)
    assert await host.servers.list() == []
    with pytest.raises(UnknownModelError):
        await host.servers.execute("busy", {"method": "ping"})
    assert not call.done()
    call.cancel()
    await asyncio.wait({call})
    await going


async def test_deploying_can_be_cancelled_at_any_moment(host: Host, entry: Entry) -> None:
    for turns in range(6):
        task = asyncio.create_task(host.servers.deploy("hasty", entry()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await host.servers.undeploy("hasty")
        assert await host.servers.list() == []
    await host.servers.deploy("hasty", entry())
    assert await host.servers.state("hasty") == "ready"


@pytest.mark.feature("S003-14")
async def test_a_server_is_scaled(host: Host, entry: Entry) -> None:
    await host.servers.deploy("many", entry())
    await host.servers.scale("many", 3)
    assert (await host.servers.list())[0].instances == 3
    await host.servers.scale("many", 1)
    assert (await host.servers.list())[0].instances == 1
    wrong: list[Any] = [0, -1, True, 1.5]
    for number in wrong:
        with pytest.raises(InvalidRequestError, match="from 1"):
            await host.servers.scale("many", number)


@pytest.mark.feature("S003-11", "S000-20")
async def test_a_dead_server_shows_and_its_last_list_stays(
    host: Host, entry: Entry, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    await host.servers.deploy("mortal", entry())
    await host.servers.deploy("other", entry())
    [before] = [each for each in await host.offers("tools") if each.instance == "mortal"]
    os.kill(await pid_of(host, "mortal"), signal.SIGKILL)
    while await host.servers.state("mortal") == "ready":
        await asyncio.sleep(0.005)
    assert await host.servers.state("mortal") == "backoff"
    status = await host.servers.status()
    assert (status.healthy, status.unhealthy) == (1, 1)
    while not (after := next(o for o in await host.offers("tools") if o.instance == "mortal")).stale:
        await asyncio.sleep(0.005)
    assert [tool.name for tool in after.items] == [tool.name for tool in before.items]
    assert all(tool.metadata["stale_since"] for tool in after.items)
    with pytest.raises(ProcessDiedError):
        await host.call(ToolCall({}).to("mortal/who"))
    assert await pid_of(host, "other")


@pytest.mark.feature("S003-07")
async def test_the_server_of_higher_priority_is_asked_and_the_next_when_it_is_gone(
    host: Host, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    echo = ToolCall({"text": "hi"}).to("echo")
    await host.servers.deploy("low", entry(priority=1))
    await host.servers.deploy("high", entry(priority=200))
    assert {(await host.call(echo)).target.instance for _ in range(5)} == {"high"}  # type: ignore[union-attr]
    os.kill(await pid_of(host, "high"), signal.SIGKILL)
    while await host.servers.state("high") == "ready":
        await asyncio.sleep(0.005)
    assert (await host.call(echo)).target.instance == "low"  # type: ignore[union-attr]
    await host.servers.deploy("equal", entry(priority=200))
    with pytest.raises(AmbiguousModelError):
        await host.call(echo)


@pytest.mark.feature("S003-11", "S003-18")
async def test_a_server_that_fails_is_degraded_and_the_next_of_its_name_is_not(
    host: Host, entry: Entry
) -> None:
    breaker = {"failure_threshold": 2}
    await host.servers.deploy("ailing", entry(circuit_breaker=breaker, retry={"max_retries": 0}))
    refuse = ToolCall({"code": -32603}).to("ailing/refuse")
    assert (await host.servers.list())[0].health == "ok"
    for _ in range(2):
        with pytest.raises(ServerFaultError):
            await host.call(refuse)
    [ailing] = await host.servers.list()
    assert (ailing.health, ailing.state) == ("degraded", "ready")
    assert (await host.servers.status()).degraded == 1
    await host.servers.undeploy("ailing")
    await host.servers.deploy("ailing", entry())  # another one of its name begins anew
    assert (await host.servers.list())[0].health == "ok"


async def test_a_server_that_takes_its_time_is_starting_and_not_ill(
    host: Host, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.health.CHECK", 0.01)
    await host.servers.deploy("slow", entry({"start": "hang"}))
    [slow] = await host.servers.list()
    assert (slow.state, slow.health) == ("starting", "unknown")
    status = await host.servers.status()
    assert (status.total, status.unknown, status.average_response) == (1, 1, None)


@pytest.mark.feature("S003-17")
async def test_servers_start_and_are_listed_all_at_once(entry: Entry, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # Each answers its greeting only once all five have heard one.
    slow = entry({"barrier": [str(meeting), 5]}, probe_timeout=60)
    config = {"servers": {f"s{number}": slow for number in range(5)}}
    async with Host(config, environ={}) as host, asyncio.timeout(60):
        offers = await host.offers("tools")
        assert [len(each.items) > 0 for each in offers if each.instance.startswith("s")].count(True) >= 5


async def test_changes_are_told_to_who_watches(host: Host, entry: Entry) -> None:
    await host.servers.deploy("news", entry())
    told: list[Change] = []
    came = asyncio.Event()

    def watcher(change: Change) -> None:
        told.append(change)
        came.set()
        raise RuntimeError("no watcher harms another")

    unwatch = host.watch(watcher)
    subscribe = {"method": "resources/subscribe", "params": {"uri": "file:///a"}}
    await host.servers.execute("news", subscribe)
    await host.call(ToolCall({"uri": "file:///a"}).to("news/write"))
    await came.wait()
    assert told[-1] == Change("news", resource="file:///a")
    came.clear()
    await host.offers("tools")
    await host.call(ToolCall({"name": "new_tool"}).to("news/add"))
    await came.wait()
    assert told[-1] == Change("news")
    assert "new_tool" in {tool.name for offer in await host.offers("tools") for tool in offer.items}
    unwatch()
    unwatch()
    told.clear()
    await host.call(ToolCall({"uri": "file:///a"}).to("news/write"))
    assert told == []


async def test_the_applications_handler_answers_questions(entry: Entry) -> None:
    asked: list[Elicitation] = []

    async def handler(question: Elicitation) -> Elicited:
        asked.append(question)
        if len(asked) == 2:
            raise RuntimeError("nobody is there")
        return Elicited.accept({"name": "Ada"}) if len(asked) == 1 else "yes"  # type: ignore[return-value]

    config = {"servers": {"curious": entry()}}
    async with Host(config, environ={}, on_elicit=handler) as host:
        assert "Ada" in (await host.call(ToolCall({}).to("curious/form"))).text
        for _ in range(2):
            assert "cancel" in (await host.call(ToolCall({}).to("curious/form"))).text
    assert asked[0].instance == "curious"


@pytest.mark.feature("S003-16")
def test_the_same_without_await(entry: Entry, gone: Callable[[int], bool]) -> None:
    with BlockingHost({}, environ={}) as host:
        changes: list[Change] = []
        unwatch = host.watch(changes.append)
        host.servers.deploy("plain", entry())
        assert host.servers.state("plain") == "ready"
        pid = int(host.servers.execute("plain", {"method": "who"}).text)
        host.servers.scale("plain", 2)
        assert host.servers.list()[0].instances == 2
        assert host.servers.status().healthy == 1
        assert host.call(Invoke("ping").to("plain")).data == {}
        host.servers.undeploy("plain")
        unwatch()
        assert gone(pid)
        with pytest.raises(UnknownModelError):
            host.servers.state("plain")
