"""Calls and streams against a local mock upstream, beside the bare client and the vendor's SDK."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from tests.benchmarks.peers import PEERS, version_of
from tests.benchmarks.process import Worker, interleaved
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.benchmarks.upstream import CHUNKS

WIDTH = 64
OURS, FLOOR, VENDOR = "gleitzeit", "httpx2", "openai"


def measure(progress: Progress, quick: bool) -> Group:
    """CPU of a call and of a chunk, one after another, and calls a second at `WIDTH` concurrent ones."""
    group = Group(
        "calls", f"Calls against a local mock upstream, {CHUNKS} chunks a stream (CPU of the client)"
    )
    there = [name for name, peer in PEERS.items() if version_of(peer) is not None]
    with ExitStack() as stack:
        upstream = stack.enter_context(Worker("tests.benchmarks.upstream"))
        url = f"http://127.0.0.1:{upstream.ready['port']}/v1"
        subjects = {}
        for name in there:
            one = stack.enter_context(Worker("tests.benchmarks.worker", name, url))
            # A client that has had many connections is slower ever after, so they are not the same.
            many = stack.enter_context(Worker("tests.benchmarks.worker", name, url))
            subjects["call", name] = partial(_cpu, one, "call", 50 if quick else 200)
            subjects["stream", name] = partial(_cpu, one, "stream", 5 if quick else 20)
            subjects["rate", name] = partial(_rate, many, 4 * WIDTH if quick else 16 * WIDTH)
        for subject in subjects.values():
            subject()  # warm
        found = interleaved(subjects, 3 if quick else 15, progress.at)
    _rows(group, there, found)
    return group


def _rows(group: Group, there: list[str], found: dict[tuple[str, str], float]) -> None:
    call = {name: 1e6 * found["call", name] for name in there}
    stream = {name: 1e6 * found["stream", name] for name in there}
    chunk = {name: (stream[name] - call[name]) / CHUNKS for name in there}
    rate = {name: found["rate", name] for name in there}

    _compare(group, "a call, sequential", call, "µs")
    _derived(group, "… more than over the bare client", call, FLOOR, "µs", 60, share=False)
    _derived(group, "… as a share of the SDK's", call, VENDOR, "×", 1)
    _compare(group, f"a stream of {CHUNKS} chunks", stream, "µs")
    _compare(group, "a chunk in a burst (a stream less a call)", chunk, "µs", limit=15)
    _compare(group, f"calls a second at {WIDTH} concurrent", rate, "/s")
    _derived(group, "… as a multiple of the SDK's", rate, VENDOR, "×", 1, at_least=True)


def _compare(
    group: Group, name: str, values: dict[str, float], unit: str, limit: float | None = None
) -> None:
    ours = values.get(OURS)
    if ours is None:
        group.absent(name, f"{PEERS[OURS].distribution} is not installed", unit, limit=limit)
    else:
        group.add(name, ours, unit, limit=limit)
    for other, peer in PEERS.items():
        if other in values and other != OURS:
            group.peer(f"{peer.title} {version_of(peer)}", values[other], unit, ours=ours)
        elif other != OURS:
            group.absent(peer.title, f"{peer.distribution} is not installed", peer=True)


def _derived(
    group: Group,
    name: str,
    values: dict[str, float],
    other: str,
    unit: str,
    limit: float,
    *,
    share: bool = True,
    at_least: bool = False,
) -> None:
    if OURS not in values or other not in values:
        group.absent(name, "one of the two is not installed", unit, limit=limit, at_least=at_least)
        return
    value = values[OURS] / values[other] if share else values[OURS] - values[other]
    group.add(name, value, unit, limit=limit, at_least=at_least)


def _cpu(worker: Worker, ask: str, count: int) -> float:
    cpu: float = worker.ask(ask=ask, count=count)["cpu"]
    return cpu


def _rate(worker: Worker, count: int) -> float:
    rate: float = worker.ask(ask="call", count=count, width=WIDTH)["rate"]
    return rate
