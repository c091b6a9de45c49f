"""An answer as server-sent frames or one JSON document, whichever the server chose to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import Event, RateLimits
from gleitzeit.wire.sse import EVENT_LIMIT, ServerEvent, SSEDecoder

__all__ = ["BLANK", "FIELDS", "AnswerParser", "FrameParser", "tells", "unreadable"]

#: What may stand before an answer.
BLANK: Final = b" \t\r\n\xef\xbb\xbf"
#: What a stream of server-sent events may begin with.
FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class AnswerParser:
    """What parsers have that hand over to a reader, the vendor's own, which makes the events.

    `error` makes our error of an error in the answer.
    """

    def __init__(self, reader: Any, error: Callable[[object], GleitzeitError]) -> None:
        #: Has everything come? It is set when the terminal mark is met.
        self.complete = False
        self.reader = reader
        self.error = error

    @property
    def finished(self) -> bool:
        """Has a mark come after which the input may end, though more may follow?"""
        return False

    @property
    def ended(self) -> bool:
        """Has the terminal mark come?"""
        return self.complete or self.finished

    @property
    def limits(self) -> RateLimits | None:
        """What the answer's headers say of rate limits, for the reader to tell."""
        found: RateLimits | None = self.reader.limits
        return found

    @limits.setter
    def limits(self, limits: RateLimits | None) -> None:
        self.reader.limits = limits


class FrameParser(AnswerParser):
    """Parses the bytes of one answer; to write are `frame` and `document`.

    A body that is JSON although a stream was asked for is read as one, and a stream that came unasked to
    its end: the body decides, as content types are not to be trusted.
    """

    #: What is missing where a stream ends too early.
    mark = "a terminal mark"

    def __init__(self, reader: Any, error: Callable[[object], GleitzeitError]) -> None:
        super().__init__(reader, error)
        self._sse = SSEDecoder()
        #: None: not known yet, as nothing but blank has come.
        self._is_json: bool | None = None
        self._body: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        """Append the events in `chunk`."""
        if self._is_json is not False:
            chunk = self._sniff(chunk)
        for event in self._sse.feed(chunk):
            self.frame(event, events)
            if self.complete:
                break

    def close(self, events: deque[Event]) -> None:
        """The input has ended."""
        if self._is_json:
            self.document(b"".join(self._body), events)
            self.complete = True
            return
        if not self.complete:
            self._rest(events)
        if self.complete:
            return
        if not self.finished:
            self.flush(events)
            raise self.truncated()
        self.complete = True
        self.end(events)

    def truncated(self) -> TruncatedStreamError:
        """The fault of an end that came too early."""
        return TruncatedStreamError(
            f"the stream ended without {self.mark}", hint="the answer is incomplete; ask again", sent=True
        )

    def whole(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole body."""
        if not body[:64].lstrip(BLANK).startswith(FIELDS):
            self.document(body, events)
            return
        self.feed(body, events)
        if not self.complete:
            self.close(events)

    def frame(self, event: ServerEvent, events: deque[Event]) -> None:
        """Append the events of one frame; raises `MalformedAnswerError` for what is none."""
        raise NotImplementedError

    def document(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of one JSON document."""
        raise NotImplementedError

    def end(self, events: deque[Event]) -> None:
        """Append the last events of a stream that has ended well."""

    def flush(self, events: deque[Event]) -> None:
        """Append what was held back of a stream that breaks off."""

    def _rest(self, events: deque[Event]) -> None:
        """The last frame, which may be half a one: that is no fault of its own, unless it tells of one."""
        for event in self._sse.close():
            try:
                self.frame(event, events)
            except MalformedAnswerError:
                if not self.finished and tells(event.data, event.event):
                    raise

    def _sniff(self, chunk: bytes) -> bytes:
        """What of `chunk` is a stream."""
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


def tells(data: bytes, event: str = "") -> bool:
    """Does this speak of an error, so that it can be quoted? All else may be content."""
    begin = data[:16].lstrip()
    if begin[:1] != b"{":
        return event == "error" or bool(begin)
    return event == "error" or begin.startswith((b'{"error"', b'{"detail"'))


def unreadable(
    what: str, data: bytes, error: Callable[[object], GleitzeitError], event: str = ""
) -> MalformedAnswerError:
    """The fault of data that is not `what`, quoted as errors are: bounded, without keys, and no content."""
    told = error(data).message if tells(data, event) else f"{len(data)} bytes of content"
    return MalformedAnswerError(f"the answer is not {what}: {told}", body=data, sent=True)
