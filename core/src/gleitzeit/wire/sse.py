"""Server-sent events, decoded from bytes.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html, with one tolerance: input
that ends without a blank line still yields its last event, as several model servers stop there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gleitzeit.errors import MalformedAnswerError

__all__ = ["EVENT_LIMIT", "SSEDecoder", "ServerEvent"]

#: Bytes that one event may have. The largest honest ones carry a picture as base64.
EVENT_LIMIT: Final = 16 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class ServerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event; `event` is "message" where the server named none, `retry` is in milliseconds."""

    data: bytes
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class SSEDecoder:
    """Turns chunks of bytes, cut anywhere, into events.

    Raises `MalformedAnswerError` when one event is larger than `limit` bytes.
    """

    __slots__ = ("_data", "_event", "_id", "_limit", "_pieces", "_retry", "_size", "_skip_lf", "_start")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        #: Of a line that has not ended; a list, as joining on each chunk would be quadratic.
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None
        self._skip_lf = False
        self._start = True

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that `chunk` completes."""
        if not chunk:
            return []
        if self._skip_lf:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
            if not chunk:
                return []
        if b"\r" in chunk:
            self._skip_lf = chunk[-1:] == b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._pieces or self._data or self._start or self._event:
            return self._lines(chunk)
        # The usual chunk is one whole event with one line of data.
        if chunk.startswith(b"data: ") and chunk.find(b"\n") == len(chunk) - 2 and chunk.endswith(b"\n\n"):
            if len(chunk) > self._limit:
                raise self._too_large()
            event = ServerEvent(chunk[6:-2], "message", self._id, self._retry)
            self._retry = None
            return [event]
        return self._lines(chunk)

    def close(self) -> list[ServerEvent]:
        """The event that the end of the input completes, if any."""
        events = self._lines(b"\n") if self._pieces else []
        last = self._dispatch()
        if last is not None:
            events.append(last)
        return events

    def _lines(self, chunk: bytes) -> list[ServerEvent]:
        if b"\n" not in chunk:
            self._size += len(chunk)
            self._check()
            self._pieces.append(chunk)
            return []
        lines = chunk.split(b"\n")
        if self._pieces:
            self._size -= sum(map(len, self._pieces))
            self._pieces.append(lines[0])
            lines[0] = b"".join(self._pieces)
            self._pieces = []
        rest = lines.pop()
        if self._start:
            self._start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        for line in lines:
            if not line:
                event = self._dispatch()
                if event is not None:
                    events.append(event)
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._add(line, value)
            elif line[:1] != b":":
                self._field(line)
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            self._check()
        return events

    def _field(self, line: bytes) -> None:
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ")
        if name == b"data":  # without a colon
            self._add(line, value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 16:
            self._retry = int(value)

    def _add(self, line: bytes, value: bytes) -> None:
        self._data.append(value)
        self._size += len(line)
        self._check()

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._event
        self._event, self._size = "", 0
        if not data:
            return None
        self._data = []
        whole = data[0] if len(data) == 1 else b"\n".join(data)
        event = ServerEvent(whole, name or "message", self._id, self._retry)
        self._retry = None
        return event

    def _check(self) -> None:
        if self._size > self._limit:
            self._pieces, self._data, self._size = [], [], 0
            raise self._too_large()

    def _too_large(self) -> MalformedAnswerError:
        return MalformedAnswerError(
            f"an event of the stream is larger than {self._limit} bytes", sent=True, retryable=False
        )
