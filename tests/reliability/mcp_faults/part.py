"""The faults as a part of the session: each provoked, held against what it must be, and told in a table."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from gleitzeit import errors
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.held import held, settled
from tests.reliability.mcp_faults.cases import FAULTS, Fault
from tests.reliability.mcp_faults.scene import SETTLE, Scene, Seen

__all__ = ["Faults", "engine", "judge", "measure", "provoked", "shown_by", "summarize"]

#: Seconds after its deadline in which a call must have ended.
LATE: Final = 0.1
#: Runs of what a median is told of.
OFTEN: Final = 5
COLUMNS: Final = (
    "fault",
    "wire",
    "the call in flight",
    "it ended",
    "calls of the sibling",
    "healed after",
    "left behind",
    "test",
)


@dataclass(frozen=True)
class Faults(Group):
    """The rows that have limits, and what was seen of each fault."""

    seen: list[tuple[Fault, list[Seen]]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**super().to_dict(), "faults": [_told(fault, runs) for fault, runs in self.seen]}

    def markdown(self) -> str:
        """The table of the page."""
        rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(fault, runs) for fault, runs in self.seen)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def text(self) -> str:
        """The same for a terminal, without the tests."""
        widths = (37, 18, 47, 27, 27, 14)
        lines = []
        for row in [COLUMNS, *(_cells(fault, runs) for fault, runs in self.seen)]:
            told = [f"{cell.replace('`', ''):{width}}" for cell, width in zip(row, widths, strict=False)]
            lines.append(f"  {''.join(told)}{row[len(widths)]}")
        return "\n".join(lines)


async def measure(progress: Progress, quick: bool) -> Faults:
    """Provoke every fault; `quick` takes some of them, once each, and says nothing of time."""
    chosen = [fault for fault in FAULTS if fault.quick or not quick]
    group = Faults("mcp", "Faults of MCP servers, each beside a sibling that must not notice")
    # The thread that imports it stays with the loop.
    await asyncio.to_thread(importlib.import_module, "gleitzeit_plugin_mcp.session")
    async with engine():
        for number, fault in enumerate(chosen):
            times = OFTEN if fault.often and not quick else 1
            group.seen.append((fault, [await provoked(fault, progress, quick) for _ in range(times)]))
            progress.at(number + 1, len(chosen))
    summarize(group, quick)
    return group


async def provoked(fault: Fault, progress: Progress, quick: bool) -> Seen:
    """What is seen of a fault, which happens once."""
    before = held()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), progress, quick=quick)
        seen = scene.seen
        try:
            await fault.way(scene)
        except (errors.GleitzeitError, TimeoutError) as error:
            seen.problems.append(f"it did not go its way: {error!r}")
        processes = await scene.remaining()
    after = await settled(before, SETTLE)
    seen.left = {
        "processes": max(processes, after.children - before.children),
        "tasks": max(0, after.tasks - before.tasks),
        "descriptors": max(0, after.descriptors - before.descriptors),
    }
    judge(fault, seen, quick)
    return seen


def judge(fault: Fault, seen: Seen, quick: bool) -> None:
    """Note what is not as it must be; `quick` lets times be."""
    met = seen.met
    if met is not None:
        error, kind = met.error, fault.error
        if quick and kind is errors.ProcessDiedError:
            kind = errors.WireError  # on a slow machine its streams may be seen to end well before itself
        good = error is None if kind is None else isinstance(error, kind)
        seen.must(good, f"{kind.__name__ if kind else 'an answer'} was due, not {error!r}")
        if error is not None and good:
            # The deadline of a call is the host's, which need not know how far the call has come.
            sent = error.sent is not False if fault.sent is None else error.sent is fault.sent
            seen.must(sent, f"sent is {error.sent}, not {fault.sent}")
            limit = LATE if seen.by_deadline else fault.told
            seen.must(quick or (seen.late or 0.0) <= limit, f"told after {seen.late:.3f} s")
    seen.must(seen.answered == seen.asked, f"the sibling answered {seen.answered} of {seen.asked}")
    seen.must(not any(seen.left.values()), f"left behind: {seen.left}")


def summarize(group: Faults, quick: bool) -> None:
    """Add the rows with their limits; `quick` sets none in time."""
    wrong = []
    for fault, several in group.seen:
        wrong += [f"{fault.name}, {fault.wire}: {each}" for run in several for each in run.problems]
    runs = [run for _, several in group.seen for run in several]
    group.add("faults", len(group.seen), "")
    group.add("  that ended or left things otherwise", len(wrong), "", limit=0, note="; ".join(wrong[:3]))
    late = [run.late for run in runs if run.by_deadline and run.late is not None]
    limit = None if quick else 1000 * LATE
    group.add("  the latest of all, after its deadline", 1000 * max(late, default=0), "ms", limit=limit)
    asked = sum(run.asked for run in runs)
    note = f"the slowest took {1000 * max(run.slowest for run in runs):.0f} ms"
    group.add("calls of the siblings", asked, "", note=note)
    group.add("  that were not answered", asked - sum(run.answered for run in runs), "", limit=0)
    slow = [fault.name for fault, several in group.seen if _over(fault, several)]
    limit = None if quick else 0
    group.add("faults that were not healed in time", len(slow), "", limit=limit, note=", ".join(slow))
    for fault, several in group.seen:
        if fault.often and fault.heals is not None and (healed := _healed(several)) is not None:
            name = f"  {fault.name}, beside the server's own start"
            group.add(name, 1000 * healed, "ms", limit=None if quick else 1000 * fault.heals)
    for what in ("processes", "tasks", "descriptors"):
        group.add(f"{what} left behind", sum(run.left[what] for run in runs), "", limit=0)


def _healed(runs: list[Seen]) -> float | None:
    times = [run.healed for run in runs if run.healed is not None]
    return median(times) if times else None


def _over(fault: Fault, runs: list[Seen]) -> bool:
    healed = _healed(runs)
    return fault.heals is not None and (healed is None or healed > fault.heals)


def _cells(fault: Fault, runs: list[Seen]) -> tuple[str, ...]:
    last = runs[-1]
    late = [run.late for run in runs if run.late is not None]
    ended = "–"
    if last.met is not None and last.met.error is not None and late:
        ended = f"{_ms(max(late))} after {'its deadline' if last.by_deadline else 'the fault'}"
    asked = sum(run.asked for run in runs)
    left = {what: sum(run.left[what] for run in runs) for what in last.left}
    rest = ", ".join(f"{count} {what}" for what, count in left.items() if count) or "nothing"
    if last.gone is not None:
        rest += f", {_ms(last.gone)} later"
    healed = _healed(runs)
    return (
        fault.name,
        fault.wire,
        last.summary or _ending(last),
        ended,
        f"{sum(run.answered for run in runs):,} of {asked:,} answered" if asked else "–",
        "–" if healed is None else _ms(healed),
        rest,
        shown_by(fault),
    )


def _ending(seen: Seen) -> str:
    if seen.met is None:
        return "–"
    if seen.met.error is None:
        return "answered"
    kind = next(each.__name__ for each in type(seen.met.error).__mro__ if each.__name__ in errors.__all__)
    sent = {True: "sent", False: "not sent", None: "perhaps sent"}[seen.met.error.sent]
    return f"`{kind}`, {sent}"


def shown_by(fault: Fault) -> str:
    """The cell with the test that shows the fault as well."""
    return f"`{fault.test}`" + (" in core" if fault.core else "") if fault.test else "–"


def _told(fault: Fault, runs: list[Seen]) -> dict[str, Any]:
    return {"fault": fault.name, "wire": fault.wire, "runs": [_plain(run) for run in runs]}


def _plain(seen: Seen) -> dict[str, Any]:
    return {**asdict(seen, dict_factory=dict), "met": _ending(seen)}


def _ms(seconds: float) -> str:
    return f"{max(1000 * seconds, 1):.0f} ms"


@asynccontextmanager
async def engine() -> AsyncIterator[None]:
    """gRPC has one engine a process, with a thread and descriptors of its own: have it stand before all."""
    try:
        import grpc.aio
    except ImportError:
        yield
        return
    async with grpc.aio.insecure_channel("127.0.0.1:1"):
        yield
