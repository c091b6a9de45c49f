"""Systems that cannot fork: less is promised, and that is said."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch
from gleitzeit.process import Child, Direct, supported

Program = Callable[..., Launch]
Running = Callable[..., Any]


async def test_it_is_what_starts_a_process_where_there_is_no_launcher(
    running: Running, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleitzeit.process.starting.supported", lambda: False)
    async with running(program("say(input()); sys.exit(4)")) as process, asyncio.timeout(30):
        assert isinstance(process, Direct)
        assert process.guarded is False
        process.stdin.write(b"hello\n")
        assert await process.stdout.readline() == b"hello\n"
        assert await process.wait() == process.returncode == 4


async def test_a_stubborn_process_and_its_group_are_killed(
    running: Running, program: Program, ends: Callable[[int], bool], family: str
) -> None:
    async with running(program(family + "time.sleep(300)"), Direct.start) as process:
        async with asyncio.timeout(30):
            pid, near, far = map(int, (await process.stdout.readline()).split())
    try:
        assert process.returncode == -9
        assert ends(pid)
        assert ends(near)
    finally:
        os.kill(far, signal.SIGKILL)


async def test_a_missing_command_is_an_error_of_ours() -> None:
    with pytest.raises(CannotConnectError, match="no-such-server"):
        await Direct.start(Launch(("no-such-server",), env={"PATH": "/bin"}))


@pytest.mark.parametrize(
    "name,value", [("frozen", True), ("executable", "/opt/app/server"), ("executable", "")]
)
async def test_a_program_that_is_no_interpreter_runs_no_launcher(
    running: Running, program: Program, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    launch = program("input()")
    assert supported() == (os.name == "posix")
    async with running(launch) as process:
        assert isinstance(process, Child)
    monkeypatch.setattr(sys, name, value, raising=False)
    assert not supported()
    async with running(launch) as process:
        assert isinstance(process, Direct)
