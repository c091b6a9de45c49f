"""`gleitzeit health --watch` and `--of`."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.cli.output import Output
from gleitzeit.cli.table import width
from gleitzeit.cli.watch import rows
from gleitzeit.host import InstanceHealth
from gleitzeit.stats import Statistics
from gleitzeit.status import StatusServer, document
from gleitzeit.values import Health, State, Usage
from gleitzeit.values.snapshot import Gauge

Run = Callable[..., Any]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]
QUICK = ("health", "--watch", "--interval", "0.01")


def application() -> dict[str, Any]:
    """What a busy host tells."""
    statistics = Statistics(now=lambda: 1_800_000_000.0)
    stats = statistics.target("desk", "echo", "desk")
    stats.in_flight += 2
    stats.retries, stats.refused = 4, 6
    for _ in range(98):
        stats.attempt("ok", 0.1, Usage(input=10, output=5))
    for _ in range(2):
        stats.attempt("reset", 20.0)
    stats.first_event.record(0.02)
    statistics.call("desk/echo", "chat").call("ok", 0.1)
    gauges = {("desk", "echo"): Gauge("open", queued=3, cooling=7.0), ("desk", ""): Gauge(cooling=2.0)}
    healths = [
        InstanceHealth(name, kind="provider", plugin=name, state=State.ACTIVE, health=health)
        for name, health in {
            "desk": Health("ok", latency=0.0125),
            "idle": Health("ok", detail="calm"),
        }.items()
    ]
    return document(statistics.snapshot(gauges), healths)


async def tell() -> dict[str, Any]:
    return application()


@pytest.fixture
async def serving(site: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StatusServer]:
    """A busy application that serves at `status`, in the directory that commands work in."""
    monkeypatch.chdir(site.work)
    server = StatusServer("status", tell)
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def start(site: Any, command: Callable[..., dict[str, Any]]) -> AsyncIterator[Start]:
    """Starts a command line in a process of its own."""
    started = []

    async def start(*words: str) -> asyncio.subprocess.Process:
        options = command(*words)
        process = await asyncio.create_subprocess_exec(
            *options["args"],
            env=options["env"],
            cwd=options["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line of the result."""
    assert process.stdout is not None
    found = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    assert found, "the command ended"
    return found


def test_each_round_is_a_block_where_output_is_no_terminal(desk: Any, run: Run) -> None:
    desk.config("[providers.desk]\neager = true\n")
    result = run(*QUICK, "--count", "3")
    blocks = result.out.removesuffix("\n\n").split("\n\n")
    assert len(blocks) == 3
    for block in blocks:
        heading, titles, *body = block.split("\n")
        assert "0 calls, 0 failed, 0 in flight" in heading
        assert titles.split()[:4] == ["INSTANCE", "STATE", "HEALTH", "LATENCY"]
        [found] = [each.split() for each in body if each.startswith("desk")]
        assert found == ["desk", "active", "ok", "12", "ms", "sitting"]
    assert "\x1b" not in result.out
    assert result.code == 0


def test_each_round_is_a_line_of_json(desk: Any, run: Run) -> None:
    found = [json.loads(each) for each in run(*QUICK, "--count", "2", "--json").lines]
    assert len(found) == 2
    assert all(each["snapshot"]["at"] > 0 for each in found)
    assert "desk" in [each["name"] for each in found[1]["instances"]]


