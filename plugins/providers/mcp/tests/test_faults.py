"""A server goes wrong in the middle of other calls: each call ends once, rightly, and others go on."""

import asyncio
import collections
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import Host
from gleitzeit.errors import (
    CannotConnectError,
    DeadlineError,
    GleitzeitError,
    ProcessDiedError,
    ResetError,
    WireError,
)
from gleitzeit.values import ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]
Gone = Callable[[int], bool]

eras = pytest.mark.parametrize("era", ["legacy", "modern"])


def tool(name: str, *, timeout: float | None = None, **arguments: Any) -> Any:
    return ToolCall(arguments).to(name, timeout=timeout)


@pytest.fixture
def beside(start: Start, heard: Heard, eventually: Eventually) -> Any:
    """A provider with a call under way on it, beside a sibling with one of its own that must end well."""

    @asynccontextmanager
    async def run(**fields: Any) -> AsyncIterator[tuple[Any, "asyncio.Task[Any]"]]:
        async with start(**fields) as victim, start() as sibling:
            await victim.reply(tool("echo"))
            others = asyncio.create_task(sibling.reply(tool("gate")))
            call = asyncio.create_task(victim.reply(tool("gate")))
            await eventually(lambda: len(heard("tools/call", "gate")) == 2)
            yield victim, call
            assert (await sibling.reply(tool("release"))).text == "1"
            await others
            assert (await sibling.health()).data["restarts"] == 0

    return run


@pytest.mark.feature("S000-14")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_server_fails_its_calls_and_heals(beside: Any, end: signal.Signals) -> None:
    async with beside() as (victim, call):
        os.kill(await victim.pid(), end)
        with pytest.raises(ProcessDiedError) as caught:
            await call
        assert caught.value.sent is True
        assert (await victim.reply(tool("echo", text="back"))).text == "back"


@pytest.mark.feature("S004-21")
async def test_a_frozen_server_is_bounded_by_the_deadline_and_replaced(beside: Any, gone: Gone) -> None:
    async with beside(hang_timeout=0.2) as (victim, call):
        pid = await victim.pid()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises((DeadlineError, WireError)) as caught:
            await victim.reply(tool("echo", timeout=0.2))
        assert caught.value.sent is not False
        with pytest.raises(ResetError, match="stopped answering"):
            await call
        assert (await victim.reply(tool("echo", text="back"))).text == "back"
        assert gone(pid)


@pytest.mark.feature("S004-43")
async def test_garbage_between_messages_is_counted_and_nothing_else(beside: Any) -> None:
    async with beside() as (victim, call):
        assert (await victim.reply(tool("garbage", bytes=200_000))).text == "strewn"
        assert (await victim.health()).data["junk_lines"] == 200_000 // 64
        assert (await victim.reply(tool("release"))).text == "1"
        await call
        assert (await victim.health()).data["restarts"] == 0


async def test_a_flood_on_stderr_holds_up_nobody(beside: Any) -> None:
    async with beside() as (victim, call):
        assert (await victim.reply(tool("flood", bytes=8_000_000))).text == "flooded"
        assert (await victim.reply(tool("release"))).text == "1"
        await call


async def test_an_endless_line_ends_its_session_and_no_other(beside: Any) -> None:
    async with beside(options={"max_message_bytes": 1_000_000}) as (victim, call):
        with pytest.raises(ResetError, match="max_message_bytes"):
            await victim.reply(tool("large", size=20_000_000))
        with pytest.raises(ResetError):
            await call
        assert (await victim.reply(tool("large", size=500_000))).text == "x" * 500_000


async def test_a_hundred_megabytes_in_one_message_pass_where_they_may(start: Start) -> None:
    async with start(options={"max_message_bytes": 300_000_000}) as provider:
        assert len((await provider.reply(tool("large", size=50_000_000))).text) == 50_000_000


async def test_what_it_started_ends_with_it(start: Start, gone: Gone, eventually: Eventually) -> None:
    async with start() as provider:
        child = int((await provider.reply(tool("spawn"))).text)
        os.kill(await provider.pid(), signal.SIGKILL)
        await eventually(lambda: gone(child))
        assert (await provider.reply(tool("echo", text="back"))).text == "back"


