"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import msgspec

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Event
from gleitzeit.wire.frames import FrameParser, unreadable
from gleitzeit.wire.sse import ServerEvent
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.shapes import decode_frame, decode_whole, repaired

__all__ = ["MessageParser"]

T = TypeVar("T")


class MessageParser(FrameParser):
    """Parses the bytes of one answer. The terminal mark of a stream is `message_stop`."""

    reader: AnswerReader
    mark = "message_stop"

    def frame(self, event: ServerEvent, events: deque[Event]) -> None:
        """Append the events of one frame."""
        data = event.data
        try:
            frame = decode_frame(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if not data.strip() or data[:6] == b"[DONE]":
                return  # a sign of life, or what servers of another tongue say at the end
            frame, data = self._loosely(decode_frame, data, event.event)
        if frame.type == "message_stop":
            self.reader.close(events)
            self.complete = True
        elif frame.type == "error" or event.event == "error" or (frame.type is None and frame.error):
            raise self.error(data)
        else:
            self.reader.feed(frame, data, events)

    def document(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole message."""
        try:
            message = decode_whole(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message, body = self._loosely(decode_whole, body)
        if message.is_error:
            raise self.error(body)
        if message.content is None:
            raise MalformedAnswerError("the answer holds no content", body=body, sent=True)
        self.reader.read(message, events)

    def _loosely(self, decode: Callable[[bytes], T], data: bytes, event: str = "") -> tuple[T, bytes]:
        """What `decode` makes of JSON that is not quite that."""
        try:
            mended = repaired(data)
            return decode(mended), mended
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise unreadable("the JSON of a message", data, self.error, event) from None
