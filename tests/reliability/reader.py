"""Readers that are far slower than their upstream: memory stays small, and nobody is told of idleness."""

from __future__ import annotations

import asyncio
from typing import Final

from gleitzeit import Chat, Host, TextDelta
from gleitzeit.errors import GleitzeitError
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.held import held, rss, settled
from tests.reliability.matrix import ask, openai_host
from tests.reliability.serve import FLOOD, server
from tests.reliability.upstream import TEXT

__all__ = ["measure"]

STREAMS: Final = 20
EVENTS: Final = 40
IDLE: Final = 0.25  # seconds; the readers think for longer than this
MIB: Final = 1 << 20


async def measure(progress: Progress, quick: bool) -> Group:
    """Memory of streams of ten megabytes whose readers take an event now and then, and pause."""
    group = Group("reader", f"{STREAMS} slow readers of streams of {FLOOD:,} events, sent at once")
    before, peak = held(), 0
    errors: list[GleitzeitError] = []
    config = {"timeouts": {"idle": IDLE, "first_event": 5.0}}
    with server() as url:
        async with openai_host({"local": url}, config) as host:
            assert await ask(host, Chat("hi").to("local/m"), True) == TEXT
            start = rss()
            async with asyncio.TaskGroup() as readers:
                tasks = [readers.create_task(_read(host, errors, quick)) for _ in range(STREAMS)]
                while not all(task.done() for task in tasks):
                    peak = max(peak, rss())
                    await asyncio.wait(tasks, timeout=0.1)
            read = sum(task.result() for task in tasks)
    after = await settled(before, 2.0)
    group.add("events read of each", read / STREAMS, "", limit=EVENTS, at_least=True)
    group.add("memory at its peak, a stream", max(0, peak - start) / STREAMS / MIB, "MiB", limit=1)
    note = f"the readers pause for {2 * IDLE:g} s, the limit is {IDLE:g} s"
    group.add("errors, of idleness or otherwise", len(errors), "", limit=0, note=note)
    group.add("descriptors left behind", after.descriptors - before.descriptors, "", limit=0)
    return group


async def _read(host: Host, errors: list[GleitzeitError], quick: bool) -> int:
    read = 0
    try:
        async with host.stream(Chat("flood").to("local/m", timeout=120)) as stream:
            async for event in stream:
                read += isinstance(event, TextDelta)
                if read == EVENTS:
                    break
                await asyncio.sleep(2 * IDLE if read % 20 == 1 else 0.005 if quick else 0.2)
    except GleitzeitError as error:
        errors.append(error)
    return read
