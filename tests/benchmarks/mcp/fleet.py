"""One run of a host with ten servers that live and as many as wanted that do not; prints its times.

    python -m tests.benchmarks.mcp.fleet SLOW lazy|eager

Half of the slow ones are commands that do not exist, half are processes that never say a word.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from gleitzeit import Host, ToolCall
from tests.benchmarks.mcp import LOCAL, TEXT, TOOL

ALIVE = 10
_SILENT: dict[str, Any] = {
    "command": sys.executable,
    "args": ["-I", "-S", "-c", "import sys; sys.stdin.read()"],
}


def config(slow: int, *, eager: bool) -> dict[str, Any]:
    """What the host is told; the ones that live come last."""
    servers: dict[str, dict[str, Any]] = {}
    for number in range(slow):
        missing: dict[str, Any] = {"command": f"/nowhere/server-{number}"}
        servers[f"slow{number}"] = missing if number % 2 else dict(_SILENT)
    servers |= {f"alive{number}": dict(LOCAL) for number in range(ALIVE)}
    for entry in servers.values():
        entry |= {"sandbox": "none", "eager": eager}
    # Ten interpreters that start at once on few cores take long to list their tools.
    return {"host": {"hook_timeout": 60}, "servers": servers}


async def work(slow: int, *, eager: bool) -> dict[str, float]:
    """Seconds from the making of the host: open, the first answer, ten answers; and for closing it."""
    times: dict[str, float] = {}
    begin = time.perf_counter()

    async def ask(number: int) -> None:
        reply = await host.call(ToolCall({"text": TEXT}).to(f"alive{number}/{TOOL}", timeout=120))
        assert reply.text == TEXT

    async with Host(config(slow, eager=eager), environ={}) as host:
        times["open"] = time.perf_counter() - begin
        await ask(0)
        times["first"] = time.perf_counter() - begin
        await asyncio.gather(*map(ask, range(1, ALIVE)))
        times["ten"] = time.perf_counter() - begin
    times["close"] = time.perf_counter() - begin - times["ten"]
    return times


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(int(sys.argv[1]), eager=sys.argv[2] == "eager"))))
