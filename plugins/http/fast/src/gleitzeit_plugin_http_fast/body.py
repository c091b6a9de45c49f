"""The answer to one request: its head as soon as it is there, its body as it arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from gleitzeit_plugin_http_fast.connection import Connection

__all__ = ["Answer", "wait"]

#: Unread bytes of one answer at which its connection is not read any more, and at which it is again.
_HIGH: Final = 128 * 1024
_LOW: Final = 32 * 1024


class Answer(httpx2.AsyncByteStream):
    """The body is read once, by iterating; `aclose` before its end closes the connection.

    The connection is free for others as soon as the last byte has arrived, read or not.
    """

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop, method: bytes) -> None:
        self.method = method
        self.status = 0
        self.reason = b""
        self.version = b"HTTP/1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        #: Done when the head is there; raises what kept it from coming.
        self.head: asyncio.Future[None] = loop.create_future()
        #: Seconds between two pieces of the body; None without bound.
        self.timeout: float | None = None
        #: The answer is complete, or nothing more of it will come.
        self.over = False
        self._error: Exception | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._full = False
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._connection: Connection | None = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._chunks
        try:
            while True:
                while chunks:
                    chunk = chunks.popleft()
                    self._size -= len(chunk)
                    if self._full and self._size <= _LOW:
                        self._resume()
                    yield chunk
                if self.over:
                    break
                self._waiter = self._loop.create_future()
                try:
                    await wait(self._waiter, self.timeout, self._loop.call_later)
                finally:
                    self._waiter = None
        except TimeoutError:
            self.close()
            raise httpx2.ReadTimeout("no byte came in time") from None
        except BaseException:
            self.close()
            raise
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Idempotent. What has not arrived by now never will."""
        self.close()

    def close(self) -> None:
        """The same, at once."""
        self._chunks.clear()
        if not self.over and self._connection is not None:
            self._connection.abort(httpx2.ReadError("the response was closed"))

    def add(self, chunk: bytes) -> None:
        """More of the body has arrived."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HIGH and not self._full and self._connection is not None:
            self._full = True
            self._connection.pause_reading()
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come; the reader gets what is here, then the error if there is one."""
        if self.over:
            return
        self.over, self._error, self._connection = True, error, None
        if not self.head.done():
            self.head.set_exception(error or httpx2.RemoteProtocolError("no answer"))
            self.head.exception()  # whoever waited may have gone
        self._wake()

    @property
    def paused(self) -> bool:
        """Is its connection not being read, as too much of this answer is unread?"""
        return self._full

    def _resume(self) -> None:
        self._full = False
        if self._connection is not None:
            self._connection.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def wait(
    future: asyncio.Future[None],
    seconds: float | None,
    call_later: Callable[..., asyncio.TimerHandle],
) -> None:
    """Wait for the future, `TimeoutError` after so many seconds; cheaper than `asyncio.timeout`."""
    if seconds is None:
        await future
        return
    timer = call_later(seconds, _expire, future)
    try:
        await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
