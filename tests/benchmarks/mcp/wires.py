"""A tool called through a host, beside the SDK's client alone, over the same wire to the same server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

from tests.benchmarks.calls import sized
from tests.benchmarks.machine import installed
from tests.benchmarks.mcp import ERAS, LOCAL
from tests.benchmarks.process import BenchError, Worker, in_turns
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

WIDTH = 32
#: How much slower a call over stdio may be than the direct client's.
LIMIT = 1.2
PACKAGES = {"stdio": "gleitzeit-plugin-mcp-stdio", "http": "gleitzeit-plugin-mcp-http"}

#: Client → what was found in each round.
Rounds = Mapping[str, list[float]]


def measure(progress: Progress, quick: bool) -> Group:
    """Median time of a call, calls a second at `WIDTH` at once, and from nothing to the first result."""
    group = Group("mcp", "A tool of an MCP server (official SDK), host beside the direct client (clock)")
    wires = {name: installed(package) is not None for name, package in PACKAGES.items()}
    with ExitStack() as stack:
        server = stack.enter_context(Worker("tests.benchmarks.mcp.server", "http"))
        entries = {"stdio": LOCAL, "http": {"url": f"http://127.0.0.1:{server.ready['port']}/mcp"}}
        workers = {
            (wire, client): stack.enter_context(client_of(client, entries[wire]))
            for wire, there in wires.items()
            for client in ("direct", "host")
            if there
        }
        subjects: dict[tuple[str, str, str, str], Callable[[], float]] = {}
        for (wire, client), worker in workers.items():
            for era in ERAS:
                for what, subject in measured(worker, era, quick).items():
                    subjects[wire, era, what, client] = subject
                cpu = sized(worker, "cpu", 0.1 if quick else 0.4, 5, era=era, width=1)
                subjects[wire, era, "cpu", client] = cpu
        found = in_turns(subjects, 3 if quick else 11, progress.at)
    starts = {("start", client): _starter(client) for client in ("direct", "host") if wires["stdio"]}
    first = in_turns(starts, 1 if quick else 7, progress.at) if starts else {}
    for wire, there in wires.items():
        for era in ERAS:
            if not there:
                group.absent(f"{wire}, {era}", f"{PACKAGES[wire]} is not installed")
                continue
            limit = LIMIT if wire == "stdio" else None
            times = {client: found[wire, era, "p50", client] for client in ("direct", "host")}
            rates = {client: found[wire, era, "rate", client] for client in ("direct", "host")}
            cpu_times = {client: found[wire, era, "cpu", client] for client in ("direct", "host")}
            _beside(group, f"{wire}, {era}: a call, sequential (p50)", times, "µs", 1e6)
            group.add(f"… {wire}, {era}: time as a multiple of its", share(times), "×", limit=limit)
            _beside(group, f"{wire}, {era}: calls a second at {WIDTH} concurrent", rates, "/s", 1)
            least = None if limit is None else 1 / limit
            group.add(
                f"… {wire}, {era}: rate as a share of its", share(rates), "×", limit=least, at_least=True
            )
            _beside(group, f"{wire}, {era}: CPU of the client for a call", cpu_times, "µs", 1e6)
    if first:
        rounds = {client: values for (_, client), values in first.items()}
        _beside(group, "stdio: first result, both processes started", rounds, "ms", 1e3)
    return group


def client_of(client: str, entry: Mapping[str, Any], *first: str) -> Worker:
    """A process that calls the tool of a server, given as an entry of a host."""
    return Worker("tests.benchmarks.mcp.worker", client, json.dumps(entry), *first)


def measured(worker: Worker, era: str, quick: bool) -> dict[str, Callable[[], float]]:
    """What is measured of each client: `p50` in seconds, and `rate`. Opens its sessions."""
    aim = 0.1 if quick else 0.4
    return {
        "p50": sized(worker, "p50", aim, 5, era=era, width=1),
        "rate": sized(worker, "rate", 2 * aim, WIDTH, era=era, width=WIDTH),
    }


def share(rounds: Rounds, ours: str = "host", its: str = "direct") -> float:
    """Ours divided by its, round by round: both see the same weather."""
    return median(one / other for one, other in zip(rounds[ours], rounds[its], strict=True))


def _starter(client: str) -> Callable[[], float]:
    def start() -> float:
        begin = time.perf_counter()
        with client_of(client, LOCAL, "modern") as worker:
            if not worker.ready:
                raise BenchError(f"{client} said nothing")
            return time.perf_counter() - begin

    return start


def _beside(group: Group, name: str, rounds: Rounds, unit: str, scale: float) -> None:
    ours = scale * median(rounds["host"])
    group.add(name, ours, unit)
    title = f"mcp SDK {installed('mcp')}, direct"
    group.peer(title, scale * median(rounds["direct"]), unit, ours=ours)
