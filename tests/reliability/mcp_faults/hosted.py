"""A host with two servers that have each started a process: prints all their pids, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from gleitzeit import Host, ToolCall
from tests.reliability.mcp_faults.scene import stdio


async def main() -> None:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    names = ("one", "two")
    async with Host({"servers": {name: stdio(folder / name) for name in names}}, environ={}) as host:
        tools = [f"{name}/{tool}" for name in names for tool in ("who", "spawn")]
        print(*[(await host.call(ToolCall({}).to(tool))).text for tool in tools], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
