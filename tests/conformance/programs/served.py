"""A server made with a framework of others: `python served.py KIND stdio|http|sse [PORT]`.

KIND is `fastmcp`, `fastmcp2`, `sdk` or `old`. It runs in the environment of that framework, where nothing of
ours is.
"""

import asyncio
import importlib
import itertools
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

QUESTION = "What is your name?"


class Person(BaseModel):
    """The form that a person fills in."""

    name: str


def make(kind: str, port: int) -> tuple[Any, Any, Callable[[str], None]]:
    """The server, the class of its context, and how it is run over a wire."""
    names = {"http": "streamable-http"}
    where = {"host": "127.0.0.1", "port": port}
    if kind.startswith("fastmcp"):
        server = importlib.import_module("fastmcp").FastMCP("served")
        more: dict[str, Any] = {"show_banner": False}
        return (
            server,
            importlib.import_module("fastmcp").Context,
            lambda wire: server.run(wire, **more, **({} if wire == "stdio" else where)),
        )
    if kind == "sdk":
        module = importlib.import_module("mcp.server.mcpserver")
        server = module.MCPServer("served")
        return (
            server,
            module.Context,
            lambda wire: server.run(names.get(wire, wire), **({} if wire == "stdio" else where)),
        )
    module = importlib.import_module("mcp.server.fastmcp")
    server = module.FastMCP("served", **where)
    return server, module.Context, lambda wire: server.run(names.get(wire, wire))


def modern(ctx: Any) -> bool:
    """Whether the client speaks the era in which servers send no requests."""
    said = getattr(ctx, "protocol_version", None)
    if said is None:
        said = getattr(getattr(ctx, "session", None), "protocol_version", None)
    return bool(said and said >= "2026-07-28")


def asking(ctx: Any, method: str, params: dict[str, Any]) -> Any:
    """The client's answer, or the result that asks for it."""
    types = importlib.import_module("mcp_types")
    given = (ctx.input_responses or {}).get("answer")
    if given is not None:
        return given
    return types.InputRequiredResult.model_validate(
        {"inputRequests": {"answer": {"method": method, "params": params}}, "requestState": "asked"}
    )


async def changed(ctx: Any) -> None:
    """Tell the client that the list of tools is another one, in the way of its era."""
    if modern(ctx) and hasattr(ctx, "notify_tools_changed"):
        await ctx.notify_tools_changed()
    elif not modern(ctx):
        await ctx.session.send_tool_list_changed()


def fill(server: Any, context: Any, kind: str) -> None:
    """Give the server its tools, resources and prompts."""
    old = kind in ("old", "fastmcp2")

    def tool(work: Callable[..., Any]) -> None:
        if "ctx" in work.__annotations__:
            work.__annotations__["ctx"] = context
        if work.__name__.startswith("ask_") and not old:
            work.__annotations__["return"] = str | importlib.import_module("mcp_types").InputRequiredResult
        server.tool()(work)

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def fail() -> str:
        """Always fail."""
        raise ValueError("it failed as it should")

    async def count(to: int, ctx: Any) -> str:
        """Count, and say how far it has come."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to)
        return f"counted to {to}"

    async def ask_person(ctx: Any) -> Any:
        """Ask a person for a name."""
        if modern(ctx):
            schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
            form = {"mode": "form", "message": QUESTION, "requestedSchema": schema}
            found = asking(ctx, "elicitation/create", form)
            return found if not hasattr(found, "content") else "Hello, " + found.content["name"]
        return "Hello, " + (await ctx.elicit(QUESTION, Person)).data.name

    async def ask_model(ctx: Any) -> Any:
        """Ask the client's model to repeat something."""
        said = {"role": "user", "content": {"type": "text", "text": "forty-two"}}
        if modern(ctx):
            found = asking(ctx, "sampling/createMessage", {"messages": [said], "maxTokens": 100})
            return found if not hasattr(found, "content") else "It said " + found.content.text
        types = importlib.import_module("mcp.types")
        message = types.SamplingMessage.model_validate(said)
        return "It said " + (await ctx.session.create_message([message], max_tokens=100)).content.text

    stopped: list[str] = []

    async def wait(ctx: Any) -> str:
        """Say that it has begun, and wait to be cancelled."""
        await ctx.report_progress(1, 2)
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            stopped.append("wait")
            raise
        return "nobody cancelled it"

    def cancelled() -> int:
        """How many calls of `wait` were cancelled."""
        return len(stopped)

    more = itertools.count(1)

    async def grow(ctx: Any) -> str:
        """Offer a tool more, and say so to the client."""

        def grown() -> str:
            return "it grew"

        server.tool(name=f"grown_{next(more)}")(grown)
        await changed(ctx)
        return "there is more"

    for work in (add, fail, count, ask_person, ask_model, wait, cancelled, grow):
        tool(work)

    @server.resource("note://one")
    def one() -> str:
        return "the first note"

    @server.resource("note://by/{name}")
    def by(name: str) -> str:
        return f"a note by {name}"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Greet {name}."


def main(kind: str, wire: str, port: str = "0") -> None:
    server, context, run = make(kind, int(port))
    fill(server, context, kind)
    run(wire)


if __name__ == "__main__":
    main(*sys.argv[1:])
