"""Deploy servers by a plan, check each, and take all of them back where one does not hold.

    python deploying.py PLAN.json

The plan says for each server what its entry is, and what it must answer before it counts as deployed:

    {"servers": {"files": {"entry": {"command": …}, "instances": 2,
                           "check": {"tool": "list_files", "arguments": {}}}}}

It ends with 0 where all hold and with 1 where they were taken back. An application would go on with the
open host.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gleitzeit import GleitzeitError, Host, ToolCall


class NotDeployedError(Exception):
    """A server does not do what the plan asks of it."""


async def deploy(host: Host, name: str, plan: Mapping[str, Any]) -> str:
    """One server: started, checked, scaled; gives a line for the report."""
    await host.servers.deploy(name, plan["entry"])
    if not await host.servers.start(name):
        detail = next(each.detail for each in await host.servers.list() if each.name == name)
        raise NotDeployedError(f"it does not start: {detail}")
    said = "no check"
    if "check" in plan:
        check = plan["check"]
        reply = await host.call(ToolCall(check.get("arguments", {})).to(f"{name}/{check['tool']}"))
        if reply.is_error:
            raise NotDeployedError(f"{check['tool']}: {reply.text}")
        said = f"{check['tool']} answers"
    if plan.get("instances", 1) > 1:
        await host.servers.scale(name, plan["instances"])
    return f"{await host.servers.state(name)}, {said}, {plan.get('instances', 1)} instances"


async def take_back(host: Host) -> None:
    """Remove all servers, those that never started included."""
    for server in await host.servers.list():
        await host.servers.undeploy(server.name)
        print(f"{server.name}: taken back")


async def main(servers: Mapping[str, Any]) -> int:
    """Deploy all servers of the plan at once; 0 where all hold."""
    async with Host() as host:
        results = await asyncio.gather(
            *(deploy(host, name, plan) for name, plan in servers.items()), return_exceptions=True
        )
        held = True
        for name, result in zip(servers, results, strict=True):
            if isinstance(result, (NotDeployedError, GleitzeitError)):
                held = False
                print(f"{name}: failed: {result}")
            elif isinstance(result, BaseException):
                raise result
            else:
                print(f"{name}: {result}")
        if not held:
            await take_back(host)
        print(f"deployed: {len(await host.servers.list())} of {len(servers)}")
    return 0 if held else 1


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.exit(asyncio.run(main(plan["servers"])))
