"""The faults of the matrix, and what a caller must be told of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from gleitzeit import errors
from gleitzeit.errors import GleitzeitError
from tests.reliability.proxy import Fault

__all__ = ["CASES", "Case", "Expected"]

SHORT: Final = 0.3  # seconds for calls that only their deadline ends
LONG: Final = 5.0
BRIEF: Final = 0.1  # seconds of a phase that has its own limit
FLOOD: Final = 100_000_000

FIRST: Final = 10  # a byte of the body inside the first event of a stream: where its JSON begins
LATER: Final = 900  # … and behind the first events
INSIDE: Final = 100  # a byte inside the body of a whole answer


@dataclass(frozen=True)
class Expected:
    """How a call must end: with this error, or with an answer where it is None."""

    error: type[GleitzeitError] | None
    #: Does the call come again when retries are on? So for what is retryable before content was delivered.
    again: bool = False
    sent: bool | None = True
    retryable: bool = True
    #: Bounds of `retry_after` in seconds.
    wait: tuple[float, float] | None = None
    #: Did the reader of a stream see content before it broke?
    partial: bool = False


@dataclass(frozen=True)
class Case:
    """One fault; `fault` makes it anew for each request, given whether it is a stream."""

    name: str
    fault: Callable[[bool], Fault]
    unary: Expected
    stream: Expected
    deadline: float = LONG
    #: Nobody listens, or every connection is reset when it comes.
    connection: str = field(default="", kw_only=True)
    #: The target is left alone for longer than the deadline, as its answer asked for.
    cooled: bool = field(default=False, kw_only=True)
    #: The limits of single phases, as configured.
    timeouts: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    def expected(self, streamed: bool) -> Expected:
        """What this way of calling must end with."""
        return self.stream if streamed else self.unary


def _both(
    name: str, fault: Fault | Callable[[bool], Fault], expected: Expected, deadline: float = LONG, **more: Any
) -> Case:
    made = fault if callable(fault) else lambda streamed: fault
    return Case(name, made, expected, expected, deadline, **more)


def whole(
    status: int, body: object, *headers: str, kind: str = "application/json", size: int | None = None
) -> Fault:
    """An answer as it stands, with the length it says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Planned",
        f"content-type: {kind}",
        f"content-length: {len(data) if size is None else size}",
    ]
    return Fault(answer="\r\n".join([*lines, *headers, "", ""]).encode() + data)


def events(*frames: object, done: bool = False) -> Fault:
    """A stream of events that ends cleanly, with `[DONE]` or without."""
    texts = [frame if isinstance(frame, str) else json.dumps(frame) for frame in frames]
    lines = [f"data: {text}\n\n".encode() for text in [*texts, *(["[DONE]"] if done else [])]]
    return Fault(
        answer=_CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"
    )


_CHUNKED: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORD: Final = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": "half "}}]}
OVERLOADED: Final = {"error": {"message": "the engine is overloaded", "type": "overloaded_error"}}
BUSY: Final = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
BROKEN: Final = {"error": {"message": "broken", "type": "server_error"}}
RETRY_INFO: Final = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "slow down",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}],
    }
}
QUOTA: Final = {"error": {"message": "no credit left", "code": "insufficient_quota"}}


def _date(streamed: bool) -> Fault:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=31), usegmt=True)
    return whole(429, BUSY, f"retry-after: {then}")


def _past(streamed: bool) -> Fault:
    return whole(429, BUSY, "retry-after: Sun, 06 Nov 1994 08:49:37 GMT")


def _limited(low: float, high: float, *, again: bool = True) -> Expected:
    return Expected(errors.RateLimitedError, again, wait=(low, high))


_FAR: Final = 1e9
RESET: Final = Expected(errors.ResetError, again=True)
RESET_LATE: Final = Expected(errors.ResetError, partial=True)
MALFORMED: Final = Expected(errors.MalformedAnswerError, again=True)
LATE: Final = Expected(errors.DeadlineError, sent=None, retryable=False)
TIMED: Final = Expected(errors.DeadlineError, again=True)
FULL: Final = Expected(errors.OverloadedError, again=True)
GOOD: Final = Expected(None)

