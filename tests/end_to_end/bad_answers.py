"""How each wire breaks off, refuses to answer, or writes calls that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.errors import (
    ContentRefusedError,
    GleitzeitError,
    MalformedAnswerError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFaultError,
)
from gleitzeit.testing.faulty import sse

__all__ = ["BROKEN_CALLS", "ENDINGS", "ERRORS", "BrokenCall", "Ending", "StreamError", "error_body"]


@frozen(kw_only=True)
class StreamError:
    """What a wire sends within a stream that began well, and what it is."""

    what: str = field(kw_only=False)
    error: type[GleitzeitError] = field(kw_only=False)
    frame: bytes = field(kw_only=False, repr=False)
    code: str | None = None
    #: Words of the vendor that must be told.
    says: str = "it burns"


def _failed(code: str) -> bytes:
    told = {"error": {"code": code, "message": "it burns"}, "output": []}
    response = {"id": "resp_1", "object": "response", "status": "failed", "model": "m-1", **told}
    return sse({"type": "response.failed", "sequence_number": 9, "response": response})


def _event(kind: str, type: str, code: str | None = None) -> bytes:
    return sse({"error": {"message": "it burns", "type": type, "code": code}}, event=kind)


def _claude(type: str) -> bytes:
    return sse({"type": "error", "error": {"type": type, "message": "it burns"}}, event="error")


def _google(status: int, word: str) -> bytes:
    return sse({"error": {"code": status, "message": "it burns", "status": word}})


_LOOSE: Final = StreamError(
    "a frame that is no JSON", MalformedAnswerError, b'data: {"error": "it burns\n\nlines: of a traceback\n\n'
)

#: By wire. After each of them the connection ends.
ERRORS: Final[Mapping[str, tuple[StreamError, ...]]] = {
    "chat": (
        StreamError("a fault", ServerFaultError, _event("message", "server_error"), code="server_error"),
        StreamError(
            "an event of its own",
            MalformedAnswerError,
            _event("error", "invalid_request_error", "tool_use_failed"),
            code="tool_use_failed",
        ),
        StreamError(
            "a quota",
            QuotaExhaustedError,
            _event("message", "insufficient_quota", "insufficient_quota"),
            code="insufficient_quota",
        ),
        StreamError(
            "a number for a code", RateLimitedError, sse({"error": {"code": 429, "message": "it burns"}})
        ),
        _LOOSE,
    ),
    "responses": (
        StreamError("a failed answer", ServerFaultError, _failed("server_error"), code="server_error"),
        StreamError("a limit", RateLimitedError, _failed("rate_limit_exceeded"), code="rate_limit_exceeded"),
        StreamError(
            "an error event",
            OverloadedError,
            sse({"type": "error", "code": "server_is_overloaded", "message": "it burns", "param": None}),
            code="server_is_overloaded",
        ),
        _LOOSE,
    ),
    "messages": (
        StreamError("overload", OverloadedError, _claude("overloaded_error"), code="overloaded_error"),
        StreamError("a fault", ServerFaultError, _claude("api_error"), code="api_error"),
        _LOOSE,
    ),
    "generate": (
        StreamError("overload", OverloadedError, _google(503, "UNAVAILABLE"), code="UNAVAILABLE"),
        StreamError(
            "a limit", RateLimitedError, _google(429, "RESOURCE_EXHAUSTED"), code="RESOURCE_EXHAUSTED"
        ),
        _LOOSE,
    ),
    "lines": (
        StreamError("a fault", ServerFaultError, b'{"error": "it burns"}\n'),
        StreamError("a line that is no JSON", MalformedAnswerError, b'{"error": "it burns\n'),
    ),
}


def error_body(wire: str) -> tuple[Any, type[GleitzeitError]]:
    """An error as a whole body, and what it is."""
    bodies: dict[str, tuple[Any, type[GleitzeitError]]] = {
        "chat": ({"error": {"message": "it burns", "code": "rate_limit_exceeded"}}, RateLimitedError),
        "responses": ({"error": {"message": "it burns", "code": "insufficient_quota"}}, QuotaExhaustedError),
        "messages": (
            {"type": "error", "error": {"type": "overloaded_error", "message": "it burns"}},
            OverloadedError,
        ),
        "generate": (
            {"error": {"code": 503, "message": "it burns", "status": "UNAVAILABLE"}},
            OverloadedError,
        ),
        "lines": ({"error": "it burns"}, ServerFaultError),
    }
    return bodies[wire]


@frozen(kw_only=True)
class Ending:
    """An answer that ends otherwise than with a good sentence: changes of a good body."""

    what: str = field(kw_only=False)
    #: Ours and the vendor's word.
    reason: str = field(kw_only=False)
    raw: str = field(kw_only=False)
    #: Merged into the body, at any depth; lists by their first item.
    change: Mapping[str, Any] = field(repr=False)
    #: None: it is an answer that says why it ended.
    error: type[GleitzeitError] | None = None

    def body(self, good: Any) -> Any:
        """The body, from one that ends well."""
        return _merged(good, self.change)


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, list) and isinstance(new, Mapping) and old:
        return [_merged(old[0], new), *old[1:]]
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return new


def _incomplete(reason: str) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


_BLOCKED: Final = {"candidates": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}

#: By wire.
ENDINGS: Final[Mapping[str, tuple[Ending, ...]]] = {
    "chat": tuple(
        Ending(what, reason, word, change={"choices": {"finish_reason": word}})
        for what, reason, word in (
            ("a filter", "refusal", "content_filter"),
            ("the limit", "length", "length"),
            ("a new word", "stop", "sparkle"),
        )
    ),
    "responses": tuple(
        Ending(what, reason, f"incomplete:{word}", change=_incomplete(word))
        for what, reason, word in (
            ("a filter", "refusal", "content_filter"),
            ("the limit", "length", "max_output_tokens"),
        )
    ),
    "messages": tuple(
        Ending(what, reason, word, change={"stop_reason": word})
        for what, reason, word in (
            ("a refusal", "refusal", "refusal"),
            ("the limit", "length", "max_tokens"),
            ("a pause", "paused", "pause_turn"),
            ("a full window", "context_exceeded", "model_context_window_exceeded"),
        )
    ),
    "generate": (
        *(
            Ending(what, reason, word, change={"candidates": {"finishReason": word}})
            for what, reason, word in (
                ("a filter", "refusal", "SAFETY"),
                ("an armour", "refusal", "MODEL_ARMOR"),
                ("the limit", "length", "MAX_TOKENS"),
                ("a call that the server cannot read", "error", "MALFORMED_FUNCTION_CALL"),
            )
        ),
        Ending(
            "a blocked prompt", "refusal", "PROHIBITED_CONTENT", change=_BLOCKED, error=ContentRefusedError
        ),
    ),
    "lines": (Ending("the limit", "length", "length", change={"done_reason": "length"}),),
}


@frozen(kw_only=True)
class BrokenCall:
    """Changes of a turn with two calls after which the arguments of the first cannot be read."""

    change: Mapping[str, Any] = field(repr=False)
    #: The text that must be kept.
    raw: str


_CUT: Final = '{"city": "Os'
_CALL: Final = {"message": {"tool_calls": {"function": {"arguments": _CUT}}}}

#: By wire; what is an object there cannot be cut, but it may be no object.
BROKEN_CALLS: Final[Mapping[str, BrokenCall]] = {
    "chat": BrokenCall(change={"choices": _CALL}, raw=_CUT),
    "responses": BrokenCall(change={"output": {"arguments": _CUT}}, raw=_CUT),
    "messages": BrokenCall(change={"content": {"input": _CUT}}, raw=_CUT),
    "generate": BrokenCall(
        change={"candidates": {"content": {"parts": {"functionCall": {"args": [_CUT]}}}}},
        raw=json.dumps([_CUT], separators=(",", ":")),
    ),
    "lines": BrokenCall(
        change={"message": {"tool_calls": {"function": {"arguments": [_CUT]}}}},
        raw=json.dumps([_CUT], separators=(",", ":")),
    ),
}
