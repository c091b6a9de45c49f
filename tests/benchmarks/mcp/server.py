"""A server of the official SDK with one tool, which gives back its text.

    python server.py stdio
    python server.py http     prints its port as a JSON line, and serves until its standard input ends

Imports nothing of these benchmarks: gateways start it from anywhere.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    """The one tool."""
    tool = types.Tool(name="echo", description="Gives back its text.", input_schema=SCHEMA)
    return types.ListToolsResult(tools=[tool])


async def call_tool(context: Any, params: Any) -> types.CallToolResult:
    """The text that came."""
    if params.name != "echo":
        raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}")
    block = types.TextContent(type="text", text=params.arguments["text"])
    return types.CallToolResult(content=[block])


def make() -> Server[Any]:
    """The server, with nothing but the SDK's defaults."""
    return Server("bench", on_list_tools=list_tools, on_call_tool=call_tool)


async def stdio() -> None:
    """Serve one client over the standard streams."""
    server = make()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def http() -> None:
    """Serve streamable HTTP on a free port of the loopback until standard input ends."""
    import uvicorn

    # Only of a socket that says that it is TCP does asyncio switch Nagle's delays off.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    settings = uvicorn.Config(
        make().streamable_http_app(), log_level="error", timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(http() if sys.argv[1] == "http" else stdio())
