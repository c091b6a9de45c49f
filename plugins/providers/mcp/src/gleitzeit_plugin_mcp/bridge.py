"""Carries frames of our wires to the streams that the SDK's dispatcher reads and writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import anyio
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from pydantic import ValidationError

from gleitzeit.errors import GleitzeitError
from gleitzeit.kinds import Frame, Wire
from gleitzeit_plugin_mcp.faults import MALFORMED

__all__ = ["Inbox", "Outbox"]

#: A notification's method and parameters; True where it needs no other attention.
OnNotify: TypeAlias = Callable[[str, Mapping[str, Any]], bool]

#: Requests of a server that may wait for our answers; what it asks beyond gets none.
ASKED: Final = 256
#: Cancellations that may wait for a server to read them.
WAITING: Final = 1024


class Inbox:
    """What comes in, as the SDK's `ReadStream`; notifications pass `on_notify` in the order of the wire."""

    def __init__(self, wire: Wire, on_notify: OnNotify, outbox: Outbox) -> None:
        self._frames = aiter(wire)
        self._on_notify = on_notify
        self._outbox = outbox
        #: When the last frame came, in `time.monotonic()` seconds.
        self.seen = time.monotonic()
        #: Frames that are no JSON-RPC, and requests over the limit.
        self.dropped = 0
        #: Will nothing more come?
        self.ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while True:
            try:
                frame = await anext(self._frames)
            except BaseException:
                self.ended = True
                raise
            self.seen = time.monotonic()
            message = frame.message
            method = message.get("method")
            if isinstance(method, str) and "id" not in message:
                params = message.get("params")
                if self._on_notify(method, params if isinstance(params, Mapping) else {}):
                    continue
            found = _incoming(message)
            if found is None or (isinstance(found, JSONRPCRequest) and not self._outbox.owe(found.id)):
                self.dropped += 1
                continue
            return SessionMessage(found)

    async def receive(self) -> SessionMessage | Exception:
        """The next message; raises `anyio.EndOfStream` at the end."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def aclose(self) -> None:
        """Nothing to do: the wire belongs to its own context."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Outbox:
    """What goes out, as the SDK's `WriteStream`.

    A request that cannot be written raises our own error, which knows whether it was sent. A
    cancellation never waits: it must not hold up the caller who gave up.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._owed: set[int | str] = set()
        self._late: set[asyncio.Task[None]] = set()

    def owe(self, id: int | str) -> bool:
        """Note a request that wants an answer; False if too many do already."""
        if len(self._owed) >= ASKED:
            return False
        self._owed.add(id)
        return True

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message."""
        message, metadata = item.message, item.metadata
        headers = metadata.headers if isinstance(metadata, ClientMessageMetadata) else None
        frame = Frame(_outgoing(message), headers=headers or {})
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            if len(self._late) < WAITING:
                task = asyncio.create_task(self._quietly(frame), name="mcp: cancel")
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            return
        try:
            await self._wire.send(frame)
        except GleitzeitError as error:
            if isinstance(message, JSONRPCRequest):
                raise
            raise anyio.BrokenResourceError from error
        finally:
            if isinstance(message, (JSONRPCResponse, JSONRPCError)) and message.id is not None:
                self._owed.discard(message.id)

    async def _quietly(self, frame: Frame) -> None:
        try:
            await self._wire.send(frame)
        except GleitzeitError:
            pass  # whoever is gone needs no cancellation

    async def aclose(self) -> None:
        """Give up what still waits; the wire belongs to its own context."""
        for task in tuple(self._late):
            task.cancel()
        if self._late:
            await asyncio.wait(self._late)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _incoming(message: Mapping[str, Any]) -> JSONRPCMessage | None:
    """The SDK's shape of a message, lenient where servers are sloppy; None where it is nothing at all."""
    id = message.get("id")
    try:
        if "method" in message:
            params = message.get("params")
            if id is None:
                return JSONRPCNotification(jsonrpc="2.0", method=message["method"], params=params)
            return JSONRPCRequest(jsonrpc="2.0", id=id, method=message["method"], params=params)
        if message.get("error") is None:
            return JSONRPCResponse.model_validate({"jsonrpc": "2.0", "id": id, "result": message["result"]})
        return JSONRPCError(jsonrpc="2.0", id=id, error=message["error"])
    except (ValidationError, KeyError):
        # Whoever waits for this answer must not wait for ever.
        if isinstance(id, (int, str)) and "method" not in message:
            error = ErrorData(code=INTERNAL_ERROR, message="malformed answer", data=MALFORMED)
            return JSONRPCError(jsonrpc="2.0", id=id, error=error)
        return None


def _outgoing(message: JSONRPCMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"jsonrpc": "2.0"}
    if not isinstance(message, JSONRPCNotification):
        body["id"] = message.id
    if isinstance(message, (JSONRPCRequest, JSONRPCNotification)):
        body["method"] = message.method
        if message.params is not None:
            body["params"] = message.params
    elif isinstance(message, JSONRPCResponse):
        body["result"] = message.result
    else:
        body["error"] = message.error.model_dump(mode="json", exclude_none=True)
    return body
