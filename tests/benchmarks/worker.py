"""One peer in a process of its own, which measures itself: its own CPU time and memory.

Commands come as JSON lines. Runs in the environment of the peer, without gleitzeit in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.machine import installed, memory
from tests.benchmarks.peers import PEERS
from tests.benchmarks.upstream import TEXT


async def work(name: str, url: str, until: str = "") -> None:
    """Open the peer, check that it gives the right text, then measure what is asked for.

    With `until` "first" only one call is made, and its memory told.
    """
    about = PEERS[name]
    peer = about.make()
    await peer.open(url)
    asks: dict[str, Callable[[], Awaitable[str]]] = {"call": peer.call, "stream": peer.stream}
    for kind, ask in asks.items():
        text = await ask()
        if text != TEXT:
            raise SystemExit(
                f"{name}: {kind} gave {text[:60]!r}…, {len(text)} characters; {len(TEXT)} are right"
            )
        if until == "first":
            print(json.dumps({"peak_kb": memory("VmHWM")}), flush=True)
            await peer.close()
            return
    print(json.dumps({"version": installed(about.distribution)}), flush=True)
    for line in sys.stdin:  # nothing else runs in this loop between commands
        command = json.loads(line)
        ask, count = asks[command["ask"]], command["count"]
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await _many(ask, count, command.get("width", 1))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        gc.collect()
        print(json.dumps({"cpu": cpu / count, "rate": count / wall, "rss_kb": memory("VmRSS")}), flush=True)
    await peer.close()


async def _many(ask: Callable[[], Awaitable[str]], count: int, width: int) -> None:
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await ask()

    if width == 1:
        await one_after_another()
    else:
        await asyncio.gather(*(one_after_another() for _ in range(width)))


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
