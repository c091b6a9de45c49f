"""Manage several MCP servers at once in an asynchronous program.

python managing_async.py FOLDER TABLE.csv
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from gleitzeit import Host, ToolCall

SERVERS = Path(__file__).with_name("servers")


def entry(script: str, *args: str) -> dict[str, Any]:
    """A server of the folder `servers`, as a table of `[servers]` would have it."""
    command = [sys.executable, str(SERVERS / script), *args]
    return {"command": command, "sandbox": "none", "timeout": 120}


async def main(folder: str, table: str) -> None:
    """Deploy two servers at the same time, ask both at the same time, watch one that cannot start."""
    name = Path(table).stem
    async with Host() as host:
        await asyncio.gather(
            host.servers.deploy("files", entry("files.py", folder)),
            host.servers.deploy("tables", entry("tables.py", table)),
            host.servers.deploy("broken", {"command": "no-such-program", "sandbox": "none"}),
        )
        names = ("files", "tables", "broken")
        stands = await asyncio.gather(*(host.servers.start(each) for each in names))
        for each, stood in zip(names, stands, strict=True):
            print(f"{each}: {'ready' if stood else 'does not start'}")

        tables, files = await asyncio.gather(
            host.call(ToolCall({}).to("tables/list_tables")),
            host.call(ToolCall({"pattern": "*.csv"}).to("files/list_files")),
        )
        print("columns:", ", ".join(tables.data["result"][0]["columns"]))
        print("files:", len(files.data["result"]))

        column = tables.data["result"][0]["columns"][-1]
        asked = ToolCall({"table": name, "column": column}).to("tables/describe_column")
        print(f"mean of {column}:", (await host.call(asked)).data["mean"])

        status = await host.servers.status()
        print(f"healthy: {status.healthy}, unhealthy: {status.unhealthy}, of {status.total}")
        for server in await host.servers.list():
            if server.health == "error":
                print(f"{server.name}: {server.detail}")

        calls = host.snapshot().total_calls()
        print(f"calls: {calls.count}, failed: {calls.failed}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir() or not Path(sys.argv[2]).is_file():
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2]))
