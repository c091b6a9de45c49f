"""An MCP server over HTTP or gRPC that goes wrong on demand, as a process of its own: prints its address.

Options, as JSON in the first argument: `wire` (http, sse or grpc), `port` (0: any), `log` (a file that gets
the name and the text of each tool call), `status` (of every answer over HTTP), `location` (where to send its
clients). A session belongs to the process that began it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gleitzeit.testing.loopback import Call, LoopbackServer

__all__ = ["main"]

OPTIONS: Final[dict[str, Any]] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
#: What every result of the newer era must say of itself; the older one lets it pass.
MARKS: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
EVENTS: Final = {"content-type": "text/event-stream"}
SESSION: Final = str(os.getpid())
DROP: Final = 0.02  # seconds from one byte to the next
NEVER: Final = 1_000_000  # bytes that an answer promises and does not bring


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """What a good server says; None: nothing, at least not now."""
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if id is None or method is None:
        return None
    result: dict[str, Any] = {}
    if method == "server/discover":
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    elif method == "initialize":
        server = {"name": "peer", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server}
    elif method == "tools/list":
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", *FAULTS)]}
    elif method == "tools/call":
        with Path(OPTIONS["log"]).open("a", encoding="utf-8") as log:
            log.write(json.dumps([params["name"], params.get("arguments", {}).get("text")]) + "\n")
        if params["name"] == "gate":
            return None
        given = params.get("arguments", {})
        said = "x" * given["size"] if "size" in given else given.get("text", "")
        result = {"content": [{"type": "text", "text": said}]}
    return {"jsonrpc": "2.0", "id": id, "result": {**MARKS, **result}}


def event(message: Any, id: str = "") -> bytes:
    """A message on a stream of events, with an id where one can come back to it."""
    return (f"id: {id}\nretry: 1\n" if id else "").encode() + f"data: {json.dumps(message)}\n\n".encode()


NOTE: Final = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}


async def gate(call: Call, said: Any) -> None:
    await call.stall()


async def cut(call: Call, said: Any) -> None:
    await call.start(200, {"content-type": "application/json", "content-length": str(NEVER)})
    await call.write(json.dumps(said).encode()[:20])
    call.close()


async def drip(call: Call, said: Any) -> None:
    await call.start(200, {"content-type": "application/json", "content-length": str(NEVER)})
    while True:
        await call.write(b" ")
        await asyncio.sleep(DROP)


async def broken(call: Call, said: Any) -> None:
    await call.start(200, EVENTS)
    await call.write(event(NOTE))
    call.reset()


async def resumed(call: Call, said: Any) -> None:
    await call.start(200, EVENTS)
    await call.write(event(NOTE, f"after-{said['id']}"))
    call.reset()


async def endless(call: Call, said: Any) -> None:
    await call.start(200, {"content-type": "application/json"})
    while True:
        await call.write(b" " * 65536)


async def endless_event(call: Call, said: Any) -> None:
    await call.start(200, EVENTS)
    await call.write(b"data: ")
    while True:
        await call.write(b"x" * 65536)


#: Tool -> how its answer goes wrong.
FAULTS: Final[dict[str, Callable[[Call, Any], Awaitable[None]]]] = {
    "gate": gate,
    "cut": cut,
    "drip": drip,
    "broken": broken,
    "endless": endless,
    "endless_event": endless_event,
    "resumed": resumed,
}


async def http(call: Call) -> None:
    """One request."""
    message = call.json or {}
    session = call.headers.get("mcp-session-id", SESSION)
    if "status" in OPTIONS:
        headers = {"location": OPTIONS["location"]} if "location" in OPTIONS else {}
        await call.send(OPTIONS["status"], headers, b"")
    elif session != SESSION:
        await call.send(404, {}, b"")
    elif last := call.headers.get("last-event-id"):
        id = json.loads(last.removeprefix("after-"))
        await call.start(200, EVENTS)
        await call.write(event({"jsonrpc": "2.0", "id": id, "result": {**MARKS, "content": []}}, "last"))
        await call.end()
    elif call.method != "POST":
        await call.send(200 if call.method == "DELETE" else 405, {}, b"")
    elif "id" not in message:
        await call.send(202, {}, b"")
    else:
        said = answer(message)
        name = (message.get("params") or {}).get("name")
        if message["method"] == "tools/call" and name in FAULTS:
            await FAULTS[name](call, said)
            return
        begun = {"mcp-session-id": SESSION} if message["method"] == "initialize" else {}
        await call.send(200, {"content-type": "application/json", **begun}, json.dumps(said).encode())


streams: dict[str, asyncio.Queue[dict[str, Any]]] = {}


async def sse(call: Call) -> None:
    """One request of the older dialect: a stream for all that is said, and an address to say things to."""
    if call.method == "GET":
        name = f"{SESSION}-{len(streams)}"
        queue = streams[name] = asyncio.Queue()
        await call.start(200, EVENTS)
        await call.write(f"event: endpoint\ndata: /messages?{name}\n\n".encode())
        while True:
            await call.write(event(await queue.get()))
    elif call.query not in streams:
        await call.send(404, {}, b"")
    else:
        if (said := answer(call.json or {})) is not None:
            streams[call.query].put_nowait(said)
        await call.send(202, {}, b"")


async def stream(wire: Any) -> None:
    """One session over gRPC."""
    from gleitzeit.kinds import Frame

    async for frame in wire:
        if (said := answer(dict(frame.message))) is not None:
            await wire.send(Frame(said))


async def main() -> None:
    """Serve until killed."""
    port = OPTIONS.get("port", 0)
    if OPTIONS["wire"] != "grpc":
        async with LoopbackServer(sse if OPTIONS["wire"] == "sse" else http, port=port) as server:
            print(f"{server.address}/mcp", flush=True)
            await asyncio.get_running_loop().create_future()
    from gleitzeit_plugin_mcp_grpc import GrpcTransport

    from gleitzeit.testing import FakeContext

    door = GrpcTransport(None, FakeContext("grpc"))
    options = {"max_message_bytes": 2**28}  # more than its clients take
    async with door.listen(f"grpc://127.0.0.1:{port}", stream, options) as address:
        print(address, flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
