"""No process outlives its host, none leaves anything behind, and none gets more than it is given."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch
from gleitzeit.process import Child, start

Program = Callable[..., Launch]
Running = Callable[..., Any]
Ends = Callable[[int], bool]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to the launcher")

ECHO = "for line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"


def parent(pid: int) -> int:
    """The launcher of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def line(process: Any) -> bytes:
    """The next line that it says."""
    async with asyncio.timeout(30):
        said: bytes = await process.stdout.readline()
    return said


async def pids(process: Any) -> list[int]:
    return [int(word) for word in (await line(process)).split()]


async def status(process: Any) -> int:
    async with asyncio.timeout(30):
        code: int = await process.wait()
    return code


async def test_streams_and_exit_status_are_the_process_own(running: Running, program: Program) -> None:
    code = "said = input(); print('oh', file=sys.stderr); print(said.upper(), flush=True); sys.exit(3)"
    async with running(program(code)) as process:
        assert isinstance(process, Child)
        assert process.guarded
        before = process.returncode
        process.stdin.write(b"hello\n")
        assert await line(process) == b"HELLO\n"
        assert await status(process) == 3
        assert (before, process.returncode) == (None, 3)
        assert await process.stderr.read() == b"oh\n"


async def test_it_gets_exactly_the_variables_arguments_and_directory_of_its_launch(
    running: Running, program: Program, tmp_path: Path
) -> None:
    code = "say(json.dumps([dict(os.environ), sys.argv[1:], os.getcwd()]))"
    env = {"PATH": "/usr/bin:/bin", "TOKEN": "s3cret", "UMLAUT": "ä"}
    async with running(program(code, "a b", "ç", env=env, cwd=str(tmp_path))) as process:
        found, args, cwd = json.loads(await line(process))
    assert {**found, "LC_CTYPE": ""} == {**env, "LC_CTYPE": ""}  # Python adds that one
    assert args == ["a b", "ç"]
    assert cwd == os.path.realpath(tmp_path)


@linux
async def test_it_inherits_no_descriptor_and_no_ignored_signal(running: Running, program: Program) -> None:
    code = """
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    status = open("/proc/self/status").read().splitlines()
    say(json.dumps([fds, [line.split()[1] for line in status if "SigIgn" in line]]))
    """
    async with running(program(code)) as process:
        fds, ignored = json.loads(await line(process))
    assert [fd for fd in fds if fd > 2] in ([], [3])  # 3: the listing itself
    assert int(ignored[0], 16) & ~0x1001000 == 0  # SIGPIPE and SIGXFSZ, which Python itself ignores


@linux
async def test_the_launcher_shows_neither_command_nor_secrets(running: Running, program: Program) -> None:
    async with running(program(ECHO, env={"PATH": "/bin", "API_KEY": "canary"})) as process:
        process.stdin.write(b"up\n")
        assert await line(process) == b"up\n"
        assert b"canary" in Path(f"/proc/{process.pid}/environ").read_bytes()
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{parent(process.pid)}/{name}").read_bytes()
            assert b"canary" not in shown
            assert b"sys.stdin" not in shown


@pytest.mark.parametrize("extra,code", [("", -15), ("signal.signal(15, signal.SIG_IGN)", None)])
async def test_it_may_be_asked_to_end_and_need_not_heed_that(
    running: Running, program: Program, extra: str, code: int | None
) -> None:
    async with running(program(extra + "\nsay('up')\nfor line in sys.stdin: say(line)")) as process:
        await line(process)
        process.terminate()
        if code is None:
            process.stdin.write(b"still here\n")
            assert await line(process) == b"still here\n"
        else:
            assert await status(process) == code
    assert process.returncode == (-9 if code is None else code)


async def test_a_stopped_process_is_killed(running: Running, program: Program) -> None:
    async with running(program("time.sleep(300)")) as process:
        os.kill(process.pid, signal.SIGSTOP)
    assert process.returncode == -9


@linux
@pytest.mark.parametrize("ending", ["sys.stdin.read()", "input(); os._exit(7)", "time.sleep(300)"])
async def test_whatever_it_started_ends_with_it(
    running: Running, program: Program, ends: Ends, family: str, ending: str
) -> None:
    async with running(program(family + ending)) as process:
        found = await pids(process)
        process.stdin.write(b"go\n")
        process.stdin.close()
        if "sleep" not in ending:
            await status(process)
    assert len(found) == 3
    assert all(ends(pid) for pid in found)


