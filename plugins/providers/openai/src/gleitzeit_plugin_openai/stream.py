"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque

import msgspec

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Event
from gleitzeit.wire.frames import FrameParser, unreadable
from gleitzeit.wire.sse import ServerEvent
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.shapes import Answer, decode, decode_loosely

__all__ = ["ChatParser"]


class ChatParser(FrameParser):
    """Parses the bytes of one answer.

    The terminal mark of a stream is a finish reason, or `[DONE]` after a count of tokens. `[DONE]` alone is
    none: servers write it, too, when they break off, as for another call.
    """

    reader: AnswerReader
    mark = "a finish reason"

    @property
    def finished(self) -> bool:
        """Has a finish reason come?"""
        return self.reader.finished

    def end(self, events: deque[Event]) -> None:
        """Append the last events of a stream that has ended well."""
        self.reader.close(events)

    def flush(self, events: deque[Event]) -> None:
        """Append what was held back of a stream that breaks off."""
        self.reader.flush(events)

    def frame(self, event: ServerEvent, events: deque[Event]) -> None:
        """Append the events of one chunk."""
        data = event.data
        if data[:6] == b"[DONE]":
            if not (self.finished or self.reader.counted):
                self.flush(events)
                raise self.truncated()
            self.complete = True
            self.reader.close(events)
            return
        try:
            answer = decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if not data.strip():
                return  # a sign of life
            answer = self._loosely(data, event.event)
        if event.event == "error" or answer.is_error:
            raise self.error(data)
        self.reader.read(answer, events)

    def document(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole answer."""
        try:
            answer = decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            answer = self._loosely(body)
        if answer.is_error:
            raise self.error(body)
        if not answer.choices:
            raise MalformedAnswerError("the answer holds no choice", body=body, sent=True)
        for choice in answer.choices:
            for index, call in enumerate((choice.message and choice.message.tool_calls) or ()):
                call.index = index  # each is a call of its own, whatever it says
        self.reader.read(answer, events)
        self.reader.close(events)

    def _loosely(self, data: bytes, event: str = "") -> Answer:
        self.reader.loose = True
        try:
            return decode_loosely(data)
        except ValueError:
            raise unreadable("the JSON of a completion", data, self.error, event) from None
