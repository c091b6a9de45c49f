"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event
from gleitzeit.wire.sse import EVENT_LIMIT, ServerEvent, SSEDecoder
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.shapes import decode_frame, decode_whole, repaired

__all__ = ["MessageParser", "read_whole"]

T = TypeVar("T")
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class MessageParser:
    """Parses the bytes of one stream. `error` makes our error of an error frame.

    The terminal mark is `message_stop`. A body that is JSON although a stream was asked for becomes a
    stream.
    """

    def __init__(self, reader: AnswerReader, error: Callable[[object], GleitzeitError]) -> None:
        self.complete = False
        self._reader = reader
        self._error = error
        self._sse = SSEDecoder()
        #: None: not known yet, as nothing but blank has come.
        self._is_json: bool | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def ended(self) -> bool:
        """Has the terminal mark come?"""
        return self.complete

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        """Append the events in `chunk`."""
        if self._is_json is not False:
            chunk = self._sniff(chunk)
        for event in self._sse.feed(chunk):
            self._event(event, events)
            if self.complete:
                break

    def close(self, events: deque[Event]) -> None:
        """The input has ended."""
        if self._is_json:
            self.complete = True
            read_whole(b"".join(self._body), self._reader, self._error, events)
            return
        if not self.complete:
            self._rest(events)
        if not self.complete:
            raise TruncatedStreamError(
                "the stream ended without message_stop", hint="the answer is incomplete; ask again"
            )

    def _rest(self, events: deque[Event]) -> None:
        """The last frame, which may be half a one: that is no fault of its own, unless it tells of one."""
        for event in self._sse.close():
            try:
                self._event(event, events)
            except MalformedAnswerError:
                if _tells(event.data, event.event):
                    raise

    def _sniff(self, chunk: bytes) -> bytes:
        """What of `chunk` is a stream. The body decides, as content types are not to be trusted."""
        self._body.append(chunk)
        self._size += len(chunk)
        if self._size > EVENT_LIMIT:
            message = f"the answer is no stream, and larger than {EVENT_LIMIT} bytes"
            raise MalformedAnswerError(message, retryable=False)
        if self._is_json is None:
            begin = b"".join(self._body).lstrip(_BLANK)
            if not begin:
                return b""
            self._is_json = begin[:1] in b"{[<"
            if not self._is_json:
                chunk, self._body = b"".join(self._body), []
        return b"" if self._is_json else chunk

    def _event(self, event: ServerEvent, events: deque[Event]) -> None:
        data = event.data
        try:
            frame = decode_frame(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if not data.strip() or data[:6] == b"[DONE]":
                return  # a sign of life, or what servers of another tongue say at the end
            frame, data = _loosely(decode_frame, data, self._error, event.event)
        if frame.type == "message_stop":
            self._reader.close(events)
            self.complete = True
        elif frame.type == "error" or event.event == "error" or (frame.type is None and frame.error):
            raise self._error(data)
        else:
            self._reader.feed(frame, data, events)


def read_whole(
    body: bytes, reader: AnswerReader, error: Callable[[object], GleitzeitError], events: deque[Event]
) -> None:
    """Append the events of a whole body; a stream that came unasked is read to its end."""
    if body[:64].lstrip(_BLANK).startswith(_FIELDS):
        parser = MessageParser(reader, error)
        parser.feed(body, events)
        if not parser.complete:
            parser.close(events)
        return
    try:
        message = decode_whole(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        message, body = _loosely(decode_whole, body, error)
    if message.is_error:
        raise error(body)
    if message.content is None:
        raise MalformedAnswerError("the answer holds no content", body=body, sent=True)
    reader.read(message, events)


def _loosely(
    decode: Callable[[bytes], T], data: bytes, error: Callable[[object], GleitzeitError], event: str = ""
) -> tuple[T, bytes]:
    """What `decode` makes of JSON that is not quite that."""
    try:
        mended = repaired(data)
        return decode(mended), mended
    except (ValueError, msgspec.MsgspecError, RecursionError):
        pass
    # Quoted as errors are quoted: bounded, and without keys.
    told: Any = error(data).message if _tells(data, event) else f"{len(data)} bytes of content"
    raise MalformedAnswerError(f"the answer is not the JSON of a message: {told}", body=data, sent=True)


def _tells(data: bytes, event: str) -> bool:
    """Does this speak of an error, so that it can be quoted? All else may be content."""
    begin = data[:16].lstrip()
    return event == "error" or not begin.startswith(b"{") or begin.startswith((b'{"error"', b'{"detail"'))
