"""Tool calls that a server answers with a task: followed to the end, in both eras."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig

from gleitzeit.errors import (
    DeadlineError,
    GleitzeitError,
    MalformedAnswerError,
    ProcessDiedError,
    ServerFaultError,
    UnsupportedError,
)
from gleitzeit.values import Elicited, Progress, Request, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
SERVER = str(Path(__file__).with_name("tasks_server.py"))
HOUR = 3600.0
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


@pytest.fixture
def tasks(start: Start, tmp_path: Path) -> Start:
    """Runs a provider of the server with tasks, in one era."""

    @asynccontextmanager
    async def run(
        era: str,
        *,
        answers: tuple[Elicited, ...] = (),
        store: bool = False,
        silent: bool = False,
        **fields: Any,
    ) -> AsyncIterator[Any]:
        options: dict[str, Any] = {"era": era, "log": str(tmp_path / "heard.jsonl")}
        options |= {"store": str(tmp_path / "store.json")} if store else {}
        options |= {"silent": True} if silent else {}
        entry: dict[str, Any] = {
            "command": sys.executable,
            "args": [SERVER, json.dumps(options)],
            "mode": era,
        }
        async with start(config=McpConfig(**entry, **fields), answers=answers) as provider:
            yield provider

    return run


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Timeout]:
    """The deadlines of calls that have hours, to be moved when it is time."""
    found: list[asyncio.Timeout] = []
    plain = asyncio.timeout

    def timeout(seconds: float | None) -> asyncio.Timeout:
        made = plain(seconds)
        if seconds is not None and seconds > HOUR / 2:
            found.append(made)
        return made

    monkeypatch.setattr(asyncio, "timeout", timeout)
    return found


def tool(called: str, /, **arguments: Any) -> Request:
    return ToolCall(arguments).to(called)


@ERAS
async def test_a_task_is_followed_to_its_result(tasks: Start, heard: Heard, era: str) -> None:
    async with tasks(era) as provider:
        request = provider.aimed(tool("work", steps=3).evolve(stream=True))
        async with await provider.call(request) as stream:
            events = [event async for event in stream]
        plain = await provider.reply(tool("plain"))
    assert stream.reply.text == "done"
    assert stream.reply.data == {"steps": 3}
    said = [event.message for event in events if isinstance(event, Progress)]
    assert said == ["step 1", "step 2", "step 3"]
    assert (plain.text, plain.data) == ("at once", {"as task": False})
    assert [call["params"]["name"] for call in heard("tools/call")] == ["work", "plain"]
    assert len(heard("tasks/get")) == 4
    assert heard("tasks/cancel") == []


@ERAS
async def test_a_task_may_have_ended_when_it_is_told_of(tasks: Start, era: str) -> None:
    async with tasks(era) as provider:
        assert (await provider.reply(tool("instant"))).text == "done"


@ERAS
async def test_a_task_asks_as_a_call_would(tasks: Start, heard: Heard, era: str) -> None:
    answers = (Elicited.accept({"name": "Ada"}), Elicited.decline())
    async with tasks(era, answers=answers) as provider:
        reply = await provider.reply(tool("ask"))
    said = json.loads(reply.text)
    if era == "legacy":
        assert said == {"action": "accept", "content": {"name": "Ada"}}
        assert "_meta" not in reply.raw
    else:
        assert said["a"]["content"] == {"name": "Ada"}
        assert said["b"]["action"] == "decline"
        assert reply.raw["_meta"] == {"x": 1}
    assert len(provider.context.elicited) == (1 if era == "legacy" else 2)
    assert len(heard("tasks/update")) == (0 if era == "legacy" else 1)


@ERAS
@pytest.mark.parametrize("name, what", [("break", "boom"), ("stop", "cancelled.*the operator said so")])
async def test_a_task_that_fails_is_an_error(
    tasks: Start, heard: Heard, era: str, name: str, what: str
) -> None:
    async with tasks(era) as provider:
        with pytest.raises(ServerFaultError, match=what) as caught:
            await provider.reply(tool(name))
    assert caught.value.sent is True
    assert heard("tasks/cancel") == []


async def test_a_state_that_is_none_and_a_task_that_is_gone_are_errors(tasks: Start, heard: Heard) -> None:
    async with tasks("modern") as provider:
        with pytest.raises(MalformedAnswerError):
            await provider.reply(tool("strange"))
        with pytest.raises(ServerFaultError, match="has lost the task") as caught:
            await provider.reply(tool("forget"))
    assert caught.value.sent is True
    assert len(heard("tools/call")) == 2


@ERAS
async def test_who_gives_up_a_call_cancels_its_task(
    tasks: Start, heard: Heard, era: str, eventually: Any, deadlines: list[asyncio.Timeout]
) -> None:
    async with tasks(era) as provider:
        call = asyncio.create_task(provider.reply(tool("work", steps=10**9, poll=20)))
        await eventually(lambda: len(heard("tasks/get")) > 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: heard("tasks/cancel"))
        seen = len(heard("tasks/get"))
        request = tool("work", steps=10**9, poll=20).evolve(deadline=time.monotonic() + HOUR)
        call = asyncio.create_task(provider.reply(request))
        await eventually(lambda: len(heard("tasks/get")) > seen)
        deadlines[0].reschedule(asyncio.get_running_loop().time())
        with pytest.raises(DeadlineError) as caught:
            await call
        assert caught.value.sent is True
        await eventually(lambda: len(heard("tasks/cancel")) == 2)
    assert [each["params"]["taskId"] for each in heard("tasks/cancel")] == ["task-1", "task-2"]


@ERAS
async def test_a_task_that_its_server_keeps_survives_the_loss_of_the_session(
    tasks: Start, heard: Heard, era: str
) -> None:
    async with tasks(era, store=True) as provider:
        before = await provider.pid()
        reply = await provider.reply(tool("lose", steps=3))
        assert await provider.pid() != before
    assert reply.text == "done"
    assert len(heard("tools/call")) == 1


@ERAS
async def test_a_task_that_died_with_its_server_is_the_loss_and_no_second_call(
    tasks: Start, heard: Heard, era: str
) -> None:
    async with tasks(era) as provider:
        with pytest.raises(ProcessDiedError) as caught:
            await provider.reply(tool("lose"))
    assert caught.value.sent is True
    assert len(heard("tools/call")) == 1


@ERAS
async def test_tasks_are_neither_declared_nor_asked_for_where_one_side_has_none(
    tasks: Start, heard: Heard, era: str
) -> None:
    key = "io.modelcontextprotocol/clientCapabilities"
    for fields in ({"tasks": False}, {"silent": True}):
        async with tasks(era, **fields) as provider:
            if era == "legacy":
                assert (await provider.reply(tool("work"))).is_error
            else:
                with pytest.raises(UnsupportedError):
                    await provider.reply(tool("work"))
    for call in heard("tools/call"):
        assert "task" not in call["params"]
        assert call["params"].get("_meta", {}).get(key, {}) == {}


async def test_a_question_that_nobody_answers_ends_the_task(
    tasks: Start, heard: Heard, eventually: Any
) -> None:
    async with tasks("modern") as provider:

        async def fails(requests: Any) -> dict[str, Any]:
            raise GleitzeitError("nobody is there")

        await provider._supervisor.ready()
        provider._opening.asks.answer = fails
        with pytest.raises(GleitzeitError, match="nobody is there") as caught:
            await provider.reply(tool("ask"))
        assert caught.value.sent is True
        await eventually(lambda: heard("tasks/cancel"))
    assert heard("tasks/update") == []
