"""Reads an answer: whole, or as server-sent events."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx2

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.wire.client import map_http_error
from gleitzeit.wire.exchange import shut
from gleitzeit.wire.inflate import chunks_of
from gleitzeit.wire.sse import ServerEvent, SSEDecoder

__all__ = ["Events", "media", "whole"]

#: Seconds to wait for the HTTP end of an answer that is complete, so that its connection can be used again.
DRAIN: Final = 0.1


def media(response: httpx2.Response) -> str:
    """The media type of an answer, without parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def whole(response: httpx2.Response, name: str, limit: int, *, cut: bool = False) -> bytes:
    """The body of at most `limit` bytes; a longer one is cut, or raises `MalformedAnswerError`.

    Raises the error that a broken connection means. The answer is closed.
    """
    pieces, size = [], 0
    chunks = chunks_of(response)
    try:
        async for piece in chunks:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                if cut:
                    break
                raise too_long(name, limit)
    except (httpx2.HTTPError, OSError) as error:
        raise map_http_error(error, provider=name, url=response.request.url) from None
    finally:
        await shut(response, chunks)
    return b"".join(pieces)[:limit]


def too_long(name: str, limit: int) -> GleitzeitError:
    """The error for a message over the limit."""
    return MalformedAnswerError(
        f"server {name!r} sent a message of more than {limit} bytes",
        hint="raise `max_message_bytes` in the options of the server if it needs that",
        provider=name,
        sent=True,
        retryable=False,
    )


class Events:
    """The server-sent events of an answer, as they come; remembers where a reader may resume."""

    def __init__(self, response: httpx2.Response, name: str, limit: int) -> None:
        self._response = response
        self._name = name
        self._limit = limit
        self._decoder = SSEDecoder(limit)
        self._chunks = chunks_of(response)
        #: The id of the last event that had one.
        self.last: str | None = None
        #: Seconds to wait before coming back, as the server said.
        self.retry: float | None = None

    async def read(self) -> list[ServerEvent] | None:
        """The events of the next piece, maybe none; None at the end.

        Raises the error that a broken connection means, and `MalformedAnswerError` for an endless event.
        """
        try:
            chunk = await anext(self._chunks, None)
        except (httpx2.HTTPError, OSError) as error:
            raise map_http_error(error, provider=self._name, url=self._response.request.url) from None
        if chunk is None:
            return None
        try:
            events = self._decoder.feed(chunk)
        except GleitzeitError:
            raise too_long(self._name, self._limit) from None
        for event in events:
            if event.id:
                self.last = event.id
            if event.retry is not None:
                self.retry = event.retry / 1000
        return events

    async def close(self, *, drain: bool = False) -> None:
        """Close the connection, or after a complete answer give it back. Idempotent."""
        try:
            if drain and not self._response.is_closed:
                await self._drain()
        finally:
            await shut(self._response, self._chunks)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, httpx2.HTTPError, OSError):
            pass  # then the connection is closed instead of being used again