@linux
async def test_a_child_that_holds_the_streams_does_not_hide_the_end(
    running: Running, program: Program, ends: Ends
) -> None:
    code = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    say(child.pid)
    input()
    os._exit(1)
    """
    async with running(program(code)) as process:
        [child] = await pids(process)
        process.stdin.write(b"go\n")
        assert await status(process) == 1
        assert ends(child)


@linux
async def test_a_killed_launcher_takes_the_process_with_it(
    running: Running, program: Program, ends: Ends
) -> None:
    async with running(program(ECHO)) as process:
        os.kill(parent(process.pid), signal.SIGKILL)
        assert await status(process) == -9
        assert ends(process.pid)


HOST = """
import asyncio, os, sys
from gleitzeit.kinds import Launch
from gleitzeit.process import start
async def main():
    command, env = (sys.executable, "-I", "-c", sys.argv[1]), {"PATH": os.environ["PATH"]}
    process = await start(Launch(command, env=env))
    print((await process.stdout.readline()).decode(), end="", flush=True)
    if sys.argv[2] == "fork" and os.fork() == 0:
        await asyncio.sleep(300)  # a copy of the host that keeps its descriptors open
    await asyncio.sleep(300)
asyncio.run(main())
"""


@contextmanager
def hosting(launch: Launch, how: str = "plain") -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A host in a process of its own, with the pids of its child and the child's children."""
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, launch.command[3], how],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        assert host.stdout is not None
        found = [int(word) for word in host.stdout.readline().split()]
        host.stdout.close()
        assert len(found) == 3
        yield host, found
    finally:
        os.killpg(host.pid, signal.SIGKILL)  # the forked copy, too
        host.wait()


@linux
@pytest.mark.parametrize("how", ["plain", "fork"])
def test_nothing_survives_a_host_that_is_killed(program: Program, ends: Ends, family: str, how: str) -> None:
    with hosting(program(family + "time.sleep(300)"), how) as (host, found):
        host.kill()
        assert all(ends(pid) for pid in found)


@linux
def test_the_process_does_not_survive_when_its_launcher_and_its_host_are_killed(
    program: Program, ends: Ends, family: str
) -> None:
    with hosting(program(family + "time.sleep(300)")) as (host, (child, near, far)):
        host.send_signal(signal.SIGSTOP)
        os.kill(parent(child), signal.SIGKILL)
        try:
            assert ends(child)
        finally:
            for each in (near, far):
                os.kill(each, signal.SIGKILL)


async def test_a_start_that_is_cancelled_leaves_nothing(running: Running, program: Program) -> None:
    for delay in (0, 0.002, 0.005, 0.01, 0.02):  # whatever it is at by then
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(delay), running(program(ECHO)):
                await asyncio.sleep(300)


@pytest.mark.parametrize(
    "command,says",
    [
        ("no-such-server", ("no-such-server", "No such file", "PATH is '/nowhere:/bin'")),
        ("/no/such/server", ("/no/such/server", "correct the path")),
        ("{tmp}/no-interpreter", ("No such file", "interpreter in its first line")),
        ("{tmp}/not-executable", ("Permission denied", "permissions")),
    ],
)
async def test_a_command_that_cannot_be_started_says_why_and_what_next(
    tmp_path: Path, command: str, says: tuple[str, ...]
) -> None:
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "not-executable").chmod(0o644)
    launch = Launch((command.format(tmp=tmp_path),), env={"PATH": "/nowhere:/bin"})
    with pytest.raises(CannotConnectError) as caught:
        await start(launch)
    assert caught.value.sent is False
    assert all(word in str(caught.value) for word in says)


async def test_a_missing_directory_is_named(program: Program) -> None:
    with pytest.raises(CannotConnectError, match="working directory '/no/such/place'"):
        await start(program(ECHO, cwd="/no/such/place"))


async def test_killing_twice_is_as_killing_once(running: Running, program: Program) -> None:
    async with running(program("time.sleep(300)")) as process:
        await process.kill()
        assert process.returncode == -9
