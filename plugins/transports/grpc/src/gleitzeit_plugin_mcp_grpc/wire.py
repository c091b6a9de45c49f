"""One bidirectional stream of JSON-RPC messages; both sides use it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from gleitzeit.errors import GleitzeitError, InvalidRequestError, ResetError
from gleitzeit.kinds import Frame
from gleitzeit.wire.jsonrpc import dump, messages
from gleitzeit_plugin_mcp_grpc.codec import pack, unpack

__all__ = ["Call", "GrpcWire"]

#: Frames read ahead of whoever iterates; then the flow control of HTTP/2 holds the other side back.
AHEAD: Final = 64


class Call(Protocol):
    """What both sides of a gRPC stream can do; reading gives something that is no bytes at the end."""

    async def read(self) -> Any: ...

    async def write(self, request: Any, /) -> None: ...


class GrpcWire:
    """See `gleitzeit.kinds.Wire`. `reason` tells why the stream ended, once it has.

    gRPC ends a stream when one of its reads or writes is cancelled, and allows one of each at a time:
    so one task reads and one writes, and cancelling a sender or a reader of ours touches neither.
    """

    def __init__(
        self, name: str, call: Call, reason: Callable[[], Awaitable[GleitzeitError]], *, limit: int
    ) -> None:
        self._name = name
        self._limit = limit
        self._call = call
        self._reason = reason
        self._lost = asyncio.Event()
        self._error: GleitzeitError | None = None
        self._closing = False
        self._ready: deque[Frame] = deque()
        self._more = asyncio.Event()  # frames are ready, or none will come
        self._room = asyncio.Event()
        self._room.set()
        self._unsent: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._wanted = asyncio.Event()  # something is to be written
        self._counts = {"received": 0, "sent": 0, "junk": 0}
        self._reader = asyncio.create_task(self._read(), name=f"grpc: read from {name}")
        self._writer = asyncio.create_task(self._write(), name=f"grpc: write to {name}")

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""
        return self._lost

    @property
    def error(self) -> GleitzeitError | None:
        """Why the stream ended; None while it stands and after a wanted close."""
        return self._error

    async def send(self, frame: Frame) -> None:
        """Write a frame; waits while the other side does not read. Its headers have no place on this wire.

        Cancelling takes back what has not been given to gRPC yet.
        """
        data = pack(dump(frame.message, self._name))
        if len(data) > self._limit:  # gRPC would end the stream over it
            raise InvalidRequestError(
                f"a message to {self._name!r} has {len(data)} bytes, of {self._limit} allowed",
                hint="raise `max_message_bytes` of the gRPC transport on both sides",
                provider=self._name,
                sent=False,
            )
        if self._lost.is_set():
            raise self._again(sent=False)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsent.append((data, done))
        self._wanted.set()
        await done

    def __aiter__(self) -> GrpcWire:
        return self

    async def __anext__(self) -> Frame:
        while not self._ready:
            if self._lost.is_set():
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        frame = self._ready.popleft()
        if len(self._ready) < AHEAD:
            self._room.set()
        return frame

    def diagnostics(self) -> Mapping[str, Any]:
        """Counts of frames, and of messages that were none."""
        return dict(self._counts)

    async def close(self) -> None:
        """End the stream's tasks; whoever made the call ends that."""
        self._closing = True
        self._lose(ResetError("closed", provider=self._name))
        tasks = (self._reader, self._writer)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _read(self) -> None:
        try:
            while isinstance(data := await self._call.read(), bytes):
                self._take(data)
                if len(self._ready) >= AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except asyncio.CancelledError:
            if self._cancelled():
                raise
        except Exception:  # noqa: BLE001, S110 - gRPC's errors say less than the status of the call
            pass
        await self._end()

    def _take(self, data: bytes) -> None:
        try:
            found = messages(unpack(data))
        except ValueError:
            found = None
        if found is None:
            self._counts["junk"] += 1
            return
        self._counts["received"] += len(found)
        self._ready.extend(map(Frame, found))
        self._more.set()

    async def _write(self) -> None:
        while True:
            while not self._unsent:
                self._wanted.clear()
                await self._wanted.wait()
            data, done = self._unsent.popleft()
            if done.done():  # its sender was cancelled
                continue
            try:
                await self._call.write(data)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and self._cancelled():
                    self._fail(done, sent=None)
                    raise
                await self._end()
                self._fail(done, sent=None)
                return
            self._counts["sent"] += 1
            if not done.done():
                done.set_result(None)

    def _cancelled(self) -> bool:
        """Was the task cancelled, and not just the call below it?"""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def _end(self) -> None:
        if not self._lost.is_set():
            self._lose(await self._reason())

    def _lose(self, error: GleitzeitError) -> None:
        if self._lost.is_set():
            return
        self._error = None if self._closing else error
        self._lost.set()
        self._more.set()
        self._room.set()
        while self._unsent:
            self._fail(self._unsent.popleft()[1], sent=False)

    def _fail(self, done: asyncio.Future[None], *, sent: bool | None) -> None:
        if not done.done():
            done.set_exception(self._again(sent=sent))
            done.exception()  # a sender that is gone does not ask for it

    def _again(self, *, sent: bool | None) -> GleitzeitError:
        why = self._error
        if why is None:
            what = f"the connection to {self._name!r} is closed"
            return ResetError(what, provider=self._name, sent=sent)
        return type(why)(why.message, hint=why.hint, provider=self._name, sent=sent)
