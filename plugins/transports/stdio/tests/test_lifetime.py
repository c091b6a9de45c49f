"""No process outlives its wire or its host, and none is left half dead."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gleitzeit_plugin_mcp_stdio import StdioTransport, process
from gleitzeit_plugin_mcp_stdio.direct import Direct

from gleitzeit.errors import CannotConnectError, ConfigError, SandboxUnavailableError
from gleitzeit.kinds import Endpoint, Frame, Launch, Wire

Program = Callable[..., Endpoint]
Ends = Callable[[int], bool]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to the launcher")

ECHO = "for line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
#: A child in the server's group, and one that left it for a session of its own; both ignore SIGTERM.
FAMILY = """
code = "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(300)"
pipes = {"args": [sys.executable, "-c", code], "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
near = subprocess.Popen(**pipes)
far = subprocess.Popen(**pipes, start_new_session=True, env={})
near.stdout.read(1), far.stdout.read(1)
say({"method": "up", "params": {"pids": [near.pid, far.pid]}})
"""


def parent(pid: int) -> int:
    """The launcher of a server."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def family(wire: Wire) -> list[int]:
    """The pids of the server and its children, once they run."""
    async with asyncio.timeout(20):
        frame = await anext(aiter(wire))
    found: list[int] = [wire.diagnostics()["pid"], *frame.message["params"]["pids"]]
    return found


async def test_a_server_that_heeds_the_end_of_its_input_ends_by_itself(
    transport: StdioTransport, program: Program
) -> None:
    async with transport.connect(program(ECHO)) as wire:
        await wire.send(Frame({"method": "m"}))
        await anext(aiter(wire))
    assert wire.diagnostics()["exit_status"] == 0
    assert wire.error is None


async def test_a_server_may_finish_its_work_after_the_end_of_its_input(
    transport: StdioTransport, program: Program, tmp_path: Path
) -> None:
    code = """
    say({"method": "up"})
    sys.stdin.read()
    print("x" * 300000)  # more than a pipe holds: somebody must still read
    open(sys.argv[1], "w").write("saved")
    """
    async with transport.connect(program(code, str(tmp_path / "state"))) as wire:
        await anext(aiter(wire))
    assert (tmp_path / "state").read_text() == "saved"


@pytest.mark.parametrize("extra,status", [("", -15), ("signal.signal(15, signal.SIG_IGN)", -9)])
async def test_a_stubborn_server_is_asked_and_then_killed(
    transport: StdioTransport, program: Program, extra: str, status: int
) -> None:
    endpoint = program(extra + '\nsay({"method": "up"})\ntime.sleep(300)')
    began = time.monotonic()
    async with transport.connect(endpoint) as wire:
        await anext(aiter(wire))
    assert wire.diagnostics()["exit_status"] == status
    assert time.monotonic() - began < 10


async def test_a_stopped_server_is_killed(transport: StdioTransport, program: Program) -> None:
    async with transport.connect(program(ECHO)) as wire:
        os.kill(wire.diagnostics()["pid"], signal.SIGSTOP)
    assert wire.diagnostics()["exit_status"] == -9


@linux
@pytest.mark.parametrize("ending", ["sys.stdin.read()", "hear(); os._exit(7)", "time.sleep(300)"])
async def test_whatever_a_server_started_ends_with_it(
    transport: StdioTransport, program: Program, ends: Ends, ending: str
) -> None:
    async with transport.connect(program(FAMILY + ending)) as wire:
        pids = await family(wire)
        await wire.send(Frame({"method": "go"}))
    assert all(ends(pid) for pid in pids)


@linux
async def test_a_child_that_holds_the_streams_does_not_hide_the_death_of_its_server(
    transport: StdioTransport, program: Program, ends: Ends
) -> None:
    code = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    say({"method": "up", "params": {"pids": [child.pid]}})
    hear()
    os._exit(1)
    """
    async with transport.connect(program(code)) as wire:
        _, child = await family(wire)
        await wire.send(Frame({"method": "go"}))
        async with asyncio.timeout(5):
            await wire.lost.wait()
        assert ends(child)


@linux
async def test_a_killed_launcher_takes_the_server_with_it(
    transport: StdioTransport, program: Program, ends: Ends
) -> None:
    async with transport.connect(program(ECHO)) as wire:
        pid = wire.diagnostics()["pid"]
        os.kill(parent(pid), signal.SIGKILL)
        async with asyncio.timeout(10):
            await wire.lost.wait()
        assert ends(pid)


HOST = """
import asyncio, os, sys
from gleitzeit_plugin_mcp_stdio import StdioTransport
from gleitzeit.kinds import Endpoint
async def main():
    command, env = (sys.executable, "-I", "-c", sys.argv[1]), {"PATH": os.environ["PATH"]}
    endpoint = Endpoint("server", command=command, env=env)
    async with StdioTransport(None, None).connect(endpoint) as wire:
        frame = await anext(aiter(wire))
        print(wire.diagnostics()["pid"], *frame.message["params"]["pids"], flush=True)
        if sys.argv[2] == "fork" and os.fork() == 0:
            await asyncio.sleep(300)  # a copy of the host that keeps its descriptors open
        await asyncio.sleep(300)
asyncio.run(main())
"""


@contextmanager
def hosting(code: str, how: str = "plain") -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A host in a process of its own, with the pids of its server and the server's children."""
    prelude = "import json, os, subprocess, sys, time\ndef say(m): print(json.dumps(m), flush=True)\n"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, prelude + textwrap.dedent(code), how],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        assert host.stdout is not None
        pids = [int(word) for word in host.stdout.readline().split()]
        host.stdout.close()
        assert len(pids) == 3
        yield host, pids
    finally:
        os.killpg(host.pid, signal.SIGKILL)  # the forked copy, too
        host.wait()


