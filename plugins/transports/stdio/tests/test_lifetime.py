"""No process outlives its wire, and none is left half dead; what outlives no host is the core's to test."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from gleitzeit_plugin_mcp_stdio import StdioTransport

from gleitzeit.errors import CannotConnectError, ConfigError, SandboxUnavailableError
from gleitzeit.kinds import Endpoint, Frame, Launch, Wire
from gleitzeit.process import Direct

Program = Callable[..., Endpoint]
Ends = Callable[[int], bool]

ECHO = "for line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"


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


@pytest.mark.parametrize(
    "extra,grace,status", [("", 2.0, -15), ("signal.signal(15, signal.SIG_IGN)", 0.1, -9)]
)
async def test_a_stubborn_server_is_asked_and_then_killed(
    transport: StdioTransport, program: Program, extra: str, grace: float, status: int
) -> None:
    code = extra + '\nsay({"method": "up"})\ntime.sleep(300)'
    endpoint = program(code, options={"grace": grace})
    async with asyncio.timeout(30), transport.connect(endpoint) as wire:
        await anext(aiter(wire))
    assert wire.diagnostics()["exit_status"] == status


async def test_a_stopped_server_is_killed(transport: StdioTransport, program: Program) -> None:
    async with transport.connect(program(ECHO)) as wire:
        os.kill(wire.diagnostics()["pid"], signal.SIGSTOP)
    assert wire.diagnostics()["exit_status"] == -9


async def test_whoever_is_cancelled_while_closing_ends_a_stubborn_server_at_once(
    transport: StdioTransport, program: Program
) -> None:
    code = 'signal.signal(15, signal.SIG_IGN)\nsay({"method": "up"})\ntime.sleep(300)'
    leaving = asyncio.Event()
    wires = []

    async def use() -> None:
        async with transport.connect(program(code, options={"grace": 600})) as wire:
            wires.append(wire)
            await anext(aiter(wire))
            leaving.set()

    task = asyncio.create_task(use())
    await leaving.wait()
    await asyncio.sleep(0)  # it closes
    task.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait({task})
    assert task.cancelled()
    assert wires[0].diagnostics()["exit_status"] == -9


@pytest.mark.parametrize(
    "code", ['signal.signal(15, signal.SIG_IGN)\nsay({"method": "up"})\ntime.sleep(300)', "ENDLESS"]
)
async def test_a_server_that_was_given_up_is_not_waited_for(
    transport: StdioTransport, program: Program, code: str
) -> None:
    endless = 'say({"method": "up"})\nwhile True: sys.stdout.write("x" * 65536)'
    options = {"grace": 600, "max_message_bytes": 2**20}
    endpoint = program(endless if code == "ENDLESS" else code, options=options)
    async with asyncio.timeout(60), transport.connect(endpoint) as wire:
        await anext(aiter(wire))
        if code == "ENDLESS":
            assert [frame async for frame in wire] == []
            assert "max_message_bytes" in str(wire.error)
        else:
            wire.give_up()
    assert wire.diagnostics()["exit_status"] in (-15, -9)


async def test_a_child_that_holds_the_streams_does_not_hide_the_death_of_its_server(
    transport: StdioTransport, program: Program
) -> None:
    code = """
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    say({"method": "up"})
    hear()
    os._exit(1)
    """
    async with transport.connect(program(code)) as wire:
        async with asyncio.timeout(30):
            await anext(aiter(wire))
            await wire.send(Frame({"method": "go"}))
            await wire.lost.wait()
        assert "exit status 1" in str(wire.error)


async def test_leaving_by_cancellation_still_ends_the_process(
    transport: StdioTransport, program: Program
) -> None:
    up: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with transport.connect(program('say({"method": "up"}); time.sleep(300)')) as wire:
            await anext(aiter(wire))
            up.set_result(wire)
            await asyncio.sleep(300)

    task = asyncio.create_task(use())
    wire = await up
    for _ in range(5):  # also while it is closing
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.diagnostics()["exit_status"] in (-15, -9)


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


async def test_a_command_that_cannot_be_started_is_told_with_the_name_of_its_server(
    transport: StdioTransport,
) -> None:
    endpoint = Endpoint("server", command=("no-such-server",), env={"PATH": "/nowhere:/bin"})
    with pytest.raises(CannotConnectError, match=r"server 'server': .*'no-such-server'") as caught:
        async with transport.connect(endpoint):
            pytest.fail("it started")
    assert caught.value.sent is False
    assert caught.value.provider == "server"
    assert "PATH is '/nowhere:/bin'" in str(caught.value)


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


async def test_without_a_launcher_it_serves_and_says_that_it_is_not_guarded(
    transport: StdioTransport, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleitzeit.process.starting.supported", lambda: False)
    async with transport.connect(program(ECHO)) as wire:
        await wire.send(Frame({"method": "m"}))
        assert (await anext(aiter(wire))).message == {"method": "m"}
        assert wire.diagnostics()["guarded"] is False
    assert wire.diagnostics()["exit_status"] == 0
