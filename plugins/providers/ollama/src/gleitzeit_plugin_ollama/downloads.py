"""Streams that begin with a download, and the lines of a download as its end or failure."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError, UnknownModelError
from gleitzeit.values import Event
from gleitzeit.wire.ndjson import NDJSONDecoder
from gleitzeit_plugin_ollama.pulls import Follower, Tell
from gleitzeit_plugin_ollama.shapes import Status, decode_status

__all__ = ["AfterPull", "Answer", "Ending", "read_pull", "refused"]

#: What the library says of a name that it does not have.
_ABSENT: Final = ("file does not exist", "not found", "does not exist")


class Answer(Protocol):
    """The events that follow a download."""

    @property
    def progress(self) -> int:
        """Signs of life so far."""

    async def __anext__(self) -> Event:
        """The next event."""

    async def aclose(self) -> None:
        """Close it."""


class Ending:
    """Events that are known already."""

    def __init__(self, *events: Event) -> None:
        self._events = deque(events)
        self.progress = 0

    async def __anext__(self) -> Event:
        """The next of them."""
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()

    async def aclose(self) -> None:
        """Nothing is held."""


class AfterPull:
    """The progress of a download, then the events of what `ask` opens."""

    def __init__(self, follower: Follower, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._follower = follower
        self._ask = ask
        self._answer: Answer | None = None

    @property
    def progress(self) -> int:
        """Signs of life: lines of the download, pieces of the answer."""
        return self._follower.lines + (self._answer.progress if self._answer is not None else 0)

    def __aiter__(self) -> AfterPull:
        return self

    async def __anext__(self) -> Event:
        if self._answer is None:
            news = await self._follower.next()
            if news is not None:
                return news
            await self._follower.aclose()
            self._answer = await self._ask()
        return await self._answer.__anext__()

    async def aclose(self) -> None:
        """Leave the download, which ends if nobody else waits for it, or close the answer."""
        try:
            await self._follower.aclose()
        finally:
            if self._answer is not None:
                await self._answer.aclose()


async def read_pull(
    model: str, chunks: AsyncGenerator[bytes, None], error: Callable[[object], GleitzeitError], tell: Tell
) -> None:
    """Read the lines of a download to their good end; raises its failure."""
    lines = NDJSONDecoder()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            if _succeeded(model, line, error, tell):
                return
    for line in lines.close():
        if _succeeded(model, line, error, tell):
            return
    raise TruncatedStreamError(
        f"the download of {model!r} ended without success", hint="ask again: what has come is kept", sent=True
    )


def _succeeded(
    model: str, line: bytes, error: Callable[[object], GleitzeitError], tell: Callable[[Status], Any]
) -> bool:
    try:
        status = decode_status(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswerError("a line of the download is not JSON", body=line, sent=True) from None
    if status.error is not None:
        raise refused(model, error(line))
    tell(status)
    return bool(status.status == "success")


def refused(model: str, error: GleitzeitError) -> GleitzeitError:
    """The failure of a download: a name that the library does not have is an unknown model."""
    if not isinstance(error, UnknownModelError) and any(word in error.message for word in _ABSENT):
        error = UnknownModelError(
            error.message, provider=error.provider, status=error.status, sent=True, body=error.body
        )
    if isinstance(error, UnknownModelError):
        error.hint = f"is {model!r} spelt as in Ollama's library?"
    return error
