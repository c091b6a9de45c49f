"""The MCP server of the plugin's own tests over its standard streams, and what only these faults need.

More options: `needs` (a file without which it ends at its start). More tools: `endless` writes a line that
never ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import plugins.providers.mcp.tests.server as server


def call(id: Any, params: dict[str, Any]) -> None:
    """Answer a tool as the server does, or go wrong as only this one can."""
    if params["name"] == "endless":
        while True:
            sys.stdout.write("x" * 65536)
    usual(id, params)


usual, server.call = server.call, call
server.TOOLS["endless"] = server.schema()

if __name__ == "__main__":
    needed = server.OPTIONS.get("needs")
    if needed is not None and not Path(needed).exists():
        print(f"cannot read {needed}", file=sys.stderr)
        sys.exit(2)
    server.main()