CASES: Final[tuple[Case, ...]] = (
    _both(
        "connection refused",
        Fault(),
        Expected(errors.CannotConnectError, again=True, sent=False),
        connection="refused",
    ),
    _both("reset on accept", Fault(), RESET, connection="reset"),
    _both("reset before the head", Fault(answer=b"", end="reset"), RESET),
    _both("closed before the head", Fault(answer=b"", end="close"), RESET),
    _both("reset before the first event", Fault(cut=FIRST, end="reset"), RESET),
    Case(
        "reset inside the body", lambda s: Fault(cut=LATER if s else INSIDE, end="reset"), RESET, RESET_LATE
    ),
    _both("closed before the first event", Fault(cut=FIRST, end="close"), RESET),
    Case(
        "closed inside the body", lambda s: Fault(cut=LATER if s else INSIDE, end="close"), RESET, RESET_LATE
    ),
    _both("black hole", Fault(answer=b"", end="hold"), LATE, SHORT),
    _both("slow head", Fault(head_rate=60), LATE, SHORT),
    _both("slow body", Fault(rate=100), LATE, SHORT),
    _both(
        "black hole, attempts of 0.1 s",
        Fault(answer=b"", end="hold"),
        TIMED,
        timeouts={"attempt": BRIEF},
    ),
    Case(
        "black hole, first event in 0.1 s",
        lambda s: Fault(answer=b"", end="hold"),
        LATE,
        TIMED,
        SHORT * 4,
        timeouts={"first_event": BRIEF},
    ),
    Case(
        "head, then silence, 0.1 s each",
        lambda s: Fault(cut=0, end="hold"),
        TIMED,
        TIMED,
        timeouts={"attempt": BRIEF, "first_event": BRIEF},
    ),
    Case(
        "silence of more than 0.1 s",
        lambda s: Fault(cut=LATER if s else INSIDE, end="hold"),
        TIMED,
        Expected(errors.DeadlineError, partial=True),
        timeouts={"attempt": BRIEF, "idle": BRIEF},
    ),
    Case(
        "silence inside the body",
        lambda s: Fault(cut=LATER if s else INSIDE, end="hold"),
        LATE,
        Expected(errors.DeadlineError, sent=None, retryable=False, partial=True),
        SHORT,
    ),
    _both("corrupt status line", Fault(answer=b"HTPT/1.1 2x0 ?\r\n\r\n", end="close"), RESET),
    _both("corrupt byte", lambda s: Fault(corrupt=FIRST if s else 0), MALFORMED),
    _both("corrupt chunk size", Fault(answer=_CHUNKED + b"zz\r\n?\r\n0\r\n\r\n", end="close"), RESET),
    _both(
        "half of the JSON",
        lambda s: (
            events('{"id": "x", "choi', done=True) if s else whole(200, b'{"id": "x", "choices": [{"me')
        ),
        MALFORMED,
    ),
    Case(
        "end without a terminal mark",
        lambda s: events(WORD, WORD) if s else whole(200, b""),
        MALFORMED,
        Expected(errors.TruncatedStreamError, partial=True),
    ),
    Case(
        "nothing at all in a 200",
        lambda s: events() if s else whole(200, {}),
        MALFORMED,
        Expected(errors.TruncatedStreamError, again=True),
    ),
    _both("error inside a 200", lambda s: events(OVERLOADED) if s else whole(200, OVERLOADED), FULL),
    Case(
        "error after content",
        lambda s: events(WORD, WORD, OVERLOADED) if s else whole(200, OVERLOADED),
        FULL,
        Expected(errors.OverloadedError, partial=True),
    ),
    _both("429, retry-after-ms", whole(429, BUSY, "retry-after-ms: 20"), _limited(0.02, 0.02)),
    _both("429, seconds", whole(429, BUSY, "retry-after: 0.03"), _limited(0.03, 0.03)),
    _both("429, a date", _date, _limited(28, 31, again=False), cooled=True),
    _both("429, a date in the past", _past, _limited(0, 0)),
    _both("429, RetryInfo of 37 s", whole(429, RETRY_INFO), _limited(37, 37, again=False), cooled=True),
    _both(
        "429, a thousand years",
        whole(429, BUSY, "retry-after: 31556952000"),
        _limited(0, _FAR * 100, again=False),
        cooled=True,
    ),
    _both("429, no hint", whole(429, BUSY), Expected(errors.RateLimitedError, again=True)),
    _both(
        "429, the quota",
        whole(429, QUOTA),
        Expected(errors.QuotaExhaustedError, retryable=False),
        cooled=True,
    ),
    _both("500", whole(500, BROKEN), Expected(errors.ServerFaultError, again=True)),
    _both("503", whole(503, BROKEN), FULL),
    _both("529", whole(529, OVERLOADED), FULL),
    _both(
        "503 that asks for no retry",
        whole(503, BROKEN, "x-should-retry: false"),
        Expected(errors.OverloadedError, retryable=False),
    ),
    _both("408", whole(408, BROKEN), Expected(errors.DeadlineError, again=True)),
    _both(
        "401",
        whole(401, {"error": {"message": "no such key"}}),
        Expected(errors.AuthenticationError, retryable=False),
    ),
    _both(
        "400", whole(400, {"error": {"message": "no"}}), Expected(errors.InvalidRequestError, retryable=False)
    ),
    _both("a page of HTML", whole(200, b"<html><title>Login</title>", kind="text/html"), MALFORMED),
    _both(
        "a redirect",
        whole(302, b"", "location: /login"),
        Expected(errors.MalformedAnswerError, retryable=False),
    ),
    Case(
        "100 MB without a newline",
        lambda s: Fault(
            answer=_CHUNKED + b"%x\r\ndata: " % (FLOOD + 6) if s else whole(200, b"{", size=FLOOD + 1).answer,
            flood=FLOOD,
            end="close",
        ),
        MALFORMED,
        Expected(errors.MalformedAnswerError, retryable=False),
        LONG * 12,  # a busy machine moves them slowly, and more than once
    ),
    _both("late, with jitter", Fault(delay=0.02, jitter=0.05), GOOD),
    _both("all well", Fault(), GOOD),
)
