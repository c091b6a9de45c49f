"""Responses as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Event
from gleitzeit.wire.frames import FrameParser, unreadable
from gleitzeit.wire.sse import ServerEvent
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.shapes import Whole, decode_frame, decode_whole, loosely

__all__ = ["ResponseParser"]

_BEGIN: Final = ("response.created", "response.queued", "response.in_progress")
_END: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError)


class ResponseParser(FrameParser):
    """Parses the bytes of one answer; only an event that ends the response is a stream's terminal mark.

    The type inside the data counts, as some servers write no `event:` lines.
    """

    reader: ResponseReader
    mark = "response.completed"

    @property
    def finished(self) -> bool:
        """Has the response ended?"""
        return self.reader.finished

    def frame(self, event: ServerEvent, events: deque[Event]) -> None:
        """Append the events of one frame."""
        data = event.data
        if data[:6] == b"[DONE]" or not data.strip():
            return  # no mark here, and signs of life
        try:
            frame = decode_frame(data)
        except _FAULTS:
            frame = self._mended(data, decode_frame, event.event)
        if event.event == "error" or frame.type == "error" or (frame.error and frame.type is None):
            raise self.error(data)
        if frame.type in _END:
            self._ended(self._response(bytes(frame.response)), events)
            self.complete = True
        elif frame.type in _BEGIN:
            self.reader.begin(self._response(bytes(frame.response)), events)
        else:
            try:
                self.reader.frame(frame, events)
            except _FAULTS:
                raise _no_response(data, "an item of the response is no object") from None

    def document(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole response."""
        response = self._response(body)
        if response.output is None and (
            response.error or response.type == "error" or response.object == "error" or response.detail
        ):
            raise self.error(body)
        if response.output is None:
            raise _no_response(body, "the answer is no response")
        self._ended(response, events)

    def _ended(self, response: Whole, events: deque[Event]) -> None:
        if response.status == "failed" or (response.error and response.status != "completed"):
            self.reader.usage(response, events)
            failure: Any = response.error or {"message": "the response failed"}
            raise self.error({"error": failure})
        try:
            self.reader.end(response, events)
        except _FAULTS:
            raise _no_response(b"", "an item of the response is no object") from None

    def _response(self, raw: bytes) -> Whole:
        try:
            return decode_whole(raw)
        except _FAULTS:
            mended: Whole = self._mended(raw, decode_whole)
            return mended

    def _mended(self, data: bytes, decode: Callable[[bytes], Any], event: str = "") -> Any:
        try:
            return loosely(data, decode)
        except ValueError:
            raise unreadable("the JSON of a response", data, self.error, event) from None


def _no_response(body: bytes, what: str) -> MalformedAnswerError:
    return MalformedAnswerError(what, body=body or None, sent=True)
