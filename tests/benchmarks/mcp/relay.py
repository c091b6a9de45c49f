"""A tool called through `gleitzeit mcp serve`, beside other gateways before the same server."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.machine import installed
from tests.benchmarks.mcp import ERAS
from tests.benchmarks.mcp.gateways import GATEWAYS, Gateway, Running
from tests.benchmarks.mcp.wires import WIDTH, Rounds, client_of, measured, share
from tests.benchmarks.process import BenchError, Worker, in_turns
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

OURS, PROXY, RIVAL, DIRECT = "gleitzeit", "mcp-proxy", "fastmcp-http", "direct"


@dataclass(frozen=True)
class Started:
    """A gateway that answers, by a client of its own."""

    title: str
    client: Worker
    #: Seconds from its start to its first answer; None for the server itself.
    seconds: float | None
    #: What it speaks to clients of each era: those of the handshake are all that some know.
    revisions: dict[str, str]
    running: Running | None = None

    @property
    def eras(self) -> tuple[str, ...]:
        """Those worth measuring: one, where clients of both get the same."""
        return ERAS if self.revisions.get(ERAS[0]) != self.revisions.get(ERAS[1], "") else ERAS[1:]


def measure(progress: Progress, quick: bool) -> Group:
    """Median time of a call, calls a second at `WIDTH` at once, both eras, and the start of each gateway."""
    group = Group("gateways", "A tool through gateways, by the SDK's client over HTTP (clock)")
    with ExitStack() as stack:
        server = stack.enter_context(Worker("tests.benchmarks.mcp.server", "http"))
        url = f"http://127.0.0.1:{server.ready['port']}/mcp"
        there, absent = start(stack, GATEWAYS, url)
        client = stack.enter_context(client_of("direct", {"url": url}))
        there[DIRECT] = Started(f"no gateway, mcp SDK {installed('mcp')} on HTTP", client, None, {})
        subjects: dict[tuple[str, str, str], Callable[[], float]] = {}
        for name, started in list(there.items()):
            try:
                for era in started.eras:
                    wanted = measured(started.client, era, quick)
                    if (running := started.running) is not None and running.cpu() is not None:
                        wanted["cpu"] = _cpu(running, started.client, era, quick)
                    for what, subject in wanted.items():
                        subjects[era, what, name] = _guarded(subject, name, absent)
            except BenchError as error:
                absent[name] = _reason(error)
        subjects = {key: subject for key, subject in subjects.items() if key[2] not in absent}
        found = in_turns(subjects, 3 if quick else 9, progress.at)
    there = {name: started for name, started in there.items() if name not in absent}
    for name, started in there.items():
        if ERAS[0] not in started.eras:  # it has but one, for clients of both
            for what in ("p50", "rate", "cpu"):
                if (ERAS[1], what, name) in found:
                    found[ERAS[0], what, name] = found[ERAS[1], what, name]
    for era in ERAS:
        times, rates = ({name: found[era, what, name] for name in there} for what in ("p50", "rate"))
        _rows(group, there, absent, f"{era}: a call, sequential (p50)", times, "µs", 1e6, era)
        _share(group, absent, f"… {era}: time as a share of mcp-proxy's", times, (OURS, PROXY), 1)
        _share(group, absent, f"… {era}: FastMCP's to HTTP, as a multiple of ours", times, (RIVAL, OURS), 5)
        _rows(group, there, absent, f"{era}: calls a second at {WIDTH} concurrent", rates, "/s", 1, era)
        _share(
            group,
            absent,
            f"… {era}: rate as a multiple of mcp-proxy's",
            rates,
            (OURS, PROXY),
            1,
            at_least=True,
        )
        _share(group, absent, f"… {era}: rate as a multiple of FastMCP's to HTTP", rates, (OURS, RIVAL), 5)
        cpu = {name: values for name in there if (values := found.get((era, "cpu", name))) is not None}
        _rows(group, there, absent, f"{era}: CPU of the gateway for a call", cpu, "µs", 1e6, era)
    starts = {name: [one.seconds] for name, one in there.items() if one.seconds is not None}
    _rows(group, there, absent, "from the start of it to its first answer (once)", starts, "s", 1)
    return group


def start(
    stack: ExitStack, gateways: dict[str, Gateway], url: str
) -> tuple[dict[str, Started], dict[str, str]]:
    """The gateways that answer, one started after the other, and why the others do not."""
    there: dict[str, Started] = {}
    absent: dict[str, str] = {}
    for name, gateway in gateways.items():
        if (why := gateway.missing()) is not None:
            absent[name] = why
            continue
        with ExitStack() as own:
            try:
                running = own.enter_context(Running(gateway, url))
                client = own.enter_context(client_of("direct", running.entry()))
                client.ready  # noqa: B018  # waits
                revisions: dict[str, str] = {}
                seconds = None
                for era in ERAS:
                    revisions[era] = client.ask(era=era, count=1, width=1)["revision"]
                    if seconds is None:
                        seconds = time.perf_counter() - running.begin
            except BenchError as error:
                absent[name] = _reason(error)
                continue
            stack.push(own.pop_all())
        title = f"{gateway.title} {gateway.version()}"
        there[name] = Started(title, client, seconds, revisions, running)
    return there, absent


def _guarded(subject: Callable[[], float], name: str, absent: dict[str, str]) -> Callable[[], float]:
    """The measurement; once it fails, the gateway is absent and all of it is nothing."""

    def once() -> float:
        if name in absent:
            return 0.0
        try:
            return subject()
        except BenchError as error:
            absent[name] = _reason(error)
            return 0.0

    return once


def _cpu(running: Running, client: Worker, era: str, quick: bool) -> Callable[[], float]:
    """Seconds of CPU of the gateway itself for a call, its server not counted."""
    rate = client.ask(era=era, count=5, width=1)["rate"]
    count = max(5, int(rate * (0.2 if quick else 1)))

    def once() -> float:
        before = running.cpu()
        client.ask(era=era, count=count, width=1)
        after = running.cpu()
        if before is None or after is None:
            raise BenchError("it has ended")
        return (after - before) / count

    return once


def _reason(error: BenchError) -> str:
    return f"not here: {str(error).strip().splitlines()[-1]}"


def _rows(
    group: Group,
    there: dict[str, Started],
    absent: dict[str, str],
    name: str,
    rounds: Rounds,
    unit: str,
    scale: float,
    era: str = "",
) -> None:
    values = {key: scale * median(of) for key, of in rounds.items()}
    ours = values.get(OURS)
    if ours is None:
        group.absent(name, absent.get(OURS, "not measured"), unit)
    else:
        group.add(name, ours, unit)
    for key in (DIRECT, *GATEWAYS):
        if key == OURS:
            continue
        if key in values:
            spoken = there[key].revisions.get(era)
            note = f"speaks {spoken} only" if era == ERAS[0] and key != DIRECT and _old(spoken) else ""
            group.peer(there[key].title, values[key], unit, ours=ours, note=note)
        elif key in absent:
            group.absent(GATEWAYS[key].title, absent[key], peer=True)


def _old(revision: str | None) -> bool:
    return revision is not None and revision < "2026"


def _share(
    group: Group,
    absent: dict[str, str],
    name: str,
    rounds: Rounds,
    which: tuple[str, str],
    limit: float,
    *,
    at_least: bool | None = None,
) -> None:
    """A row of one's values divided by another's, round by round; FastMCP's budgets are multiples."""
    least = limit > 1 if at_least is None else at_least
    missing = [one for one in which if one not in rounds]
    if missing:
        why = f"without {GATEWAYS[missing[0]].title}: {absent.get(missing[0], 'not measured')}"
        group.absent(name, why, "×", limit=limit, at_least=least)
    else:
        group.add(name, share(rounds, *which), "×", limit=limit, at_least=least)