def test_last_round_decides_on_the_exit_code(desk: Any, run: Run) -> None:
    desk.config("[providers.gone]\n")
    assert run(*QUICK, "--count", "1").code == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["--interval", "1"], "--interval says nothing without --watch"),
        (["--count", "1"], "--count says nothing without --watch"),
        (["--of", "x", "--deep"], "--deep and --of do not go together"),
        (["--watch", "--interval", "0"], "0 is no time to wait between rounds"),
        (["--watch", "--interval", "nan"], "nan is no time to wait between rounds"),
        (["--watch", "--count", "0"], "0 is no number of rounds"),
        (["--watch", "--count", "x"], "x is no number of rounds"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused(site: Any, run: Run, words: list[str], message: str) -> None:
    result = run("health", *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_terminal_shows_it_in_place(desk: Any, terminal: Callable[..., Any]) -> None:
    desk.config("[providers.desk]\neager = true\n")
    shown = terminal(*QUICK, "--count", "2", "--no-color")
    assert shown.wait() == 0
    first, again, second = shown.seen.replace("\r\n", "\n").partition("\x1b[")
    lines = first.split("\n")[:-1]
    assert again
    assert second.startswith(f"{len(lines)}F\x1b[J")
    assert second.count("\n") == len(lines)
    assert max(map(width, lines)) <= 80
    assert "\x1b[3" not in shown.seen


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_terminal_without_colours_gets_none(desk: Any, terminal: Callable[..., Any], variable: str) -> None:
    desk.config("[providers.desk]\neager = true\n")
    shown = terminal(*QUICK, "--count", "2", env={variable: "dumb"})
    assert shown.wait() == 0
    assert "\x1b[32m" not in shown.seen
    assert ("\x1b" in shown.seen) is (variable == "NO_COLOR")


def test_terminal_has_colours_for_what_matters(desk: Any, terminal: Callable[..., Any]) -> None:
    desk.config("[providers.desk]\neager = true\n")
    shown = terminal(*QUICK, "--count", "1")
    assert shown.wait() == 0
    assert "\x1b[32mok" in shown.seen


def test_what_a_terminal_has_no_room_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    output = Output()
    output.terminal = True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(output, "_write", written.append)
    output.redraw(list("abcdef"))
    output.redraw(list("ghi"))
    monkeypatch.setenv("COLUMNS", "40")
    output.redraw(["j"])
    assert written == ["a\nb\nc\n", "\x1b[3F\x1b[Jg\nh\ni\n", "\x1b[H\x1b[2Jj\n"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("source", [(), ("--of", "status")], ids=["own", "of"])
async def test_a_signal_is_the_way_to_end_it(
    start: Start, serving: StatusServer, number: int, source: tuple[str, ...]
) -> None:
    process = await start("health", "--watch", "--interval", "1000", "--json", *source)
    await line(process)
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_running_application_tells_what_its_calls_come_to(start: Start, serving: StatusServer) -> None:
    process = await start("health", "--of", "status")
    out, err = await asyncio.wait_for(process.communicate(), 30)
    titles, desk, idle = out.decode().splitlines()
    assert [each.strip() for each in titles.split("  ") if each] == [
        "INSTANCE", "STATE", "HEALTH", "LATENCY", "BREAKER", "COOLING", "QUEUED", "IN FLIGHT", "CALLS",
        "FAILED", "RETRIES", "REFUSED", "P50", "P95", "FIRST EVENT", "TOKENS", "DETAIL",
    ]  # fmt: skip
    words = ["desk", "active", "ok", "12", "ms", "open", "7", "s", "3", "2", "100", "2", "4", "6"]
    assert desk.split()[: len(words)] == words
    assert desk.split()[-1] == "1470"
    assert idle.split() == ["idle", "active", "ok", "calm"]
    assert "1 calls, 0 failed" in err.decode()
    assert process.returncode == 0


async def test_application_that_goes_away_is_asked_again(start: Start, serving: StatusServer) -> None:
    process = await start(*QUICK, "--json", "--of", "status")
    assert "instances" in await line(process)
    await serving.close()
    while "error" not in (found := json.loads(await line(process))):
        pass
    assert found["error"]["code"] == "cannot_connect"
    await serving.open()
    while "instances" not in json.loads(await line(process)):
        pass
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


def test_application_that_is_not_there_is_an_error(site: Any, run: Run) -> None:
    result = run("health", "--watch", "--of", "nowhere")
    assert (result.code, result.out) == (9, "")
    assert "error: nowhere: No such file or directory" in result.err
    assert "status_socket" in result.err


def test_times_and_shares_are_those_of_the_statistics() -> None:
    found = application()
    statistics = Statistics()
    stats = statistics.target("desk", "echo", "desk")
    for seconds in (0.0101, 0.0101, 12.0):
        stats.attempt("ok", seconds)
    [row] = rows(found["instances"][:1], statistics.snapshot())
    assert row[12].endswith(" ms")
    assert 10 <= int(row[12].removesuffix(" ms")) <= 12
    assert row[13].endswith(" s")
    assert 10.2 <= float(row[13].removesuffix(" s")) <= 12.2  # the bucket of 12.0
    assert row[14] == ""  # no stream began
    assert row[15] == ""  # nothing was reported, which is not zero


def test_socket_is_completed_as_a_file() -> None:
    from gleitzeit.cli.completion import script

    assert "--of" in next(each for each in script("bash").splitlines() if "compgen -f" in each)