@linux
@pytest.mark.parametrize("how", ["plain", "fork"])
def test_nothing_survives_a_host_that_is_killed(ends: Ends, how: str) -> None:
    with hosting(FAMILY + "time.sleep(300)", how) as (host, pids):
        host.kill()
        assert all(ends(pid) for pid in pids)


@linux
def test_the_server_does_not_survive_when_its_launcher_and_its_host_are_killed(ends: Ends) -> None:
    with hosting(FAMILY + "time.sleep(300)") as (host, (server, near, far)):
        host.send_signal(signal.SIGSTOP)
        os.kill(parent(server), signal.SIGKILL)
        try:
            assert ends(server)
        finally:
            for child in (near, far):
                os.kill(child, signal.SIGKILL)


async def test_leaving_by_cancellation_still_ends_the_process(
    transport: StdioTransport, program: Program, ends: Ends
) -> None:
    up: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with transport.connect(program('say({"method": "up"}); time.sleep(300)')) as wire:
            await anext(aiter(wire))
            up.set_result(wire.diagnostics()["pid"])
            await asyncio.sleep(300)

    task = asyncio.create_task(use())
    pid = await up
    for _ in range(5):  # also while it is closing
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends(pid)


async def test_a_start_that_is_cancelled_leaves_nothing(transport: StdioTransport, program: Program) -> None:
    for delay in (0, 0.002, 0.005, 0.01, 0.02):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(delay), transport.connect(program(ECHO)):
                await asyncio.sleep(300)


