"""Servers written by hand, request by request, and what a client says to them."""

import json
from collections.abc import Mapping
from typing import Any

from gleitzeit.kinds import Frame, Wire
from gleitzeit.testing.loopback import Call

MODERN = {"mcp-protocol-version": "2026-07-28"}
EVENTS = {"content-type": "text/event-stream"}


def ask(
    id: Any, method: str = "tools/call", headers: Mapping[str, str] | None = None, **params: Any
) -> Frame:
    return Frame(
        {"jsonrpc": "2.0", "id": id, "method": method, "params": params}, headers=dict(headers or {})
    )


def tell(method: str, headers: Mapping[str, str] | None = None, **params: Any) -> Frame:
    return Frame({"jsonrpc": "2.0", "method": method, "params": params}, headers=dict(headers or {}))


def result(id: Any, **values: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": values}


def event(message: Any, id: str | None = None, retry: int | None = None) -> bytes:
    lines = [f"id: {id}\n"] if id is not None else []
    lines += [f"retry: {retry}\n"] if retry is not None else []
    data = json.dumps(message) if message is not None else ""
    return f"{''.join(lines)}data: {data}\n\n".encode()


async def say(call: Call, value: Any, status: int = 200, **headers: str) -> None:
    """Answer with JSON."""
    fields = {"content-type": "application/json", **{key.replace("_", "-"): headers[key] for key in headers}}
    await call.send(status, fields, b"" if value is None else json.dumps(value).encode())


async def answer(call: Call) -> None:
    """Answer as a server with sessions does that offers no stream of its own."""
    message = call.json or {}
    if call.method != "POST":
        await say(call, None, 200 if call.method == "DELETE" else 405)
    elif message.get("method") == "initialize":
        info = {"name": "script", "version": "1"}
        done = result(
            message["id"], protocolVersion="2025-11-25", capabilities={"tools": {}}, serverInfo=info
        )
        await say(call, done, mcp_session_id="session-1")
    elif message.get("method") == "tools/list":
        tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
        await say(call, result(message["id"], tools=tools))
    elif "id" not in message:
        await say(call, None, 202)
    else:
        await say(call, result(message["id"], content=[{"type": "text", "text": "done"}]))


async def begin(wire: Wire) -> None:
    """The handshake."""
    await wire.send(ask(0, "initialize"))
    assert (await heard(wire))["id"] == 0
    await wire.send(tell("notifications/initialized"))


async def heard(wire: Wire) -> Mapping[str, Any]:
    """The next message."""
    return (await anext(aiter(wire))).message
