"""FastMCP's proxy before a server: `fastmcp_proxy.py PORT URL` or `fastmcp_proxy.py PORT COMMAND ARGUMENT…`.

Runs in the environment `fastmcp`.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main(port: str, target: str, *arguments: str) -> None:
    """Serve streamable HTTP until it is ended."""
    create = import_module("fastmcp.server").create_proxy
    if arguments:
        transport = import_module("fastmcp.client.transports").StdioTransport
        proxy = create(transport(target, list(arguments)))
    else:
        proxy = create(target)
    proxy.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False, log_level="ERROR")


if __name__ == "__main__":
    main(*sys.argv[1:])
