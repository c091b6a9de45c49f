"""The contract's peer as ASGI applications, one a dialect, and a server that says nothing at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gleitzeit.testing.peer import answers

STREAM = [(b"content-type", b"text/event-stream")]


async def body_of(receive: Any) -> dict[str, Any]:
    text = b""
    while True:
        event = await receive()
        text += event.get("body", b"")
        if not event.get("more_body"):
            return json.loads(text) if text else {}


async def whole(send: Any, status: int, value: Any = None) -> None:
    body = b"" if value is None else json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def event(send: Any, data: str, name: str = "message") -> None:
    text = f"event: {name}\ndata: {data}\n\n".encode()
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def until_left(queue: asyncio.Queue[Any], receive: Any) -> AsyncIterator[Any]:
    """What comes through the queue, until the client has gone."""
    left, coming = asyncio.ensure_future(receive()), asyncio.ensure_future(queue.get())
    try:
        while True:
            await asyncio.wait({left, coming}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            yield coming.result()
            coming = asyncio.ensure_future(queue.get())
    finally:
        left.cancel()
        coming.cancel()


class Streamable:
    """JSON where one answer is all there is to say, else a stream of events."""

    def __init__(self) -> None:
        self.open: dict[Any, asyncio.Queue[dict[str, Any]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await whole(send, 405)
            return
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        message = await body_of(receive)
        said = answers(message, headers)
        if message.get("method") is None:
            for each in said:
                self.open[each["id"]].put_nowait(each)
        if "id" not in message or message.get("method") is None:
            await whole(send, 202)
        elif len(said) == 1 and "method" not in said[0]:
            await whole(send, 200, said[0])
        else:
            await self.stream(message["id"], said, receive, send)

    async def stream(self, id: Any, said: list[dict[str, Any]], receive: Any, send: Any) -> None:
        queue = self.open[id] = asyncio.Queue()
        for each in said:
            queue.put_nowait(each)
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        try:
            async for message in until_left(queue, receive):
                await event(send, json.dumps(message))
                if "method" not in message:
                    await send({"type": "http.response.body", "body": b""})
                    return
        finally:
            del self.open[id]


class Sse:
    """One stream for all that the server says, and an address for what the client does."""

    def __init__(self) -> None:
        self.clients: dict[str, asyncio.Queue[dict[str, Any]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await self.stream(receive, send)
        elif scope["path"] == "/sse":
            await whole(send, 405)
        else:
            headers = {key.decode(): value.decode() for key, value in scope["headers"]}
            queue = self.clients[scope["query_string"].decode()]
            for each in answers(await body_of(receive), headers):
                queue.put_nowait(each)
            await whole(send, 202)

    async def stream(self, receive: Any, send: Any) -> None:
        name = f"session={len(self.clients)}"
        queue = self.clients[name] = asyncio.Queue()
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        await event(send, f"/messages?{name}", "endpoint")
        await receive()
        async for message in until_left(queue, receive):
            await event(send, json.dumps(message))


@asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """The address of a server that lets clients in and reads nothing."""
    writers = []

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writers.append(writer)

    server = await asyncio.start_server(let_in, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
