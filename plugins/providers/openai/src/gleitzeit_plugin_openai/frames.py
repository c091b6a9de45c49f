"""A streamed answer as frames, whichever dialect of the API they are in."""

from __future__ import annotations

from collections import deque
from typing import Final

from gleitzeit.errors import MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event
from gleitzeit.wire.sse import EVENT_LIMIT, ServerEvent, SSEDecoder

__all__ = ["BLANK", "FIELDS", "FrameParser", "tells"]

BLANK: Final = b" \t\r\n\xef\xbb\xbf"
#: What a stream of server-sent events may begin with.
FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class FrameParser:
    """Parses the bytes of one stream. A body that is JSON although a stream was asked for becomes one."""

    #: What is missing where a stream ends too early.
    _mark = "a terminal mark"

    def __init__(self) -> None:
        self.complete = False
        self._sse = SSEDecoder()
        #: None: not known yet, as nothing but blank has come.
        self._is_json: bool | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def ended(self) -> bool:
        """Has the terminal mark come?"""
        return self.complete or self._finished

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
            self._whole(b"".join(self._body), events)
            return
        if not self.complete:
            self._rest(events)
        if self.complete:
            return
        if self._finished:
            self.complete = True
            self._end(events)
            return
        self._flush(events)
        raise TruncatedStreamError(
            f"the stream ended without {self._mark}", hint="the answer is incomplete; ask again"
        )

    @property
    def _finished(self) -> bool:
        raise NotImplementedError

    def _event(self, event: ServerEvent, events: deque[Event]) -> None:
        raise NotImplementedError

    def _whole(self, body: bytes, events: deque[Event]) -> None:
        raise NotImplementedError

    def _end(self, events: deque[Event]) -> None:
        """Append the last events of a stream that has ended well."""

    def _flush(self, events: deque[Event]) -> None:
        """Append what was held back of a stream that breaks off."""

    def _rest(self, events: deque[Event]) -> None:
        """The last frame, which may be half a one: that is no fault of its own, unless it tells of one."""
        for event in self._sse.close():
            try:
                self._event(event, events)
            except MalformedAnswerError:
                if not self._finished and tells(event.data, event.event):
                    raise

    def _sniff(self, chunk: bytes) -> bytes:
        """What of `chunk` is a stream. The body decides, as content types are not to be trusted."""
        self._body.append(chunk)
        self._size += len(chunk)
        if self._size > EVENT_LIMIT:
            message = f"the answer is no stream, and larger than {EVENT_LIMIT} bytes"
            raise MalformedAnswerError(message, retryable=False)
        if self._is_json is None:
            begin = b"".join(self._body).lstrip(BLANK)
            if not begin:
                return b""
            self._is_json = begin[:1] in b"{[<"
            if not self._is_json:
                chunk, self._body = b"".join(self._body), []
        return b"" if self._is_json else chunk


def tells(data: bytes, event: str) -> bool:
    """Does this speak of an error, so that it can be quoted? All else may be content."""
    begin = data[:16].lstrip()
    return event == "error" or not begin.startswith(b"{") or begin.startswith((b'{"error"', b'{"detail"'))
