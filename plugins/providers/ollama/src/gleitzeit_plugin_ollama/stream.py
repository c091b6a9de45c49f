"""Answers as bytes, streamed or whole, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event
from gleitzeit.wire.ndjson import LINE_LIMIT, NDJSONDecoder
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.shapes import Line, decode

__all__ = ["LineParser", "read_whole"]

_BOM: Final = b"\xef\xbb\xbf"


class LineParser:
    """Parses the bytes of one answer. `error` makes our error of an error line.

    The terminal mark is `"done": true`. A single JSON document, on one line or many, is read as well.
    """

    def __init__(self, reader: AnswerReader, error: Callable[[object], GleitzeitError]) -> None:
        self.complete = False
        self._reader = reader
        self._error = error
        self._lines = NDJSONDecoder()
        self._count = 0
        #: What is no document by itself: the first lines of one that is laid out over several.
        self._begun: list[bytes] = []
        self._size = 0
        self._last: tuple[Line, bytes] | None = None

    @property
    def ended(self) -> bool:
        """Has the terminal mark come?"""
        return self.complete or self._reader.finished

    @property
    def lone(self) -> tuple[Line, bytes] | None:
        """The one document that came, if there was just one."""
        return self._last if self._count == 1 else None

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
                if _tells(line) or _whole(line):
                    raise  # all else is a line that was cut
        if self._begun:
            self._document(events)
        if not self.complete:
            raise TruncatedStreamError(
                'the stream ended without its last line, "done": true',
                hint="the answer is incomplete; ask again",
            )

    def _line(self, data: bytes, events: deque[Event]) -> None:
        if self._begun:
            self._keep(data)
            return
        if not self._count:
            data = data.removeprefix(_BOM)
        try:
            line = _decoded(data)
        except (msgspec.MsgspecError, RecursionError):
            if self._count or _tells(data) or _whole(data):
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
            raise self._error(data)
        self._last = line, data
        self._reader.read(line, data, events)
        if self._reader.finished:
            self.complete = True
            self._reader.close(events)

    def _malformed(self, data: bytes) -> MalformedAnswerError:
        # Quoted as errors are quoted, bounded and without keys; what may be content is not.
        told = self._error(data).message if _tells(data) else f"{len(data)} bytes of content"
        return MalformedAnswerError(f"the answer is not Ollama's JSON: {told}", body=data, sent=True)


def _decoded(data: bytes) -> Line:
    """The line in `data`; bytes that are no UTF-8 become marks in its text."""
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        mended = data.decode("utf-8", "replace").encode()
        if mended == data:
            raise
        return decode(mended)


def _tells(data: bytes) -> bool:
    """Does this speak of an error, so that it can be quoted?"""
    return not data.startswith(b"{") or data.startswith(b'{"error"')


def _whole(data: bytes) -> bool:
    """Is this a document of its own, which more lines cannot mend?"""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def read_whole(
    body: bytes, reader: AnswerReader, error: Callable[[object], GleitzeitError], events: deque[Event]
) -> None:
    """Append the events of a whole body; a stream that came unasked is read to its end."""
    parser = LineParser(reader, error)
    parser.feed(body, events)
    try:
        parser.close(events)
    except TruncatedStreamError:
        found = parser.lone
        if found is None or found[0].done is not None:
            raise
        if found[0].message is None and found[0].response is None:
            raise MalformedAnswerError("the answer holds no message", body=body, sent=True) from None
        # A server in between leaves the mark out; a document that is closed is not cut.
        reader.finish(*found)
        reader.close(events)
