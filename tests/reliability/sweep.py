"""Calls cancelled at each turn of the loop in which they can be: the upstream knows, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Final

from httpx2 import URL

from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.cases import BROKEN, LATER, WORD, events, whole
from tests.reliability.held import held, settled
from tests.reliability.matrix import GONE, ask, openai_host
from tests.reliability.proxy import Fault, FaultProxy
from tests.reliability.upstream import TEXT, upstream_port

__all__ = ["measure"]

#: One place and one failure: whatever is not given back, or counted wrongly, stops the next call.
RESILIENCE: Final = {
    "retry": {"max_retries": 1, "base_delay": 0.001},
    "circuit_breaker": {"failure_threshold": 2, "recovery_timeout": 600},
}
EACH: Final = {"bulkhead": {"max_calls": 1, "max_queue": 1}, "rate_limit": {"requests_per_minute": 1e6}}
MOST: Final = 500  # turns; a call takes fewer


async def measure(progress: Progress, quick: bool) -> Group:
    """Sweeps over whole answers and streams, good ones and such that would be tried again."""
    group = Group("sweep", "Cancelled at every await")
    before = held()
    limited = whole(429, BROKEN, "retry-after-ms: 1")  # is tried again, and no failure of the target
    for number, (name, streamed, fault) in enumerate(
        (
            ("a whole answer", False, Fault()),
            ("a stream", True, Fault()),
            ("a whole answer that is retried", False, limited),
            ("a stream that is retried", True, limited),
            ("a stream that breaks", True, events(WORD, "{")),
            ("a stream that is cut", True, Fault(cut=LATER, end="close")),
        )
    ):
        problems: list[str] = []
        cancelled = await _sweep(streamed, fault, problems, 50 * GONE if quick else GONE)
        progress.at(number + 1, 6)
        group.add(f"{name}: places of cancellation", cancelled, "")
        note = problems[0] if problems else ""
        group.add("  after which anything was lost", len(problems), "", limit=0, note=note)
    after = await settled(before, 2.0)
    for name, was, now in zip(before._fields, before, after, strict=True):
        group.add(f"{name} left behind", now - was, "", limit=0)
    return group


async def _sweep(streamed: bool, fault: Fault, problems: list[str], gone: float) -> int:
    """Cancel after 0, 1, 2 … turns until the call is done before; how many were cancelled."""
    async with (
        upstream_port() as port,
        FaultProxy(port) as proxy,
        openai_host({"local": proxy.url}, RESILIENCE, EACH) as host,
    ):
        assert await ask(host, Chat("hi").to("local/m"), False) == TEXT
        cancelled = done = turns = 0
        while done < 3 and turns < MOST:  # what the network does is not the same each time
            proxy.plan = lambda ask: fault
            task = asyncio.create_task(ask(host, Chat("hi").to("local/m", timeout=30), streamed))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.cancel():
                done += 1
            await asyncio.wait([task])
            cancelled += task.cancelled()
            if not task.cancelled():
                task.exception()
            turns += 1
            await _whole_again(host, proxy, turns, problems, gone)
    return cancelled


async def _whole_again(host: Host, proxy: FaultProxy, turns: int, problems: list[str], gone: float) -> None:
    if not await proxy.quiet(gone):
        problems.append(f"after {turns} turns: the upstream still answers")
    proxy.plan = lambda ask: Fault()
    instance = host._registry.find("provider", "local")
    assert instance is not None
    if instance.leases:
        problems.append(f"after {turns} turns: {len(instance.leases)} leases")
    pool = instance.object.context.http._transport_for_url(URL(proxy.url))._pool
    if pool._requests:
        problems.append(f"after {turns} turns: the HTTP client still knows {pool._requests[-1].connection!r}")
    try:
        text = await ask(host, Chat("hi").to("local/m", timeout=30), False)
        if text != TEXT:
            problems.append(f"after {turns} turns: {text[:40]!r}")
    except GleitzeitError as error:
        problems.append(f"after {turns} turns: {error!r}")
