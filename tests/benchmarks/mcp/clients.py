"""The two clients that are compared: the official SDK alone, and a host.

Each opens a session to one server, given as an entry of a host (`command` and `args`, or `url`), and
gives a function that calls its tool once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

from tests.benchmarks.mcp import TEXT, TOOL

#: Calls the tool and gives its text.
Ask: TypeAlias = Callable[[], Awaitable[str]]
#: Opens a session of an era; gives how to call, and the revision that was agreed on.
Open: TypeAlias = Callable[[Mapping[str, Any], str], AbstractAsyncContextManager[tuple[Ask, str]]]


@asynccontextmanager
async def direct(entry: Mapping[str, Any], era: str) -> AsyncIterator[tuple[Ask, str]]:
    """The SDK's client; `auto` takes the newest revision that the server speaks."""
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    tool = entry.get("tool", TOOL)
    server: Any = entry.get("url")
    if server is None:
        server = stdio_client(StdioServerParameters(command=entry["command"], args=entry["args"]))
    async with Client(server, mode="legacy" if era == "legacy" else "auto") as client:

        async def ask() -> str:
            block: Any = (await client.call_tool(tool, {"text": TEXT})).content[0]
            text: str = block.text
            return text

        yield ask, str(client.protocol_version)


@asynccontextmanager
async def hosted(entry: Mapping[str, Any], era: str) -> AsyncIterator[tuple[Ask, str]]:
    """A host with that server, and all that it does for every call."""
    from gleitzeit import Host, ToolCall

    settings = {key: value for key, value in entry.items() if key != "tool"}
    if "command" in settings:
        settings["sandbox"] = "none"
    config = {"servers": {"bench": {**settings, "mode": era}}}
    target = f"bench/{entry.get('tool', TOOL)}"
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host(config, environ={}))

        async def ask() -> str:
            return (await host.call(ToolCall({"text": TEXT}).to(target))).text

        yield ask, era


CLIENTS: dict[str, Open] = {"direct": direct, "host": hosted}
