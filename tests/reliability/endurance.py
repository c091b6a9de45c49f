"""Very many calls over a real wire, a fifth of them broken or left: nothing is lost, kept or leaked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median
from typing import Final, Literal

from gleitzeit import Chat, Host
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.cases import CASES, Case
from tests.reliability.held import held, rss, settled
from tests.reliability.matrix import ask, openai_host
from tests.reliability.serve import server
from tests.reliability.upstream import TEXT

__all__ = ["measure"]

WIDTH: Final = 16
GRAIN: Final = 64  # KiB: less in all cannot be told from how the allocator takes its pages
DEADLINE: Final = 0.05  # seconds for calls that nothing else would end
ROUNDS: Final = 20  # measurements of memory, after as many calls each; a third of them is warm-up
#: Everything that can be switched on is, set so that it does not end what is measured.
RESILIENCE: Final = {
    "retry": {"max_retries": 1, "base_delay": 0.001},
    "circuit_breaker": {"failure_threshold": 1_000_000},
}
EACH: Final = {"bulkhead": {"max_calls": 64}, "rate_limit": {"requests_per_minute": 1e9}}
#: Not those that close the target to all calls for a while, need another address, or cost a second each.
USED: Final = [
    case
    for case in CASES
    if not (
        case.cooled
        or case.connection
        or case.timeouts
        or (case.unary.wait or (0, 0))[1]
        or "MB" in case.name
        or case.unary.error is None
    )
]

How = Literal["whole", "stream", "cancelled"]
KINDS: Final[tuple[tuple[How, int], ...]] = (("whole", 100_000), ("stream", 10_000), ("cancelled", 50_000))


@dataclass
class Tally:
    """How the calls ended; `wrong` has those that ended as no call may."""

    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """One call."""

    how: How
    case: Case | None
    chance: float


def plans(how: How, count: int, faulty: float, seed: int) -> Iterator[Plan]:
    """So many calls, of which this share meets a fault."""
    rng = random.Random(seed)
    for _ in range(count):
        yield Plan(how, rng.choice(USED) if rng.random() < faulty else None, rng.random())


async def run(host: Host, todo: Iterator[Plan], tally: Tally) -> None:
    """Make the calls, `WIDTH` at a time."""

    async def one_after_another() -> None:
        for plan in todo:
            await _one(host, plan, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(one_after_another())


async def _one(host: Host, plan: Plan, tally: Tally) -> None:
    streamed = plan.how == "stream" or (plan.how == "cancelled" and plan.chance < 0.5)
    expected = plan.case.expected(streamed) if plan.case is not None else None
    late = plan.case is not None and plan.case.deadline < 1
    prompt = "hello" if plan.case is None else f"fault: {plan.case.name}"
    request = Chat(prompt).to("local/m", timeout=DEADLINE if late else 30)
    task = asyncio.create_task(ask(host, request, streamed))
    if plan.how == "cancelled":
        await _some_time(task, plan.chance)
        task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        tally.cancelled += 1
        if plan.how != "cancelled":
            tally.wrong.append(f"{plan}: cancelled by nobody")
        return
    error = task.exception()
    wanted = expected.error if expected is not None else None
    if error is None:
        tally.answered += 1
        if wanted is not None or task.result() != TEXT:
            tally.wrong.append(f"{plan}: answered {task.result()[:40]!r}")
    else:
        tally.failed += 1
        if wanted is None or type(error) is not wanted:
            tally.wrong.append(f"{plan}: {error!r}")


async def _some_time(task: asyncio.Task[str], chance: float) -> None:
    """Let the call come to some await: by turns of the loop, or by time."""
    if chance < 0.25 or chance > 0.75:
        for _ in range(int(chance * 1000) % 20):
            await asyncio.sleep(0)
    else:
        await asyncio.wait([task], timeout=(chance - 0.25) * 0.016)


def slope(points: list[tuple[int, int]]) -> float:
    """Bytes a call: the median over all pairs, which one step of the allocator does not move."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


async def measure(progress: Progress, quick: bool) -> Group:
    """Calls, streams and cancelled calls; what memory grew by, and what was left."""
    share, rounds = (100, 6) if quick else (1, ROUNDS)
    group = Group("endurance", "Endurance over HTTP: whole answers, streams, calls cancelled somewhere")
    before = held()
    with server() as url:
        async with openai_host({"local": url}, RESILIENCE, EACH) as host:
            assert await ask(host, Chat("hello").to("local/m"), False) == TEXT
            for done, (how, count) in enumerate(KINDS):
                tally, points = Tally(), []
                for number in range(rounds):
                    await run(host, plans(how, count // share // rounds, 0.2, seed=number), tally)
                    points.append(((number + 1) * count // share // rounds, rss()))
                    progress.at(done * rounds + number + 1, len(KINDS) * rounds)
                _rows(group, how, tally, points[rounds // 3 :])
            instance = host._registry.find("provider", "local")
            assert instance is not None
            group.add("leases that were not given back", len(instance.leases), "", limit=0)
    after = await settled(before, 2.0)
    for name, was, now in zip(before._fields, before, after, strict=True):
        group.add(f"{name} left behind", now - was, "", limit=0)
    return group


def _rows(group: Group, how: How, tally: Tally, points: list[tuple[int, int]]) -> None:
    count = tally.answered + tally.failed + tally.cancelled
    ended = f"answered {tally.answered:,}, failed {tally.failed:,}, cancelled {tally.cancelled:,}"
    group.add(f"{how}: calls", count, "", note=ended)
    first = f"the first: {tally.wrong[0]}" if tally.wrong else ""
    group.add("  that ended otherwise than planned", len(tally.wrong), "", limit=0, note=first)
    grown, measured = slope(points) / 1024 * 1000, (points[-1][0] - points[0][0]) / 1000
    # A short run says nothing: what it sees is how the allocator takes its pages.
    limit = max(1.0, GRAIN / measured) if count >= 10_000 else None
    group.add("  memory after warm-up, per 1,000 calls", grown, "KiB", limit=limit)