async def test_fifty_starts_and_crashes_leave_no_task_descriptor_or_process(
    transport: StdioTransport, program: Program
) -> None:
    def here() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    async def once(number: int) -> None:
        endpoint = Endpoint(
            "server", command=("sh", "-c", "read line; exit 1"), env={"PATH": os.environ["PATH"]}
        )
        async with transport.connect(endpoint) as wire:
            if number % 2:
                await wire.send(Frame({"method": "go"}))
                await wire.lost.wait()

    await once(0)
    before = here()
    for round in range(10):
        await asyncio.gather(*(once(round + number) for number in range(5)))
    assert here() == before


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
    transport: StdioTransport, tmp_path: Path, command: str, says: tuple[str, ...]
) -> None:
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "not-executable").chmod(0o644)
    endpoint = Endpoint("server", command=(command.format(tmp=tmp_path),), env={"PATH": "/nowhere:/bin"})
    with pytest.raises(CannotConnectError) as caught:
        async with transport.connect(endpoint):
            pytest.fail("it started")
    assert caught.value.sent is False
    assert all(word in str(caught.value) for word in says)


async def test_a_missing_directory_is_named(transport: StdioTransport, program: Program) -> None:
    with pytest.raises(CannotConnectError, match="working directory '/no/such/place'"):
        async with transport.connect(program(ECHO, cwd="/no/such/place")):
            pytest.fail("it started")


async def test_an_endpoint_without_a_command_is_refused(transport: StdioTransport) -> None:
    with pytest.raises(ConfigError, match="no command"):
        async with transport.connect(Endpoint("server", url="http://127.0.0.1:1/")):
            pytest.fail("it started")


async def test_a_missing_sandbox_is_an_error_before_anything_starts(
    transport: StdioTransport, program: Program, tmp_path: Path
) -> None:
    mark = tmp_path / "started"
    endpoint = program("open(sys.argv[1], 'w')", str(mark), sandbox="bubblewrap")
    with pytest.raises(SandboxUnavailableError, match="bubblewrap"):
        async with transport.connect(endpoint):
            pytest.fail("it started")
    assert not mark.exists()


async def test_a_sandbox_that_is_there_does_the_launching(program: Program) -> None:
    class Recording:
        def __init__(self) -> None:
            self.launches: list[Launch] = []

        async def launch(self, launch: Launch, policy: object) -> Direct:
            self.launches.append(launch)
            return await Direct.start(launch)

    from gleitzeit_plugin_mcp_stdio import StdioConfig

    from gleitzeit.testing import FakeContext

    sandbox = Recording()
    context = FakeContext("stdio", drivers={("sandbox", "recording"): sandbox})
    endpoint = program(ECHO, sandbox="recording")
    async with StdioTransport(StdioConfig(grace=0.5), context).connect(endpoint) as wire:
        await wire.send(Frame({"method": "m"}))
        assert (await anext(aiter(wire))).message == {"method": "m"}
    assert [launch.command for launch in sandbox.launches] == [endpoint.command]


class TestWithoutALauncher:
    """Systems that cannot fork: less is promised, and diagnostics say so."""

    @pytest.fixture(autouse=True)
    def unsupported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gleitzeit_plugin_mcp_stdio.transport.supported", lambda: False)
        assert process.supported()

    async def test_it_serves_and_says_that_it_is_not_guarded(
        self, transport: StdioTransport, program: Program
    ) -> None:
        async with transport.connect(program(ECHO)) as wire:
            await wire.send(Frame({"method": "m"}))
            assert (await anext(aiter(wire))).message == {"method": "m"}
            assert wire.diagnostics()["guarded"] is False
        assert wire.diagnostics()["exit_status"] == 0

    async def test_a_stubborn_server_and_its_group_are_killed(
        self, transport: StdioTransport, program: Program, ends: Ends
    ) -> None:
        async with transport.connect(program(FAMILY + "time.sleep(300)")) as wire:
            pid, near, far = await family(wire)
        try:
            assert ends(pid)
            assert ends(near)
        finally:
            os.kill(far, signal.SIGKILL)

    async def test_a_missing_command_is_an_error_of_ours(self, transport: StdioTransport) -> None:
        with pytest.raises(CannotConnectError, match="no-such-server"):
            async with transport.connect(
                Endpoint("server", command=("no-such-server",), env={"PATH": "/bin"})
            ):
                pytest.fail("it started")
