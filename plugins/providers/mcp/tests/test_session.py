"""Sessions come to stand whatever the server's age and manners, and come back when they are lost."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_mcp.eras import ERAS, place

from gleitzeit.errors import (
    CannotConnectError,
    DeadlineError,
    GleitzeitError,
    PluginNotFoundError,
    ProcessDiedError,
    ResetError,
    SandboxUnavailableError,
    UnsupportedError,
    UsageError,
)
from gleitzeit.values import Invoke, Reply, Request, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]


def echo(text: str = "hi", **fields: Any) -> Request:
    return ToolCall({"text": text}).to("echo", **fields)


@pytest.mark.parametrize(
    "server,era",
    [
        ({"era": "modern"}, "modern"),
        ({"era": "both"}, "modern"),
        ({"era": "legacy", "unknown": "error"}, "legacy"),
        ({"era": "legacy", "unknown": "error", "unknown_code": -32000}, "legacy"),
        ({"era": "legacy", "unknown": "silent"}, "legacy"),
        ({"era": "legacy", "unknown": "exit"}, "legacy"),
        ({"era": "legacy", "banner": True, "version": "2025-11-25"}, "legacy"),
        ({"era": "modern", "delay": 1.0}, "modern"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
async def test_servers_of_every_age_are_understood(start: Start, server: dict[str, Any], era: str) -> None:
    async with start(server) as provider:
        assert (await provider.reply(echo())).text == "hi"
        health = await provider.health(deep=True)
    assert health.status == "ok"
    assert health.data["era"] == era
    assert health.data["junk_lines"] == bool(server.get("banner"))


@pytest.mark.parametrize("unknown", ["error", "silent", "exit"])
async def test_only_the_first_start_probes(start: Start, heard: Heard, unknown: str) -> None:
    server = {"era": "legacy", "unknown": unknown}
    for _ in range(2):
        async with start(server) as provider:
            await provider.reply(echo())
    assert len(heard("server/discover")) == 1
    assert len(heard("tools/call")) == 2


async def test_a_server_that_became_modern_is_found_out(start: Start, config: Callable[..., Any]) -> None:
    given = config({"era": "modern"})
    ERAS.learn(place(given), "legacy", "old 1")
    async with start(config=given) as provider:
        assert (await provider.reply(echo())).text == "hi"
    assert ERAS.known(place(given)) == "modern"


async def test_a_server_that_was_modern_and_is_silent_is_greeted_as_an_old_one(
    start: Start, config: Callable[..., Any]
) -> None:
    given = config({"era": "legacy", "unknown": "silent"}, timeout=3.0)
    ERAS.learn(place(given), "modern", "new 1")
    async with start(config=given) as provider:
        assert (await provider.reply(echo())).text == "hi"
    assert ERAS.known(place(given)) == "legacy"


async def test_silence_at_the_greeting_is_told_as_silence(start: Start) -> None:
    server = {"era": "legacy", "unknown": "silent"}
    async with start(server, mode="modern", timeout=0.5) as provider:
        with pytest.raises(CannotConnectError, match=r"did not answer within 0\.5 s"):
            await provider.reply(echo())


async def test_the_greeting_is_not_cut_short_by_the_protocols_library(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp.client.session.DISCOVER_TIMEOUT_SECONDS", 0.001)
    async with start({"era": "modern", "delay": 0.3}, mode="modern") as provider:
        assert (await provider.reply(echo())).text == "hi"


async def test_a_server_that_ends_at_either_greeting_is_not_started_in_a_rush(start: Start) -> None:
    async with start({"era": "modern", "greeting": "exit"}) as provider:
        with pytest.raises(CannotConnectError, match="either greeting"):
            await provider.reply(echo())
        assert provider._supervisor.failures == 1


@pytest.mark.parametrize("mode,era", [("modern", "legacy"), ("legacy", "modern")])
async def test_a_fixed_era_that_the_server_lacks_is_a_clear_error(start: Start, mode: str, era: str) -> None:
    async with start({"era": era}, mode=mode) as provider:
        with pytest.raises(UnsupportedError):
            await provider.reply(echo())


@pytest.mark.feature("S000-14")
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_crash_in_a_call_is_one_error_and_heals(start: Start, heard: Heard, era: str) -> None:
    async with start({"era": era}) as provider, start({"era": era}) as sibling:
        await provider.reply(echo())
        siblings = asyncio.create_task(sibling.reply(ToolCall({}).to("gate")))
        with pytest.raises(ProcessDiedError) as caught:
            await provider.reply(ToolCall({"status": 7}).to("die"))
        assert provider._supervisor.generation == 1  # the error does not wait for the next start
        assert caught.value.sent is True
        assert "exit status 7" in str(caught.value)
        assert "the database is on fire" in str(caught.value)
        assert (await provider.reply(echo())).text == "hi"
        assert len(heard("tools/call", "die")) == 1
        assert (await provider.health()).data["restarts"] == 1
        assert (await sibling.reply(ToolCall({}).to("release"))).text == "1"
        await siblings
        assert (await sibling.health()).data["restarts"] == 0


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_every_call_in_flight_gets_its_own_error(
    start: Start, heard: Heard, eventually: Eventually, era: str
) -> None:
    async with start({"era": era}) as provider:
        calls = [asyncio.create_task(provider.reply(ToolCall({}).to("hang"))) for _ in range(20)]
        await eventually(lambda: len(heard("tools/call", "hang")) == 20)
        os.kill(await provider.pid(), signal.SIGKILL)
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, ProcessDiedError) and error.sent for error in errors)
        assert len({id(error) for error in errors}) == 20
        assert (await provider.reply(echo())).text == "hi"
        assert len(heard("tools/call", "hang")) == 20


async def test_an_idle_death_is_noticed_and_healed_before_anybody_calls(
    start: Start, eventually: Eventually
) -> None:
    async with start() as provider:
        first = await provider.pid()
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: provider._supervisor.generation == 2)
        assert await provider.pid() != first


async def test_a_call_in_the_moment_of_death_is_made_once_at_most(
    start: Start, heard: Heard, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.001, 0.002))
    async with start() as provider:
        await provider.reply(echo())
        found: list[Any] = []
        for number in range(10):
            os.kill(await provider.pid(), signal.SIGKILL)
            found += await asyncio.gather(provider.reply(echo(f"call {number}")), return_exceptions=True)
        # It went to the dying process, or to the next one, and an error says so; but never to both.
        assert all(isinstance(each, Reply) or each.sent for each in found)
        said = [message["params"]["arguments"]["text"] for message in heard("tools/call", "echo")]
        assert len(said) == len(set(said))


async def test_a_call_that_never_left_is_made_on_the_next_session(start: Start, heard: Heard) -> None:
    async with start() as provider:
        connection = await provider._supervisor.ready()
        os.kill(await provider.pid(), signal.SIGKILL)
        await connection.lost.wait()  # which others are yet to notice
        assert (await provider.reply(echo("once"))).text == "once"
        assert len(heard("tools/call", "echo")) == 1
        assert (await provider.health()).data["restarts"] == 1


async def test_a_server_that_ends_at_its_start_says_why_in_every_error(start: Start) -> None:
    async with start({"start": "exit"}) as provider:
        for _ in range(3):
            with pytest.raises(ProcessDiedError) as caught:
                await provider.reply(echo())
            assert caught.value.sent is False
            assert "cannot read the configuration" in str(caught.value)
        health = await provider.health()
        assert health.status == "error"
        assert "exit status 2" in health.detail


async def test_starts_that_fail_are_repeated_ever_more_slowly(start: Start, monkeypatch: Any) -> None:
    from gleitzeit_plugin_mcp import supervisor as module

    # A clock that stands, and no jitter: when it is to try again says how long it pauses.
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0, time=time.time))
    monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda low, high: (low + high) / 2))
    monkeypatch.setattr(module, "PAUSE", (0.02, 0.1))
    async with start({"start": "exit"}) as provider:
        pauses = []
        for _ in range(5):
            with pytest.raises(ProcessDiedError):
                await provider.reply(echo())
            pauses.append(provider._supervisor._retry_at)
        assert provider._supervisor.failures == 5
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.1, 0.1])


async def test_a_start_far_off_fails_at_once_with_the_last_reason(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (7200.0, 7200.0))
    async with start({"start": "exit"}) as provider:
        with pytest.raises(ProcessDiedError):
            await provider.reply(echo())
        with pytest.raises(ProcessDiedError) as caught:
            await provider.reply(echo())  # it would wait for an hour at least
        assert provider._supervisor.failures == 1
        assert (caught.value.retry_after or 0) > 60


async def test_a_missing_command_is_named_with_the_path_that_was_searched(
    start: Start, config: Callable[..., Any]
) -> None:
    given = config(command="no-such-server", args=())
    async with start(config=given) as provider:
        with pytest.raises(CannotConnectError) as caught:
            await provider.reply(echo())
        assert caught.value.sent is False
        assert "no-such-server" in str(caught.value)
        assert "PATH" in str(caught.value)


async def test_a_missing_sandbox_starts_nothing(start: Start, tmp_path: Path) -> None:
    async with start(sandbox="bubblewrap") as provider:
        with pytest.raises(SandboxUnavailableError):
            await provider.reply(echo())
        assert (await provider.health()).data["sandbox"] == "bubblewrap"
    assert not (tmp_path / "heard.jsonl").exists()


async def test_a_missing_transport_is_a_clear_error(start: Start) -> None:
    async with start(transport="carrier-pigeon") as provider:
        with pytest.raises(PluginNotFoundError, match="pip install gleitzeit-plugin-mcp-carrier-pigeon"):
            await provider.reply(echo())


async def test_a_server_that_never_greets_is_given_up_in_time(start: Start) -> None:
    async with start({"start": "hang"}, timeout=1.0) as provider:
        with pytest.raises(CannotConnectError, match="did not answer within 1 s"):
            await provider.reply(echo())


async def test_a_deadline_holds_while_a_server_starts(start: Start) -> None:
    async with start({"start": "hang"}, timeout=900) as provider:
        with pytest.raises(DeadlineError) as caught:
            await provider.reply(echo(timeout=0.3))
        assert caught.value.sent is False


@pytest.mark.parametrize("tool", ["hang", "deaf"])
async def test_a_deadline_holds_whatever_the_server_does(start: Start, tool: str) -> None:
    async with start() as provider:
        await provider.reply(ToolCall({}).to("deaf") if tool == "deaf" else echo())
        call = ToolCall({"text": "x" * 2_000_000}).to(tool, timeout=0.3)
        with pytest.raises(DeadlineError) as caught:
            await provider.reply(call)
        assert caught.value.sent is True


async def test_cancelling_a_caller_of_a_deaf_server_costs_no_time(start: Start) -> None:
    async with start() as provider:
        await provider.reply(ToolCall({}).to("deaf"))
        calls = [asyncio.create_task(provider.reply(echo("x" * 500_000))) for _ in range(5)]
        await asyncio.sleep(0)
        done, _ = await asyncio.wait(calls, timeout=0.2)
        assert not done
        for call in calls:
            call.cancel()
        for _ in range(20):  # some turns of the loop: nothing outside has to happen for them to end
            await asyncio.sleep(0)
        assert all(call.cancelled() for call in calls)


@pytest.mark.parametrize("how", ["deaf", "stopped"])
async def test_a_server_that_hangs_is_replaced(start: Start, how: str) -> None:
    async with start(hang_timeout=0.3) as provider:
        first = await provider.pid()
        if how == "deaf":
            await provider.reply(ToolCall({}).to("deaf"))
        else:
            os.kill(first, signal.SIGSTOP)
        waiting = asyncio.create_task(provider.reply(ToolCall({}).to("hang")))
        with pytest.raises(DeadlineError):
            await provider.reply(echo(timeout=0.2))
        with pytest.raises(ResetError, match="stopped answering"):
            await waiting
        assert (await provider.reply(echo())).text == "hi"
        assert await provider.pid() != first


async def test_an_old_server_that_ignores_pings_counts_as_alive(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.session.PING", 0.1)
    async with start({"era": "legacy", "ignores": ["ping"]}, hang_timeout=10) as provider:
        assert (await provider.health(deep=True)).status == "ok"
        with pytest.raises(DeadlineError):
            await provider.reply(ToolCall({}).to("hang", timeout=0.1))
        assert (await provider.reply(echo())).text == "hi"
        assert (await provider.health(deep=True)).data["restarts"] == 0


async def test_a_busy_server_that_still_answers_is_not_replaced(start: Start, eventually: Eventually) -> None:
    async with start(hang_timeout=5) as provider:
        first = await provider.pid()
        with pytest.raises(DeadlineError):
            await provider.reply(ToolCall({}).to("hang", timeout=0.1))
        await eventually(lambda: provider._supervisor.phase == "ready")
        assert await provider.pid() == first


async def test_nothing_runs_before_the_start_and_after_the_stop(
    start: Start, gone: Callable[[int], bool]
) -> None:
    async with start() as provider:
        pid = await provider.pid()
        waiting = asyncio.create_task(provider.reply(ToolCall({}).to("hang")))
        await provider.reply(echo())
        child = int((await provider.reply(ToolCall({}).to("spawn"))).text)
    with pytest.raises(ResetError, match="was closed"):
        await waiting
    assert gone(pid)
    assert gone(child)
    with pytest.raises(UsageError, match="not running"):
        await provider.reply(echo())
    assert (await provider.health()).status == "unknown"


async def test_it_can_be_stopped_at_any_moment_of_its_start(start: Start) -> None:
    for delay in (0, 0.01, 0.05, 0.1, 0.2):
        async with start({"delay": 0.1}):
            await asyncio.sleep(delay)


async def test_fifty_crashes_leave_no_task_descriptor_or_process(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.001, 0.002))

    def here() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    async def crash(provider: Any) -> None:
        with pytest.raises(ProcessDiedError):
            await provider.reply(ToolCall({}).to("die"))
        await provider.reply(echo())

    async with start({"era": "modern"}) as one, start({"era": "legacy"}) as other:
        await asyncio.gather(crash(one), crash(other))
        before = here()
        for _ in range(25):
            await asyncio.gather(crash(one), crash(other))
        assert here() == before
        assert (await one.health()).data["restarts"] == 26


async def test_invoke_and_cancel_race_the_close(start: Start) -> None:
    async with start() as provider:
        calls = [asyncio.create_task(provider.reply(Invoke("hang").to(""))) for _ in range(10)]
        await provider.reply(echo())
        for call in calls[:5]:
            call.cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found[:5])
    assert all(isinstance(each, GleitzeitError) for each in found[5:])
