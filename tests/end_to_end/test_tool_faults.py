"""Tools and their servers go wrong in many ways; each is one clear error."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gleitzeit import Chat, Host, ToolCall
from gleitzeit.errors import (
    GleitzeitError,
    ProcessDiedError,
    SecurityDeniedError,
    ServerFaultError,
    UnknownModelError,
)
from gleitzeit.testing.openai_server import OpenAIServer
from tests.end_to_end.conftest import Place

SERVER = """
    [servers.bad]
    command = "{command}"
    args = {args}
    sandbox = "none"
    timeout = 10.0

    [providers.scripted]
    """


def server(command: str, *args: str) -> str:
    return SERVER.format(command=command, args=json.dumps(args))


async def test_arguments_that_break_the_schema_are_denied_before_anything_runs(
    host: Callable[..., Host],
) -> None:
    async with host() as h:
        with pytest.raises(SecurityDeniedError, match="timezone"):
            await h.call(ToolCall({"timezone": 7}).to("time/get_current_time"))
        with pytest.raises(SecurityDeniedError, match="timezone"):
            await h.call(ToolCall({}).to("time/get_current_time"))


async def test_a_denied_tool_does_not_run(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(SecurityDeniedError, match="deny_tools"):
            await h.call(ToolCall({"repo_path": ".", "message": "no"}).to("git/git_commit"))
        log = await h.call(ToolCall({"repo_path": "."}).to("git/git_log"))
    assert log.text.count("Commit:") == 1


async def test_a_denied_tool_is_told_to_the_model_and_the_conversation_goes_on(
    host: Callable[..., Host],
) -> None:
    question = Chat('git_commit {"repo_path": ".", "message": "no"}')
    async with host() as h:
        ending = await h.converse(question.to("wire/tools"), tools=["git/git_commit"])
    assert ending.stopped == "answered"
    assert "deny_tools" in ending.text


@pytest.mark.feature("S002-18")
async def test_private_data_stays_here(host: Callable[..., Host], upstream: OpenAIServer) -> None:
    async with host() as h:
        reply = await h.call(Chat("diary").to("diary", data_class="private"))
        assert str(reply.target) == "scripted/echo"
        with pytest.raises(SecurityDeniedError, match="private_local"):
            await h.stream(Chat("diary").to("remote/good", data_class="private")).collect()
        with pytest.raises(ServerFaultError) as lost:  # its local target is broken, the other one is remote
            await h.stream(Chat("diary").to("lost", data_class="private")).collect()
        assert any(isinstance(attempt.error, SecurityDeniedError) for attempt in lost.value.attempts)
        assert upstream.requests == []
        assert (await h.call(Chat("diary").to("wire/good", data_class="private"))).text
        assert (await h.call(Chat("no diary").to("diary"))).target != reply.target


async def test_a_request_that_is_too_large_is_denied_without_its_content(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(SecurityDeniedError, match="max_bytes") as raised:
            await h.call(Chat("secret " * 20_000).to("scripted/echo"))
    assert "secret" not in str(raised.value)


async def test_a_tool_that_nobody_offers_is_unknown(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(UnknownModelError, match="time/get_future_time"):
            await h.call(ToolCall({}).to("time/get_future_time"))


async def test_a_server_command_that_does_not_exist_is_told(place: Place) -> None:
    async with place.host(server("no-such-program-anywhere")) as host:
        with pytest.raises(GleitzeitError, match="no-such-program-anywhere"):
            await host.call(ToolCall({}).to("bad/tool"))
        assert (await host.call(Chat("you").to("scripted/echo"))).text == "you"
        rows = {row.name: row for row in await host.health(deep=True)}
    assert rows["bad"].health.status == "error"
    assert "no-such-program-anywhere" in rows["bad"].health.detail


async def test_a_server_that_dies_at_once_shows_the_end_of_its_stderr(place: Place) -> None:
    program = "import sys; print('cannot find my data', file=sys.stderr); sys.exit(3)"
    async with place.host(server(place.environ["PYTHON"], "-c", program)) as host:
        with pytest.raises(GleitzeitError, match="cannot find my data"):
            await host.call(ToolCall({}).to("bad/tool"))


@pytest.mark.parametrize(
    "program",
    [
        "import time; print('this is no JSON', flush=True); time.sleep(60)",
        "import time; time.sleep(60)",
        'print(\'{"jsonrpc": "2.0", "id": 1, "resu\', flush=True)',
    ],
    ids=["garbage", "silence", "half a frame"],
)
async def test_a_server_that_does_not_speak_the_protocol_is_told_in_time(program: str, place: Place) -> None:
    config = server(place.environ["PYTHON"], "-c", program).replace("timeout = 10.0", "timeout = 1.0")
    async with place.host(config) as host:
        with pytest.raises(GleitzeitError, match="bad"):
            await host.call(ToolCall({}).to("bad/tool"))


def test_a_command_tells_it_and_ends(place: Place) -> None:
    ended = place.run("tool", "bad/tool", config=server("no-such-program-anywhere"))
    assert ended.code in (4, 9)
    assert "no-such-program-anywhere" in ended.err
    assert "Traceback" not in ended.err


async def test_a_server_that_is_killed_is_replaced(host: Callable[..., Host], place: Place) -> None:
    async with host() as h:
        request = ToolCall({"repo_path": "."}).to("git/git_log")
        assert "Add a note" in (await h.call(request)).text
        before = serving(place.environ["REPOSITORY"])
        assert before
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        text = ""
        end = time.monotonic() + 20
        while not text and time.monotonic() < end:
            try:
                text = (await h.call(ToolCall({"repo_path": "."}).to("git/git_log"))).text
            except ProcessDiedError:
                continue
        assert "Add a note" in text
        assert not serving(place.environ["REPOSITORY"]) & before


def serving(folder: str) -> set[int]:
    """The git servers that run in this folder."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, place = (entry / "cmdline").read_bytes(), os.readlink(entry / "cwd")
        except OSError:  # it ended, or is somebody else's
            continue
        if b"mcp_server_git" in command and place == folder:
            found.add(int(entry.name))
    return found
