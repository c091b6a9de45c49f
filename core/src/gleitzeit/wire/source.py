"""The events of an HTTP answer while it arrives: the source under a provider's `Stream`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

import httpx2

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Event
from gleitzeit.wire.exchange import Exchange, request_id, shut
from gleitzeit.wire.limits import rate_limits

__all__ = ["Parser", "ResponseEvents"]

#: Seconds to wait for the HTTP end of an answer that is complete, so that its connection can be used again.
_DRAIN: Final = 0.1


class Parser(Protocol):
    """Turns the bytes of one dialect into events."""

    @property
    def complete(self) -> bool:
        """Has everything come? Then nothing more is read."""

    @property
    def ended(self) -> bool:
        """Has the terminal mark come? Then a connection that breaks is no failure any more."""

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        """Append the events in `chunk`; may raise after having appended some."""

    def close(self, events: deque[Event]) -> None:
        """The input has ended: append the last events, or raise `TruncatedStreamError`."""


class ResponseEvents:
    """Iterates over the events that `parser` finds in `response`; closing it closes the connection.

    An error is raised after the events that came before it.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_exchange",
        "_next",
        "_over",
        "_parser",
        "_ready",
        "_response",
        "progress",
    )

    def __init__(self, exchange: Exchange, response: httpx2.Response, parser: Parser) -> None:
        self._exchange = exchange
        self._response = response
        self._parser = parser
        self._chunks = exchange.chunks(response)
        self._next = self._chunks.__anext__
        self._ready: deque[Event] = deque()
        self._error: GleitzeitError | None = None
        self._over = False
        #: Pieces that have come, comments and other signs of life included.
        self.progress = 0

    def __aiter__(self) -> ResponseEvents:
        return self

    async def __anext__(self) -> Event:
        ready = self._ready
        while not ready:
            if self._over:
                error, self._error = self._error, None
                raise StopAsyncIteration if error is None else error
            try:
                try:
                    chunk = await self._next()
                    self.progress += 1
                except StopAsyncIteration:
                    self._over = True
                    self._parser.close(ready)
                except (httpx2.HTTPError, OSError) as error:
                    self._over = True
                    self._broken(error)
                else:
                    self._parser.feed(chunk, ready)
                    self._over = self._parser.complete
            except GleitzeitError as error:
                self._over, self._error = True, error
                self._describe(error)
        return ready.popleft()

    async def aclose(self) -> None:
        """Close the connection, or give it back if the answer was read to its end. Idempotent."""
        self._over = True
        try:
            if self._parser.complete and not self._response.is_closed:
                await self._drain()
        finally:
            await shut(self._response, self._chunks)

    def _broken(self, error: Exception) -> None:
        if not self._parser.ended:
            raise self._exchange.broken(error, self._response.request.url) from None
        self._parser.close(self._ready)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, httpx2.HTTPError, OSError):
            pass  # then the connection is closed instead of being used again

    def _describe(self, error: GleitzeitError) -> None:
        error.provider = error.provider or self._exchange.provider
        error.sent = True
        error.request_id = error.request_id or request_id(self._response.headers)
        if error.limits is None:
            error.limits = rate_limits(self._response.headers)
