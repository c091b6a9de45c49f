"""As little as there can be in Python: an asyncio protocol, httptools for the HTTP, msgspec for the JSON.

No TLS, no timeouts, no limits, no errors worth the name: a number to measure against, not a client to use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.peers import chat


class Wire(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, parser: Callable[[Wire], Any]) -> None:
        self._parser = parser

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._response.feed_data(data)

    def ask(self, request: bytes, on_body: Callable[[bytes], None]) -> asyncio.Future[None]:
        """Send the bytes of a request; `on_body` gets the body in parts, the future ends with it."""
        self.on_body = on_body
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._response = self._parser(self)
        self.transport.write(request)
        return self._done

    def on_message_complete(self) -> None:
        self._done.set_result(None)


class Floor:
    """A stack of connections."""

    async def open(self, url: str) -> None:
        msgspec: Any = import_module("msgspec")
        self._parser = import_module("httptools").HttpResponseParser
        text: Any = msgspec.defstruct("Text", [("content", str, "")])
        choice: Any = msgspec.defstruct(
            "Choice", [("message", text | None, None), ("delta", text | None, None)]
        )
        answer = msgspec.defstruct("Answer", [("choices", list[choice])])
        self._encode, self._decode = msgspec.json.encode, msgspec.json.Decoder(answer).decode
        self._place = urlsplit(url)
        self._head = (
            f"POST {self._place.path}/chat/completions HTTP/1.1\r\nHost: {self._place.netloc}\r\n"
            "Authorization: Bearer none\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._idle: list[Wire] = []

    async def call(self) -> str:
        parts: list[bytes] = []
        await self._ask(chat(), parts.append)
        text: str = self._decode(b"".join(parts)).choices[0].message.content
        return text

    async def stream(self) -> str:
        texts: list[str] = []
        left = b""

        def on_body(data: bytes) -> None:
            nonlocal left
            *events, left = (left + data).split(b"\n\n")
            texts.extend(
                self._decode(event[6:]).choices[0].delta.content
                for event in events
                if event != b"data: [DONE]"
            )

        await self._ask(chat(stream=True), on_body)
        return "".join(texts)

    async def close(self) -> None:
        for wire in self._idle:
            wire.transport.close()
        await asyncio.sleep(0)

    async def _ask(self, body: dict[str, Any], on_body: Callable[[bytes], None]) -> None:
        wire = self._idle.pop() if self._idle else await self._connect()
        data = self._encode(body)
        await wire.ask(b"%s%d\r\n\r\n%s" % (self._head, len(data), data), on_body)
        self._idle.append(wire)

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        host, port = self._place.hostname or "", self._place.port or 80
        _, wire = await loop.create_connection(lambda: Wire(self._parser), host, port)
        return wire
