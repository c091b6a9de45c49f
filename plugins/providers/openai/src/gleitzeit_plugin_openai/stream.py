"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.values import Event
from gleitzeit.wire.sse import ServerEvent
from gleitzeit_plugin_openai.frames import BLANK, FIELDS, FrameParser, tells
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.shapes import Answer, decode, decode_loosely

__all__ = ["ChatParser", "read_whole"]


class ChatParser(FrameParser):
    """Parses the bytes of one stream. `error` makes our error of an error frame.

    The terminal mark is a finish reason or `[DONE]`, whichever comes.
    """

    _mark = "a finish reason and without [DONE]"

    def __init__(self, reader: AnswerReader, error: Callable[[object], GleitzeitError]) -> None:
        super().__init__()
        self._reader = reader
        self._error = error

    @property
    def _finished(self) -> bool:
        return self._reader.finished

    def _whole(self, body: bytes, events: deque[Event]) -> None:
        read_whole(body, self._reader, self._error, events)

    def _end(self, events: deque[Event]) -> None:
        self._reader.close(events)

    def _flush(self, events: deque[Event]) -> None:
        self._reader.flush(events)

    def _event(self, event: ServerEvent, events: deque[Event]) -> None:
        data = event.data
        if data[:6] == b"[DONE]":
            self.complete = True
            self._reader.close(events)
            return
        try:
            answer = decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            if not data.strip():
                return  # a sign of life
            answer = _loosely(data, self._reader, self._error, event.event)
        if event.event == "error" or answer.is_error:
            raise self._error(data)
        self._reader.read(answer, events)


def read_whole(
    body: bytes, reader: AnswerReader, error: Callable[[object], GleitzeitError], events: deque[Event]
) -> None:
    """Append the events of a whole body; a stream that came unasked is read to its end."""
    if body[:64].lstrip(BLANK).startswith(FIELDS):
        parser = ChatParser(reader, error)
        parser.feed(body, events)
        if not parser.complete:
            parser.close(events)
        return
    try:
        answer = decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        answer = _loosely(body, reader, error)
    if answer.is_error:
        raise error(body)
    if not answer.choices:
        raise MalformedAnswerError("the answer holds no choice", body=body, sent=True)
    for choice in answer.choices:
        for index, call in enumerate((choice.message and choice.message.tool_calls) or ()):
            call.index = index  # each is a call of its own, whatever it says
    reader.read(answer, events)
    reader.close(events)


def _loosely(
    data: bytes, reader: AnswerReader, error: Callable[[object], GleitzeitError], event: str = "message"
) -> Answer:
    reader.loose = True
    try:
        return decode_loosely(data)
    except ValueError:
        pass
    # Quoted as errors are quoted: bounded, and without keys.
    told = error(data).message if tells(data, event) else f"{len(data)} bytes of content"
    raise MalformedAnswerError(f"the answer is not the JSON of a completion: {told}", body=data, sent=True)
