"""Manage MCP servers in a synchronous program: deploy, look, call, scale, stop, start and remove.

python managing.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from gleitzeit import BlockingHost, GleitzeitError, ToolCall

SERVERS = Path(__file__).with_name("servers")


def main(folder: str) -> None:
    """Manage a server for the files of a folder."""
    entry = {
        "command": sys.executable,
        "args": [str(SERVERS / "files.py"), folder, "--read-only"],
        "sandbox": "none",
        "timeout": 120,
        "kind": "process",
        "description": f"The files of {folder}.",
        "tags": ["demo"],
        "priority": 10,
    }
    with BlockingHost() as host:
        host.servers.deploy("files", entry)
        print("deployed:", host.servers.start("files"))

        for tool in host.tools():
            if tool.instance == "files":
                print(f"tool: {tool.name}: {tool.tool.description}")

        reply = host.call(ToolCall({"pattern": "*"}).to("files/list_files"))
        print("files:", ", ".join(row["name"] for row in reply.data["result"]))

        asked = {"method": "tools/call", "params": {"name": "read_file", "arguments": {"name": "../secret"}}}
        print("refused:", host.servers.execute("files", asked).data["content"][0]["text"])

        host.servers.scale("files", 2)
        [server] = host.servers.list()
        print("scaled:", server.instances, "instances,", server.health)

        host.servers.stop("files")
        print("stopped:", host.servers.state("files"))
        print("started again:", host.servers.start("files"))

        status = host.servers.status()
        print(f"healthy: {status.healthy} of {status.total}")

        host.servers.undeploy("files")
        try:
            host.servers.state("files")
        except GleitzeitError as error:
            print("removed:", error.message)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    main(sys.argv[1])
