"""One peer in a process of its own, which measures its own CPU time. Commands come as JSON lines."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.peers import PEERS
from tests.benchmarks.upstream import TEXT


async def work(name: str, url: str) -> None:
    """Open the peer, check that it gives the right text, then measure what is asked for."""
    peer = PEERS[name]()
    await peer.open(url)
    asks: dict[str, Callable[[], Awaitable[str]]] = {"call": peer.call, "stream": peer.stream}
    for kind, ask in asks.items():
        text = await ask()
        if text != TEXT:
            raise SystemExit(
                f"{name}: {kind} gave {text[:60]!r}…, {len(text)} characters; {len(TEXT)} are right"
            )
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:  # nothing else runs in this loop between commands
        command = json.loads(line)
        ask = asks[command["ask"]]
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await _many(ask, command["count"], command.get("width", 1))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"cpu": cpu / command["count"], "rate": command["count"] / wall}), flush=True)
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
