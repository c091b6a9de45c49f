"""Responses as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.values import Event
from gleitzeit.wire.sse import ServerEvent
from gleitzeit_plugin_openai.frames import BLANK, FIELDS, FrameParser, tells
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.shapes import Whole, decode_frame, decode_whole, loosely

__all__ = ["ResponseParser", "read_response"]

_BEGIN: Final = ("response.created", "response.queued", "response.in_progress")
_END: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError)


class ResponseParser(FrameParser):
    """Parses the bytes of one stream; only an event that ends the response is its terminal mark.

    The type inside the data counts, as some servers write no `event:` lines. `error` makes our
    error of an error frame.
    """

    _mark = "response.completed"

    def __init__(self, reader: ResponseReader, error: Callable[[object], GleitzeitError]) -> None:
        super().__init__()
        self._reader = reader
        self._error = error

    @property
    def _finished(self) -> bool:
        return self._reader.finished

    def _whole(self, body: bytes, events: deque[Event]) -> None:
        read_response(body, self._reader, self._error, events)
        self.complete = True

    def _event(self, event: ServerEvent, events: deque[Event]) -> None:
        data = event.data
        if data[:6] == b"[DONE]" or not data.strip():
            return  # no mark here, and signs of life
        try:
            frame = decode_frame(data)
        except _FAULTS:
            frame = _mended(data, decode_frame, self._error, event.event)
        if event.event == "error" or frame.type == "error" or (frame.error and frame.type is None):
            raise self._error(data)
        if frame.type in _END:
            self._over(bytes(frame.response), events)
        elif frame.type in _BEGIN:
            self._reader.begin(_response(bytes(frame.response), self._error), events)
        else:
            try:
                self._reader.frame(frame, events)
            except _FAULTS:
                raise _no_response(data, "an item of the response is no object") from None

    def _over(self, raw: bytes, events: deque[Event]) -> None:
        _ended(_response(raw, self._error), self._reader, self._error, events)
        self.complete = True


def read_response(
    body: bytes, reader: ResponseReader, error: Callable[[object], GleitzeitError], events: deque[Event]
) -> None:
    """Append the events of a whole body; a stream that came unasked is read to its end."""
    if body[:64].lstrip(BLANK).startswith(FIELDS):
        parser = ResponseParser(reader, error)
        parser.feed(body, events)
        if not parser.complete:
            parser.close(events)
        return
    response = _response(body, error)
    if response.output is None and (
        response.error or response.type == "error" or response.object == "error" or response.detail
    ):
        raise error(body)
    if response.output is None:
        raise _no_response(body, "the answer is no response")
    _ended(response, reader, error, events)


def _ended(
    response: Whole,
    reader: ResponseReader,
    error: Callable[[object], GleitzeitError],
    events: deque[Event],
) -> None:
    if response.status == "failed" or (response.error and response.status != "completed"):
        reader.usage(response, events)
        failure: Any = response.error or {"message": "the response failed"}
        raise error({"error": failure})
    try:
        reader.end(response, events)
    except _FAULTS:
        raise _no_response(b"", "an item of the response is no object") from None


def _response(raw: bytes, error: Callable[[object], GleitzeitError]) -> Whole:
    try:
        return decode_whole(raw)
    except _FAULTS:
        mended: Whole = _mended(raw, decode_whole, error)
        return mended


def _mended(
    data: bytes,
    decode: Callable[[bytes], Any],
    error: Callable[[object], GleitzeitError],
    event: str = "message",
) -> Any:
    try:
        return loosely(data, decode)
    except ValueError:
        pass
    # Quoted as errors are quoted: bounded, and without keys.
    told = error(data).message if tells(data, event) else f"{len(data)} bytes of content"
    raise _no_response(data, f"the answer is not the JSON of a response: {told}")


def _no_response(body: bytes, what: str) -> MalformedAnswerError:
    return MalformedAnswerError(what, body=body or None, sent=True)
