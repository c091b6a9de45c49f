"""An upstream that is down: retries must not make it worse, and a breaker must keep its callers away."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.cases import BROKEN, whole
from tests.reliability.matrix import ask, openai_host
from tests.reliability.proxy import Fault, FaultProxy
from tests.reliability.upstream import TEXT, upstream_port

__all__ = ["measure"]

RATE: Final = 150  # calls offered in a second
#: What a retry budget gives beside its share of 0.15: so many a second, and so many at the start.
REFILL: Final = 3
CAP: Final = 30
THRESHOLD: Final = 5
PROBES: Final = 2
RECOVERY: Final = 0.3
CROWD: Final = 1000
DOWN: Final = whole(503, BROKEN)


async def measure(progress: Progress, quick: bool) -> Group:
    """What reaches an upstream that is down: under retries alone, and in the half-open state."""
    group = Group("storm", "An upstream that is down")
    async with upstream_port() as port, FaultProxy(port) as proxy:
        await _storm(group, progress, proxy, 2 if quick else 60)
    async with upstream_port() as port, FaultProxy(port) as proxy:
        await _half_open(group, proxy, 100 if quick else CROWD)
    return group


async def _storm(group: Group, progress: Progress, proxy: FaultProxy, seconds: int) -> None:
    """Calls come at a steady rate; all fail, and all are tried again as far as the budget goes."""
    proxy.plan = lambda ask: DOWN
    retry = {"max_retries": 5, "base_delay": 0.05 if seconds < 10 else 0.5}
    config = {"retry": retry, "circuit_breaker": {"enabled": False}}
    ended: Counter[str] = Counter()
    async with openai_host({"local": proxy.url}, config) as host, asyncio.TaskGroup() as calls:
        clock = asyncio.get_running_loop()
        begun, offered = clock.time(), 0
        while offered < RATE * seconds:
            due = min(int((clock.time() - begun) * RATE) + 1, RATE * seconds)
            while offered < due:
                calls.create_task(_count(host, ended))
                offered += 1
            progress.at(offered, RATE * seconds)
            await asyncio.sleep(1 / RATE)
    extra = REFILL * (clock.time() - begun) + CAP
    group.add(
        f"calls offered in {seconds} s, the breaker off, 5 retries each", offered, "", note=_told(ended)
    )
    name, asked, note = "  requests that reach the upstream, a call", proxy.asked, f"{proxy.asked:,} requests"
    if seconds < 10:  # what is granted at any load is much of so short a storm
        asked -= round(extra)
        note += f", less the {extra:.0f} that a budget grants at any load"
    group.add(name, asked / offered, "×", limit=1.2, note=note)
    group.add("  calls that were answered or lost", offered - ended["overloaded"], "", limit=0)


async def _half_open(group: Group, proxy: FaultProxy, last: int) -> None:
    """A crowd comes when the breaker's time is over: once to probes that hang, once to probes that answer."""
    breaker = {
        "failure_threshold": THRESHOLD,
        "recovery_timeout": RECOVERY,
        "half_open_max_calls": PROBES,
    }
    config: dict[str, Any] = {"retry": {"max_retries": 0}, "circuit_breaker": breaker}
    async with openai_host({"local": proxy.url}, config) as host:
        assert await ask(host, Chat("hi").to("local/m"), False) == TEXT
        proxy.plan = lambda ask: DOWN
        ended: Counter[str] = Counter()
        for _ in range(3 * THRESHOLD):
            await _count(host, ended)
        group.add("failures until the breaker opens", ended["overloaded"], "", limit=THRESHOLD)
        for name, fault in (
            ("hang", Fault(answer=b"", end="hold")),
            ("fail", Fault(answer=DOWN.answer, delay=0.1)),
        ):
            await asyncio.sleep(RECOVERY * 1.1)
            reached, ended = await _crowd(host, proxy, fault)
            group.add(
                f"half-open, {CROWD:,} calls at once, probes {name}: reach it",
                reached,
                "",
                limit=PROBES,
                note=_told(ended),
            )
        await asyncio.sleep(RECOVERY * 1.1)
        await _crowd(host, proxy, Fault(delay=0.05), PROBES)
        _, ended = await _crowd(host, proxy, Fault(), last)
        refused = last - ended["answered"]
        group.add("after good probes: calls of the next crowd refused", refused, "", limit=0)


async def _crowd(host: Host, proxy: FaultProxy, fault: Fault, count: int = CROWD) -> tuple[int, Counter[str]]:
    """How many of many simultaneous calls reach the upstream, and how all of them end."""
    proxy.plan = lambda ask: fault
    asked = proxy.asked
    ended: Counter[str] = Counter()
    timeout = 0.5 if fault.end == "hold" else 30.0
    await asyncio.gather(*(_count(host, ended, timeout) for _ in range(count)))
    return proxy.asked - asked, ended


async def _count(host: Host, ended: Counter[str], timeout: float = 120.0) -> None:
    try:
        await ask(host, Chat("hi").to("local/m", timeout=timeout), False)
        ended["answered"] += 1
    except GleitzeitError as error:
        ended[error.code] += 1


def _told(ended: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in ended.most_common())
