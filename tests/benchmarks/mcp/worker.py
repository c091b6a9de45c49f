"""One client in a process of its own, which measures its calls. Commands come as JSON lines.

    python -m tests.benchmarks.mcp.worker CLIENT ENTRY [ERA]

With ERA one call is made before it says that it is ready.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from contextlib import AsyncExitStack
from statistics import median

from tests.benchmarks.mcp import TEXT
from tests.benchmarks.mcp.clients import CLIENTS, Ask


async def work(client: str, entry: str, era: str | None = None) -> None:
    """Answer each command: `era`, `count`, `width` (calls at once).

    Sessions are opened at their first command and kept. A client that has had many connections is slower
    ever after, so sequential calls and concurrent ones have separate sessions.
    """
    server = json.loads(entry)
    opened: dict[tuple[str, bool], tuple[Ask, str]] = {}
    async with AsyncExitStack() as stack:

        async def session(era: str, many: bool) -> tuple[Ask, str]:
            if (key := (era, many)) not in opened:
                opened[key] = await stack.enter_async_context(CLIENTS[client](server, era))
                await _timed(opened[key][0], [])
            return opened[key]

        if era is not None:
            await session(era, many=False)
        print(json.dumps({"ready": True}), flush=True)
        # In a thread: whatever a session does between calls goes on.
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            try:
                ask, revision = await session(command["era"], command["width"] > 1)
                answer = {**await _measured(ask, **command), "revision": revision}
            except Exception as error:  # of the server's: what else is measured goes on
                while isinstance(error, ExceptionGroup):
                    error = error.exceptions[0]
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


async def _measured(ask: Ask, *, era: str, count: int, width: int) -> dict[str, float]:
    times: list[float] = []
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await _timed(ask, times)

    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    if width == 1:
        await one_after_another()
    else:
        async with asyncio.TaskGroup() as group:  # one fails: the others end, too
            for _ in range(width):
                group.create_task(one_after_another())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"p50": median(times), "cpu": cpu / count, "rate": count / wall}


async def _timed(ask: Ask, times: list[float]) -> None:
    begin = time.perf_counter()
    text = await ask()
    times.append(time.perf_counter() - begin)
    if text != TEXT:
        raise ValueError(f"the tool gave {text[:200]!r}; {TEXT[:20]!r}… is right")


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