async def test_a_missing_command_and_a_good_server_side_by_side(start: Start, tmp_path: Path) -> None:
    async with start(command=str(tmp_path / "nothing"), args=()) as broken, start() as good:
        answers = await asyncio.gather(
            broken.reply(tool("echo")), good.reply(tool("echo", text="fine")), return_exceptions=True
        )
    assert isinstance(answers[0], CannotConnectError)
    assert answers[0].sent is False
    assert answers[1].text == "fine"  # type: ignore[union-attr]


async def test_a_server_that_fails_again_and_again_opens_the_circuit(
    start: Start, monkeypatch: Any, eventually: Eventually
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.001, 0.002))
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.TRIPS", 2)
    async with start({"start": "exit"}) as provider:
        await eventually(lambda: provider._supervisor.failures >= 2)
        phases = set()
        while "open" not in phases:
            phases.add(provider._supervisor.phase.value)
            await provider._supervisor._turn.wait()
        assert "backoff" not in phases


def _ids(answers: list[Any]) -> collections.Counter[str]:
    return collections.Counter(type(each).__name__ for each in answers if isinstance(each, Exception))


@pytest.mark.feature("S004-43")
@eras
async def test_every_call_over_a_crashing_server_is_answered_once(
    start: Start, heard: Heard, monkeypatch: Any, era: str
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.001, 0.002))
    calls, callers, crashes = 40, 8, 5
    async with start({"era": era}, instances=2) as provider:
        answered: collections.Counter[str] = collections.Counter()
        lost: dict[str, GleitzeitError] = {}

        async def caller(number: int) -> None:
            for turn in range(calls):
                word = f"{number}-{turn}"
                try:
                    reply = await provider.reply(tool("echo", text=word))
                except WireError as error:
                    lost[word] = error
                else:
                    assert reply.text == word
                answered[word] += 1

        async def crasher() -> None:
            done = 0
            while done < crashes:
                with pytest.raises(WireError) as told:
                    await provider.reply(tool("die"))
                done += told.value.sent is not False

        await asyncio.gather(crasher(), *(caller(number) for number in range(callers)))
        assert set(answered.values()) == {1}
        assert sum(answered.values()) == calls * callers
        assert (await provider.reply(tool("echo", text="well again"))).text == "well again"
        arrived = collections.Counter(
            each["params"]["arguments"].get("text") for each in heard("tools/call", "echo")
        )
        assert max(arrived.values()) == 1  # whatever may have arrived was not sent again
        assert [word for word, error in lost.items() if error.sent is False and arrived[word]] == []
        assert len(heard("tools/call", "die")) == crashes


@pytest.mark.feature("S000-23")
async def test_a_host_that_closes_in_the_middle_leaves_nobody_behind(
    config: Callable[..., Any], gone: Gone, heard: Heard, eventually: Eventually
) -> None:
    given = config()
    entry = {"command": given.command, "args": list(given.args), "sandbox": "none", "instances": 2}
    async with Host({"host": {"drain_timeout": 0.1}, "servers": {"s": entry}}, environ={}) as host:
        pids = [int((await host.call(tool("s/who"))).text) for _ in range(2)]
        call = asyncio.create_task(host.call(tool("s/gate")))
        await eventually(lambda: heard("tools/call", "gate"))
    with pytest.raises(GleitzeitError):
        await call
    assert all(map(gone, pids))


async def test_a_server_behind_a_wrapper_ends_with_it(
    start: Start, config: Callable[..., Any], gone: Gone, tmp_path: Path
) -> None:
    given = config({"era": "modern"})
    quoted = " ".join(f"'{each}'" for each in (given.command, *given.args))
    # As npx and uvx do: a parent that waits for the server, and whose streams are the server's.
    wrapped = given.model_copy(update={"command": "/bin/sh", "args": ("-c", f"{quoted}; true")})
    async with start(config=wrapped) as provider:
        wrapper, server = await provider.pid(), int((await provider.reply(tool("who"))).text)
        assert wrapper != server
        os.kill(wrapper, signal.SIGKILL)
        second = server
        while second == server:
            with contextlib.suppress(WireError):
                second = int((await provider.reply(tool("who"))).text)
        assert gone(server)
        wrapper = await provider.pid()
    assert gone(wrapper)
    assert gone(second)
