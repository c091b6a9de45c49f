"""From nothing to the first answer: what an application that starts pays, beside every peer there is."""

from __future__ import annotations

import json
from functools import partial
from statistics import median

from tests.benchmarks.calls import OURS, environment_of
from tests.benchmarks.peers import PEERS, About, python_of
from tests.benchmarks.process import BenchError, Run, Worker, in_turns, report, run
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

BASE = "bare interpreter"
#: Another client of the same library starts as the first one does.
ALIKE = {"litellm-router"}


def measure(progress: Progress, quick: bool) -> Group:
    """CPU and peak memory of imports, and of a process that makes one call and ends."""
    group = Group("start", "Starting, beside all peers (whole processes; CPU over the bare interpreter)")
    with Worker("tests.benchmarks.upstream") as upstream:
        url = f"http://127.0.0.1:{upstream.ready['port']}/v1"
        found = _Found()
        subjects = {("import", BASE): found.taker(("import", BASE), partial(_import, None))}
        warm = {("import", BASE): [subjects["import", BASE]()]}
        absent: dict[str, str] = {}
        for name, about in PEERS.items():
            if name in ALIKE:
                continue
            if (why := about.missing()) is not None:
                absent[name] = why
                continue
            wanted = {("first", name): partial(_first, name, url)}
            if about.imports is not None:
                wanted["import", name] = partial(_import, about)
            takers = {key: found.taker(key, subject) for key, subject in wanted.items()}
            try:  # byte code and page cache
                warm.update({key: [taker()] for key, taker in takers.items()})
            except BenchError as error:
                if name == OURS:
                    raise
                absent[name] = f"does not work here: {str(error).splitlines()[-1]}"
            else:
                subjects.update(takers)
        rounds = warm if quick else in_turns(subjects, 7, progress.at)
    bare = median(rounds["import", BASE])
    cpu = {
        key: 1000 * (median(values) - bare)
        for key, values in rounds.items()
        if key in subjects and key[1] != BASE
    }
    for what, title in (("import", "ready for a first call"), ("first", "first answer, its process and all")):
        _rows(group, absent, f"{title}: CPU", {name: cpu[w, name] for w, name in cpu if w == what}, "ms")
        _rows(group, absent, f"{title}: peak RSS", found.peaks(what), "MB")
    for (what, name), value in cpu.items():
        group.figure(name, **{f"{what}_cpu": value})
        if name in (peaks := found.peaks(what)):
            group.figure(name, **{f"{what}_memory": peaks[name]})
    return group


class _Found:
    """The memory of the processes whose time is taken."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, str], int] = {}

    def taker(self, key: tuple[str, str], subject: partial[Run]) -> partial[float]:
        """Runs a process and gives its seconds of CPU; the peak is noted."""
        return partial(self._take, key, subject)

    def _take(self, key: tuple[str, str], subject: partial[Run]) -> float:
        done = subject()
        peak = json.loads(done.out.splitlines()[-1]).get("peak_kb")
        if peak is not None:
            self._peaks[key] = max(peak, self._peaks.get(key, 0))
        return done.cpu

    def peaks(self, what: str) -> dict[str, float]:
        """MB by client."""
        return {name: peak / 1024 for (of, name), peak in self._peaks.items() if of == what and name != BASE}


def _import(about: About | None) -> Run:
    if about is None:
        return run(["-c", report("")])
    return _run(about, ["-c", report(about.imports or "")])


def _first(name: str, url: str) -> Run:
    return _run(PEERS[name], ["-m", "tests.benchmarks.worker", name, url, "first"])


def _run(about: About, command: list[str]) -> Run:
    python = python_of(about)
    assert python is not None
    return run(command, python=python, env=environment_of(about))


def _rows(group: Group, absent: dict[str, str], title: str, values: dict[str, float], unit: str) -> None:
    ours = values.get(OURS)
    if ours is None:
        group.absent(title, absent.get(OURS, "needs /proc/self/status"), unit)
    else:
        group.add(title, ours, unit)
    for name, about in PEERS.items():
        if name in values and name != OURS:
            group.peer(about.title, values[name], unit, ours=ours)
        elif name in absent and name != OURS:
            group.absent(about.title, absent[name], peer=True)
