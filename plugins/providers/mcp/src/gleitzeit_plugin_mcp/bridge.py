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

#: Takes a notification's method and parameters; True where it meant something.
OnNotify: TypeAlias = Callable[[str, Mapping[str, Any]], bool]

#: Requests of a server that may wait for our answers; what it asks beyond gets none.
ASKED: Final = 256
CANCELLED: Final = "notifications/cancelled"
#: Frames that are taken without a turn of the event loop.
RUN: Final = 256
#: Cancellations that may wait for a server to read them.
WAITING: Final = 1024


class Inbox:
    """What comes in, as the SDK's `ReadStream`.

    Notifications go to `on_notify` in the order of the wire, and only cancellations to the SDK; without it
    they all go there.
    """

    def __init__(self, wire: Wire, on_notify: OnNotify | None, outbox: Outbox) -> None:
        self._frames = aiter(wire)
        self._on_notify = on_notify
        self._outbox = outbox
        #: When the last frame came, in `time.monotonic()` seconds.
        self.seen = time.monotonic()
        #: Frames that are no JSON-RPC, notifications that mean nothing here, and requests over the limit.
        self.dropped = 0
        self._run = 0
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
            self._run += 1
            if self._run >= RUN:  # frames of a batch come without a wait, and others have to live meanwhile
                self._run = 0
                await asyncio.sleep(0)
            message = frame.message
            method = message.get("method")
            told = self._on_notify is not None and isinstance(method, str) and message.get("id") is None
            if told and not self._passes(str(method), message):
                continue
            found = _incoming(message)
            if found is None or (isinstance(found, JSONRPCRequest) and not self._outbox.owe(found.id)):
                self.dropped += 1
                continue
            return SessionMessage(found)

    def _passes(self, method: str, message: Mapping[str, Any]) -> bool:
        """Take note of a notification; must the SDK see it, too? Its way with one costs it 100 µs."""
        params = message.get("params")
        given = params if isinstance(params, Mapping) else {}
        assert self._on_notify is not None, "it is asked only where there is one"
        try:
            known = self._on_notify(method, given)
        except Exception:  # noqa: BLE001  # whatever a server says, its session goes on
            known = False
        if not known and method == CANCELLED and type(given.get("requestId")) in (int, str):
            return True
        self.dropped += not known
        return False

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
        if isinstance(message, JSONRPCNotification) and message.method == CANCELLED:
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
        if type(id) in (int, str) and "method" not in message:
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
