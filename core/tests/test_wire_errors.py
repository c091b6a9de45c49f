"""Error answers of any shape become the right error, and never show a key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import (
    AuthenticationError,
    ContentRefusedError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFaultError,
    TooLongError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.testing import strategies as some
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.faults import read_fault
from gleitzeit.wire.scrub import scrub


def openai(
    code: Any = None, type: str = "invalid_request_error", message: str = "Something is wrong."
) -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}).encode()


def gemini(code: int, status: str, *details: Mapping[str, Any], message: str = "No.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
PER_DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "RequestsPerDay"}],
}


@pytest.mark.parametrize(
    "status, body, expected",
    [
        (401, openai("invalid_api_key"), AuthenticationError),
        (401, b"", AuthenticationError),
        (402, b'{"error": "pay"}', QuotaExhaustedError),
        (403, openai("unsupported_country_region_territory"), PermissionDeniedError),
        (404, openai("model_not_found"), UnknownModelError),
        (404, b'{"error": "model \'llama9\' not found"}', UnknownModelError),
        (
            404,
            {"type": "error", "error": {"type": "not_found_error", "message": "model: x-9"}},
            UnknownModelError,
        ),
        (404, b"<html><head><title>404 Not Found</title></head></html>", InvalidRequestError),
        (400, {"error": {"message": "xyz is not a valid model ID", "code": 400}}, UnknownModelError),
        (405, b"", InvalidRequestError),
        (408, b"", DeadlineError),
        (409, b"", ServerFaultError),
        (413, b"", TooLongError),
        (422, b'{"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}', InvalidRequestError),
        (429, openai("rate_limit_exceeded", "requests"), RateLimitedError),
        (429, openai("insufficient_quota", "insufficient_quota"), QuotaExhaustedError),
        (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, RateLimitedError),
        (
            429,
            {
                "error": {
                    "type": "rate_limit_error",
                    "details": {"error_code": "enforced_spend_limit_reached"},
                }
            },
            QuotaExhaustedError,
        ),
        (429, {"error": {"details": {"error_code": "ramp_limit_exceeded"}}}, RateLimitedError),
        (429, gemini(429, "RESOURCE_EXHAUSTED", RETRY), RateLimitedError),
        (429, gemini(429, "RESOURCE_EXHAUSTED", PER_DAY, RETRY), QuotaExhaustedError),
        (400, gemini(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), AuthenticationError),
        (400, openai("context_length_exceeded"), TooLongError),
        (
            400,
            {"error": {"message": "This model's maximum context length is 4096 tokens.", "code": 400}},
            TooLongError,
        ),
        (
            400,
            {"error": {"message": "prompt is too long: 9 > 8", "type": "invalid_request_error"}},
            TooLongError,
        ),
        (400, openai("content_filter"), ContentRefusedError),
        (
            400,
            {"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            ContentRefusedError,
        ),
        (400, openai("unsupported_value"), UnsupportedError),
        (400, {"error": "registry.ollama.ai/library/x does not support tools"}, UnsupportedError),
        (400, {"error": 'think value "low" is not supported for this model'}, UnsupportedError),
        (400, openai("tool_use_failed"), MalformedAnswerError),
        (400, openai("some_new_word"), InvalidRequestError),
        (500, openai(None, "server_error"), ServerFaultError),
        (500, b"Internal Server Error", ServerFaultError),
        (502, b"<html><title>502 Bad Gateway</title></html>", ServerFaultError),
        (503, b"", OverloadedError),
        (504, b"", ServerFaultError),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, OverloadedError),
        (418, b"", InvalidRequestError),
        (302, b"", MalformedAnswerError),
        (None, {"error": {"code": "server_is_overloaded"}}, OverloadedError),
        (None, {"type": "error", "error": {"type": "overloaded_error"}}, OverloadedError),
        (None, {"error": {"message": "x", "code": 502}}, ServerFaultError),
        (None, {"error": {"message": "x", "code": "429"}}, RateLimitedError),
        (None, {"error": "something broke"}, ServerFaultError),
        (200, {"error": {"message": "x", "type": "invalid_request_error"}}, InvalidRequestError),
    ],
)
def test_words_status_and_phrases_decide(
    status: int | None, body: Any, expected: type[GleitzeitError]
) -> None:
    error = answer_error(body, status=status, provider="p")
    assert type(error) is expected
    assert (error.status, error.provider, error.sent) == (status, "p", True)


@pytest.mark.parametrize(
    "status, body, retryable",
    [
        (401, b"", False),
        (402, b"", False),
        (400, b"", False),
        (408, b"", True),
        (409, b"", True),
        (429, b"", True),
        (429, openai("insufficient_quota"), False),
        (500, b"", True),
        (503, b"", True),
        (529, b"", True),
        (302, b"", False),
    ],
)
def test_what_may_be_asked_again(status: int, body: bytes, retryable: bool) -> None:
    assert answer_error(body, status=status).retryable is retryable


@pytest.mark.parametrize(
    "body, message",
    [
        (b'{"error": {"message": "told"}}', "told"),
        (b'{"error": "told"}', "told"),
        (b'{"type": "error", "error": {"type": "x", "message": "told"}}', "told"),
        (b'[{"error": {"message": "told"}}]', "told"),
        (b'{"error": [{"message": "told"}]}', "told"),
        (b'{"detail": "told"}', "told"),
        (b'{"detail": {"message": "told"}}', "told"),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "told", "input": "secret"}]}', "body.n: told"),
        (b'{"detail": ["told", "again"]}', "told; again"),
        (b'{"message": "told", "code": 5}', "told"),
        (b'{"error": "overloaded", "message": "told"}', "told"),
        (b'{"object": "error", "message": "told", "code": null}', "told"),
        (b"told", "told"),
        ("<!DOCTYPE html><html><title>told &amp; done</title>", "told & done"),
        (b"<html><body>nothing</body></html>", "an HTML page"),
        (b'{"error": "told', '{"error": "told'),
        (b"", ""),
        (b"null", "null"),
        (b"[]", ""),
        (b"{}", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_every_shape_of_body_is_read(body: bytes | str, message: str) -> None:
    assert read_fault(body).message == message


@pytest.mark.parametrize("code", [None, 400, "400", "odd_word", 1.5, [], {}, True])
def test_a_code_of_any_type_does_no_harm(code: object) -> None:
    error = answer_error(json.dumps({"error": {"message": "x", "code": code}}).encode(), status=400)
    assert type(error) is InvalidRequestError
    assert error.vendor_code == ("odd_word" if code == "odd_word" else None)


@given(some.json_values(), st.none() | st.integers(100, 999))
def test_no_json_breaks_the_reading(body: Any, status: int | None) -> None:
    assert isinstance(answer_error(json.dumps(body).encode(), status=status), GleitzeitError)
    assert isinstance(answer_error(body, status=status), GleitzeitError)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    assert isinstance(answer_error(body, status=500), ServerFaultError)


def test_the_error_names_what_a_person_needs() -> None:
    error = answer_error(
        openai("invalid_api_key", message="Incorrect API key provided."),
        status=401,
        provider="acme",
        request_id="req-1",
        hints={AuthenticationError: "set api_key"},
    )
    assert str(error) == "acme: HTTP 401, invalid_api_key: 'Incorrect API key provided.' (set api_key)"
    assert (error.vendor_code, error.request_id) == ("invalid_api_key", "req-1")


def test_a_redirect_and_a_strange_page_hint_at_the_address() -> None:
    assert "base_url" in str(answer_error(b"", status=301))
    assert "base_url" in str(answer_error(b"<html></html>", status=404))


@pytest.mark.parametrize("word, retryable", [("true", True), ("false", False)])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_x_should_retry_has_the_last_word(status: int, word: str, retryable: bool) -> None:
    assert answer_error(b"", status=status, headers={"x-should-retry": word}).retryable is retryable


KEY = "sk-proj-abcdefgh0123456789ABCDEFGH"


@pytest.mark.parametrize(
    "message",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Incorrect API key provided: {KEY[:12]}***{KEY[-9:]}.",
        f"bad header 'Authorization: Bearer {KEY}'",
        f"https://example.org/v1?key={KEY}&x=1",
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_key_that_an_upstream_repeats_is_not_shown(message: str, known: bool) -> None:
    for body in (openai("invalid_api_key", message=message), message.encode(), openai(message)):
        error = answer_error(body, status=401, provider="p", secrets=[KEY] if known else [])
        shown = f"{error} {error!r} {error.to_dict()}"
        assert KEY[:12] not in shown
        assert KEY[-9:] not in shown


def test_a_key_of_unusual_shape_is_masked_when_it_is_known() -> None:
    assert scrub("wrong: hunter2!", ["hunter2"]) == "wrong: ***!"


@pytest.mark.parametrize(
    "text",
    ["AIzaSyA1234567890abcdef", "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "gsk_0123456789", "Basic dXNlcjpwYXNz"],
)
def test_what_looks_like_a_key_is_masked(text: str) -> None:
    assert scrub(f"given {text} here") == "given *** here"


def test_ordinary_text_is_left_alone() -> None:
    text = "The model `gpt-6-sol` does not support 'temperature' = 0.7; see https://example.org/docs?x=1"
    assert scrub(text) == text


def test_vendor_texts_are_bounded_and_printable() -> None:
    shown = scrub("a\x1b[31mred\r\n\u2028" + "x" * 1000)
    assert shown.startswith("a [31mred x")
    assert len(shown) == 300


def test_the_raw_body_is_kept_and_bounded() -> None:
    error = answer_error(b'{"error": "' + b"x" * 10_000, status=500)
    assert error.body is not None
    assert len(error.body) == 4096
    assert answer_error({"error": {"message": "m"}}).body == '{"error":{"message":"m"}}'
