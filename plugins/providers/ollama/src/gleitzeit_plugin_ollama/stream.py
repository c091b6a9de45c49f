"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event
from gleitzeit.wire.frames import AnswerParser, tells, unreadable
from gleitzeit.wire.ndjson import LINE_LIMIT, NDJSONDecoder
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.shapes import Line, decode

__all__ = ["LineParser"]

_BOM: Final = b"\xef\xbb\xbf"


class LineParser(AnswerParser):
    """Parses the bytes of one answer.

    The terminal mark is `"done": true`. A single JSON document, on one line or many, is read as well.
    """

    reader: AnswerReader

    def __init__(self, reader: AnswerReader, error: Callable[[object], GleitzeitError]) -> None:
        super().__init__(reader, error)
        self._lines = NDJSONDecoder()
        self._count = 0
        #: What is no document by itself: the first lines of one that is laid out over several.
        self._begun: list[bytes] = []
        self._size = 0
        self._last: tuple[Line, bytes] | None = None

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        """Append the events in `chunk`."""
        for line in self._lines.feed(chunk):
            self._line(line, events)
            if self.complete:
                break

    def close(self, events: deque[Event]) -> None:
        """The input has ended."""
        for line in () if self.complete else self._lines.close():
            try:
                self._line(line, events)
            except MalformedAnswerError:
                if tells(line) or _whole(line):
                    raise  # all else is a line that was cut
        if self._begun:
            self._document(events)
        if not self.complete:
            raise TruncatedStreamError(
                'the stream ended without its last line, "done": true',
                hint="the answer is incomplete; ask again",
                sent=True,
            )

    def whole(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole body; a stream that came unasked is read to its end."""
        self.feed(body, events)
        try:
            self.close(events)
        except TruncatedStreamError:
            # A server in between leaves the mark out; a document that is closed is not cut.
            if self._count != 1 or self._last is None or self._last[0].done is not None:
                raise
            line, data = self._last
            if line.message is None and line.response is None:
                raise MalformedAnswerError("the answer holds no message", body=body, sent=True) from None
            self.reader.finish(line, data)
            self.reader.close(events)

    def _line(self, data: bytes, events: deque[Event]) -> None:
        if self._begun:
            self._keep(data)
            return
        if not self._count:
            data = data.removeprefix(_BOM)
        try:
            line = _decoded(data)
        except (msgspec.MsgspecError, RecursionError):
            if self._count or tells(data) or _whole(data):
                raise self._malformed(data) from None
            self._keep(data)
            return
        self._read(line, data, events)

    def _keep(self, data: bytes) -> None:
        self._begun.append(data)
        self._size += len(data)
        if self._size > LINE_LIMIT:
            raise self._malformed(self._begun[0])

    def _document(self, events: deque[Event]) -> None:
        """Read what was kept: a document laid out over several lines, or the half of a line."""
        data = b"\n".join(self._begun)
        try:
            line = _decoded(data)
        except (msgspec.MsgspecError, RecursionError):
            if len(self._begun) > 1:
                raise self._malformed(data) from None
            return
        self._read(line, data, events)

    def _read(self, line: Line, data: bytes, events: deque[Event]) -> None:
        self._count += 1
        if line.error is not None:
            raise self.error(data)
        self._last = line, data
        self.reader.read(line, data, events)
        if self.reader.finished:
            self.complete = True
            self.reader.close(events)

    def _malformed(self, data: bytes) -> MalformedAnswerError:
        return unreadable("Ollama's JSON", data, self.error)


def _decoded(data: bytes) -> Line:
    """The line in `data`; bytes that are no UTF-8 become marks in its text."""
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        mended = data.decode("utf-8", "replace").encode()
        if mended == data:
            raise
        return decode(mended)


def _whole(data: bytes) -> bool:
    """Is this a document of its own, which more lines cannot mend?"""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
