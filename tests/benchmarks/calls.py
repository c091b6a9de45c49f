"""Calls and streams against a local mock upstream, beside every peer there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from tests.benchmarks.peers import PEERS, About, python_of
from tests.benchmarks.process import ROOT, BenchError, Worker, environment, foreign, in_turns
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.benchmarks.upstream import CHUNKS

WIDTH = 64
CALLS = 10_000
OURS, FAST, BARE, VENDOR, RIVAL = "gleitzeit", "gleitzeit-fast", "httpx2", "openai", "litellm"
ROUTER = "litellm-router"

#: What was found of each client in each round: what → client → values.
Found = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Client:
    """The workers of a peer: two, as a client that has had many connections is slower ever after."""

    about: About
    one: Worker
    many: Worker

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.about.title} {self.one.ready['version']}"


def start(
    stack: ExitStack, url: str, without: Mapping[str, str] | None = None
) -> tuple[dict[str, Client], dict[str, str]]:
    """The clients that are there, started and checked, and why the others are not.

    `without` names some to leave out, and why.
    """
    clients: dict[str, Client] = {}
    absent = dict(without or {})
    for name, about in PEERS.items():
        if name in absent:
            continue
        if (why := about.missing()) is not None:
            absent[name] = why
            continue
        one, many = (stack.enter_context(worker(name, url)) for _ in range(2))
        clients[name] = Client(about, one, many)
    for name, client in list(clients.items()):
        try:
            client.one.ready  # noqa: B018  # waits
            client.many.ready  # noqa: B018
        except BenchError as error:
            if name == OURS:
                raise
            del clients[name]
            absent[name] = f"does not work here: {str(error).splitlines()[-1]}"
    return clients, absent


def worker(name: str, url: str) -> Worker:
    """The process of a peer, in its environment and with its settings."""
    about = PEERS[name]
    python = python_of(about)
    assert python is not None
    return Worker("tests.benchmarks.worker", name, url, python=python, env=environment_of(about))


def environment_of(about: About) -> dict[str, str]:
    """The environment variables for a process of a peer."""
    settings = dict(about.settings)
    return environment(ROOT, **settings) if about.environment is None else foreign(**settings)


def measure(progress: Progress, quick: bool) -> Group:
    """CPU of a call and of a chunk, calls a second at `WIDTH` at once, memory after `CALLS`."""
    group = Group(
        "calls", f"Calls against a local mock upstream, {CHUNKS} chunks a stream (CPU of the client)"
    )
    calls = CALLS // 50 if quick else CALLS
    without = {ROUTER: "left out of a quick run"} if quick else {}
    with ExitStack() as stack:
        upstream = stack.enter_context(Worker("tests.benchmarks.upstream"))
        clients, absent = start(stack, f"http://127.0.0.1:{upstream.ready['port']}/v1", without)
        sizes = _memory(clients, calls)
        subjects: dict[tuple[str, str], Callable[[], float]] = {}
        for name, client in clients.items():
            aim = 0.05 if quick else 0.15
            subjects["call", name] = sized(client.one, "cpu", aim, 10, ask="call")
            subjects["stream", name] = sized(client.one, "cpu", aim, 3, ask="stream")
            subjects["rate", name] = sized(client.many, "rate", 4 * aim, 2 * WIDTH, ask="call", width=WIDTH)
        found = in_turns(subjects, 3 if quick else 11, progress.at)
        for client in clients.values():  # side by side: large libraries take long to end, too
            client.one.leave()
            client.many.leave()
    by: Found = {"call": {}, "stream": {}, "rate": {}}
    for (what, name), values in found.items():
        by[what][name] = [1e6 * value for value in values] if what != "rate" else values
    by["chunk"] = {name: _each(by["stream"][name], by["call"][name], CHUNKS) for name in clients}
    _rows(group, clients, absent, by)
    _sizes(group, clients, absent, sizes, calls)
    for name, client in clients.items():
        figures = {what: median(by[what][name]) for what in by}
        group.figure(name, **figures)
        group.versions[name] = client.title
    return group


def sized(worker: Worker, key: str, aim: float, least: int, **command: Any) -> Callable[[], float]:
    """A measurement of about `aim` seconds, and warm."""
    rate = worker.ask(**command, count=least)["rate"]
    count = max(least, int(rate * aim))

    def once() -> float:
        value: float = worker.ask(**command, count=count)[key]
        return value

    return once


def _memory(clients: dict[str, Client], calls: int) -> dict[str, tuple[float, float]]:
    """MB of each client after `calls` calls, and those that came after the first tenth of them.

    All at once: it is not time that is measured, and it warms them for the rest.
    """
    stages = (calls // 10, calls - calls // 10)
    seen: dict[str, list[int | None]] = {name: [] for name in clients}
    for count in stages:
        for client in clients.values():
            client.one.send(ask="call", count=count)
        for name, client in clients.items():
            seen[name].append(client.one.answer()["rss_kb"])
    return {
        name: (after / 1024, (after - before) / 1024)
        for name, (before, after) in seen.items()
        if before is not None and after is not None
    }


def _each(whole: list[float], part: list[float], count: int) -> list[float]:
    return [(one - other) / count for one, other in zip(whole, part, strict=True)]


def _rows(group: Group, clients: dict[str, Client], absent: dict[str, str], by: Found) -> None:
    compare = partial(_compare, group, clients, absent)
    derived = partial(_derived, group, absent)
    middle = {what: {name: median(values) for name, values in of.items()} for what, of in by.items()}

    compare("a call, sequential", middle["call"], "µs")
    bare = by["call"].get(BARE)
    # By rounds: two clients that are asked one after the other see the same weather.
    over = {name: median(_each(values, bare, 1)) for name, values in by["call"].items()} if bare else {}
    derived("… more than over the bare client", over, (OURS,), "µs", 60)
    derived("… litellm adds to the bare client, as a multiple", over, (RIVAL, OURS), "×", 5, at_least=True)
    derived("… as a share of the openai SDK's", middle["call"], (OURS, VENDOR), "×", 1)
    compare(f"a stream of {CHUNKS} chunks", middle["stream"], "µs")
    compare("a chunk in a burst (a stream less a call)", middle["chunk"], "µs", limit=15)
    derived("… on http-fast", middle["chunk"], (FAST,), "µs", 5)
    compare(f"calls a second at {WIDTH} concurrent", middle["rate"], "/s")
    derived("… as a multiple of the openai SDK's", middle["rate"], (OURS, VENDOR), "×", 1, at_least=True)
    derived("… as a multiple of litellm's", middle["rate"], (OURS, RIVAL), "×", 5, at_least=True)
    derived(
        "… on http-fast, as a multiple of litellm's", middle["rate"], (FAST, RIVAL), "×", 5, at_least=True
    )


def _sizes(
    group: Group,
    clients: dict[str, Client],
    absent: dict[str, str],
    sizes: dict[str, tuple[float, float]],
    calls: int,
) -> None:
    names = (f"memory after {calls:,} calls (RSS)", "… of it grown after the first tenth of them")
    if not sizes:
        for name in names:
            group.absent(name, "needs /proc/self/status")
        return
    _compare(group, clients, absent, names[0], {name: size for name, (size, _) in sizes.items()}, "MB")
    _compare(group, clients, absent, names[1], {name: more for name, (_, more) in sizes.items()}, "MB")
    for name, (size, more) in sizes.items():
        group.figure(name, memory=size, growth=more)


def _compare(
    group: Group,
    clients: dict[str, Client],
    absent: dict[str, str],
    name: str,
    values: dict[str, float],
    unit: str,
    limit: float | None = None,
) -> None:
    ours = values.get(OURS)
    if ours is None:
        group.absent(name, absent.get(OURS, "not measured"), unit, limit=limit)
    else:
        group.add(name, ours, unit, limit=limit)
    for other, about in PEERS.items():
        if other in values and other != OURS:
            group.peer(clients[other].title, values[other], unit, ours=ours)
        elif other != OURS and other in absent:
            group.absent(about.title, absent[other], peer=True)


def _derived(
    group: Group,
    absent: dict[str, str],
    name: str,
    values: dict[str, float],
    which: tuple[str, ...],
    unit: str,
    limit: float,
    *,
    at_least: bool = False,
) -> None:
    """A row of one value, or of one divided by another, which is taken as at least 1 in its unit."""
    missing = [one for one in which if one in absent]
    if missing or any(one not in values for one in which):
        why = f"without {PEERS[missing[0]].title}: {absent[missing[0]]}" if missing else "not measured"
        group.absent(name, why, unit, limit=limit, at_least=at_least)
        return
    value = values[which[0]]
    if len(which) == 2:
        value /= max(values[which[1]], 1)
    group.add(name, value, unit, limit=limit, at_least=at_least)
