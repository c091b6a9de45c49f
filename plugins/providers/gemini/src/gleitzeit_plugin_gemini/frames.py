"""Pieces of an answer out of bytes: server-sent events, a JSON array, or one JSON object."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from gleitzeit.errors import ContentRefusedError, GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event
from gleitzeit.wire.frames import BLANK, FIELDS, AnswerParser
from gleitzeit.wire.sse import EVENT_LIMIT, SSEDecoder
from gleitzeit_plugin_gemini.reader import AnswerReader
from gleitzeit_plugin_gemini.shapes import Answer, decode

__all__ = ["JSONElements", "PieceParser"]

_OUTSIDE: Final = re.compile(rb'["{}]')
_INSIDE: Final = re.compile(rb'["\\]')
#: An error that stands bare behind the events of a stream.
_BARE_ERROR: Final = re.compile(rb'(?:\A|[\r\n])\s*(\[?\s*\{\s*"error".*)', re.S)
_TAIL: Final = 64 * 1024


class JSONElements:
    """The objects of a JSON array, or one object alone, from chunks cut anywhere.

    Raises `MalformedAnswerError` when one object is larger than `limit` bytes.
    """

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._string = self._escaped = False

    @property
    def inside(self) -> bool:
        """Is an object half read?"""
        return self._depth > 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The objects that `chunk` completes."""
        done: list[bytes] = []
        start = at = 0
        while at < len(chunk):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_INSIDE if self._string else _OUTSIDE).search(chunk, at)
            if found is None:
                break
            mark, at = found[0], found.end()
            if mark == b"\\":
                self._escaped = True
            elif mark == b'"':
                self._string = not self._string
            elif mark == b"{":
                start = start if self._depth else found.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if not self._depth:
                    self._pieces.append(chunk[start:at])
                    done.append(b"".join(self._pieces))
                    self._pieces, self._size, start = [], 0, at
        if self._depth:
            self._pieces.append(chunk[start:])
            self._size += len(chunk) - start
            if self._size > self._limit:
                message = f"an element of the stream is larger than {self._limit} bytes"
                raise MalformedAnswerError(message, sent=True, retryable=False)
        return done


class PieceParser(AnswerParser):
    """Parses the bytes of one answer.

    The terminal mark is a finish reason; what follows it is read until the input ends, as counts and
    sources may come late.
    """

    reader: AnswerReader

    def __init__(self, reader: AnswerReader, error: Callable[[object], GleitzeitError]) -> None:
        super().__init__(reader, error)
        self._sse = SSEDecoder()
        self._json = JSONElements()
        #: None: not known yet, as nothing but blank has come.
        self._is_json: bool | None = None
        self._begin = b""
        self._tail: deque[bytes] = deque()
        self._kept = 0

    @property
    def finished(self) -> bool:
        """Has a finish reason come?"""
        return self.reader.finished

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        """Append the events in `chunk`."""
        if self._is_json is None:
            self._begin += chunk
            begin = self._begin.lstrip(BLANK)
            if not begin:
                self._begin = self._begin[-8:]
                return
            self._is_json, chunk, self._begin = begin[:1] in b"{[<", self._begin, b""
        self._keep(chunk)
        if self._is_json:
            for element in self._json.feed(chunk):
                self._element(element, events)
        else:
            for event in self._sse.feed(chunk):
                self._element(event.data, events)

    def close(self, events: deque[Event]) -> None:
        """The input has ended."""
        if self._is_json is False:
            for event in self._sse.close():
                self._last(event.data, events)
        if not self.reader.finished:
            self._unfinished()
        self.complete = True
        self.reader.close(events)

    def whole(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole body; a stream that came unasked is read to its end."""
        if body[:64].lstrip(BLANK).startswith((*FIELDS, b"[")):
            self.feed(body, events)
            self.close(events)
            return
        answer = _answer(body, self.error)
        _read(answer, body, self.reader, self.error, events)
        if not answer.candidates:
            raise MalformedAnswerError("the answer holds no candidate", body=body, sent=True)
        self.reader.close(events)

    def _element(self, data: bytes, events: deque[Event]) -> None:
        if not data.strip() or data[:6] == b"[DONE]":
            return  # a sign of life, or the mark of another protocol
        _read(_answer(data, self.error), data, self.reader, self.error, events)

    def _last(self, data: bytes, events: deque[Event]) -> None:
        """The last event, which may be half a one: that is no fault of its own."""
        try:
            answer = decode(data)
        except ValueError:
            if not self.reader.finished and _BARE_ERROR.match(data):
                raise _malformed(data, self.error) from None
            return
        _read(answer, data, self.reader, self.error, events)

    def _keep(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._kept += len(chunk)
        while self._kept - len(self._tail[0]) > _TAIL:
            self._kept -= len(self._tail.popleft())

    def _unfinished(self) -> None:
        tail = b"".join(self._tail)
        # In an array an error is an element like others, and what looks like one lies inside of one.
        found = None if self._is_json else _BARE_ERROR.search(tail)
        if found is not None:
            raise self.error(found[1])
        if self._is_json and not self.reader.started and not self._json.inside and tail.strip(BLANK + b"[]"):
            raise _malformed(tail, self.error)
        raise TruncatedStreamError(
            "the stream ended without a finish reason", hint="the answer is incomplete; ask again", sent=True
        )


def _answer(data: bytes, error: Callable[[object], GleitzeitError]) -> Answer:
    try:
        return decode(data)
    except ValueError:
        raise _malformed(data, error) from None


def _read(
    answer: Answer,
    data: bytes,
    reader: AnswerReader,
    error: Callable[[object], GleitzeitError],
    events: deque[Event],
) -> None:
    if answer.error is not None:
        raise error(data)
    try:
        reader.read(answer, events)
    except ValueError:
        raise _malformed(data, error) from None
    feedback = answer.promptFeedback
    if isinstance(feedback, dict) and not answer.candidates and isinstance(feedback.get("blockReason"), str):
        raise _blocked(feedback, data)


def _blocked(feedback: dict[str, object], data: bytes) -> ContentRefusedError:
    word = str(feedback["blockReason"])[:80]
    told = feedback.get("blockReasonMessage")
    text = f": {told[:300]!r}" if isinstance(told, str) and told else ""
    return ContentRefusedError(
        f"the prompt was refused, {word}{text}", vendor_code=word, body=data, sent=True, retryable=False
    )


def _malformed(data: bytes, error: Callable[[object], GleitzeitError]) -> MalformedAnswerError:
    # Only what speaks of an error is quoted, as errors are: all else may be content.
    begin = data[:32].lstrip(BLANK + b"[{ ")
    tells = begin.startswith((b'"error"', b"<"))
    told = error(data).message if tells else f"{len(data)} bytes of content"
    return MalformedAnswerError(
        f"the answer is not the JSON of a model's answer: {told}", body=data, sent=True
    )
