"""How vendors refuse, each in its own words, and what we must make of it.

The bodies are written from the vendors' documentation and published schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

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

__all__ = ["ODD", "REFUSALS", "Refusal"]


@frozen(kw_only=True)
class Refusal:
    """An answer with a bad status, and the error that it is."""

    what: str = field(kw_only=False)
    status: int = field(kw_only=False)
    error: type[GleitzeitError] = field(kw_only=False)
    body: Any = field(repr=False)
    #: The vendor's word.
    code: str | None = None
    #: A word of the next step.
    hint: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    #: Seconds to wait.
    wait: float | None = None
    retryable: bool | None = None

    @property
    def passes(self) -> bool:
        """Is it worth asking again?"""
        return self.error.retryable if self.retryable is None else self.retryable

    @property
    def raw(self) -> str:
        """The body on the wire, as much as an error keeps."""
        made = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return made[:4096]


def _openai(message: str, code: str | None, type: str = "invalid_request_error", **more: Any) -> Any:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def _openais() -> Iterator[Refusal]:
    yield Refusal(
        "a wrong key",
        401,
        AuthenticationError,
        code="invalid_api_key",
        hint="api_key",
        body=_openai("Incorrect API key provided: sk-x***.", "invalid_api_key"),
    )
    yield Refusal(
        "an unknown model",
        404,
        UnknownModelError,
        code="model_not_found",
        body=_openai("The model `m` does not exist or you do not have access to it.", "model_not_found"),
    )
    yield Refusal(
        "a refused parameter",
        400,
        UnsupportedError,
        code="unsupported_parameter",
        body=_openai("Unsupported parameter: 'logit_bias'.", "unsupported_parameter", param="logit_bias"),
    )
    yield Refusal(
        "a wrong value",
        400,
        InvalidRequestError,
        code="invalid_request_error",
        body=_openai("Invalid type for 'n': expected an integer.", None, param="n"),
    )
    yield Refusal(
        "a context too long",
        400,
        TooLongError,
        code="context_length_exceeded",
        hint="shorten",
        body=_openai("Your input exceeds the context window of this model.", "context_length_exceeded"),
    )
    yield Refusal(
        "a rate limit",
        429,
        RateLimitedError,
        code="rate_limit_exceeded",
        hint="later",
        headers={"retry-after-ms": "1500", "retry-after": "2"},
        wait=1.5,
        body=_openai("Rate limit reached for requests.", "rate_limit_exceeded", "requests"),
    )
    yield Refusal(
        "a quota",
        429,
        QuotaExhaustedError,
        code="insufficient_quota",
        hint="credit",
        body=_openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    )
    yield Refusal(
        "a content policy",
        400,
        ContentRefusedError,
        code="content_policy_violation",
        hint="change the request",
        body=_openai("Your request was rejected by our safety system.", "content_policy_violation"),
    )
    yield Refusal(
        "overload",
        503,
        OverloadedError,
        code="server_is_overloaded",
        hint="later",
        headers={"retry-after": "3"},
        wait=3.0,
        body=_openai("The engine is currently overloaded.", "server_is_overloaded", "server_error"),
    )
    yield Refusal(
        "a fault of the server that is not to be repeated",
        500,
        ServerFaultError,
        code="server_error",
        headers={"x-should-retry": "false"},
        retryable=False,
        body=_openai("The server had an error.", None, "server_error"),
    )


def _azures() -> Iterator[Refusal]:
    yield from _openais()
    yield Refusal(
        "a wrong key of the resource",
        401,
        AuthenticationError,
        hint="AZURE_OPENAI_API_KEY",
        body={"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
    )
    yield Refusal(
        "a missing deployment",
        404,
        UnknownModelError,
        code="DeploymentNotFound",
        hint="deployment",
        body={"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
    )
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
    yield Refusal(
        "a content filter",
        400,
        ContentRefusedError,
        code="ResponsibleAIPolicyViolation",
        hint="change the request",
        body=_openai("The prompt triggered the filter.", "content_filter", innererror=inner),
    )
    yield Refusal(
        "a rate limit of the deployment",
        429,
        RateLimitedError,
        wait=26.0,
        body={"error": {"code": "429", "message": "Rate limit is exceeded. Try again in 26 seconds."}},
    )


def _anthropic(type: str, message: str, code: str | None = None) -> Any:
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": type, "message": message, **details}, "request_id": "req_7"}


def _anthropics() -> Iterator[Refusal]:
    rows: tuple[tuple[str, int, type[GleitzeitError], str, str, str | None], ...] = (
        ("a wrong key", 401, AuthenticationError, "authentication_error", "invalid x-api-key", None),
        ("an unknown model", 404, UnknownModelError, "not_found_error", "model: claude-x", None),
        ("a key that may not", 403, PermissionDeniedError, "permission_error", "No access.", None),
        (
            "a refused parameter",
            400,
            InvalidRequestError,
            "invalid_request_error",
            "stop_sequences: no",
            None,
        ),
        (
            "a context too long",
            400,
            TooLongError,
            "invalid_request_error",
            "prompt is too long: 9 > 8",
            None,
        ),
        (
            "a content filter",
            400,
            ContentRefusedError,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            None,
        ),
        ("a request too large", 413, TooLongError, "request_too_large", "Request exceeds the size.", None),
        ("an unpaid bill", 402, QuotaExhaustedError, "billing_error", "Your credit is too low.", None),
        (
            "a spend limit",
            429,
            QuotaExhaustedError,
            "rate_limit_error",
            "No more.",
            "enforced_spend_limit_reached",
        ),
        ("a ramp limit", 429, RateLimitedError, "rate_limit_error", "Slowly.", "ramp_limit_exceeded"),
        ("a rate limit", 429, RateLimitedError, "rate_limit_error", "Slowly.", None),
        ("overload", 529, OverloadedError, "overloaded_error", "Overloaded", None),
        ("an internal fault", 500, ServerFaultError, "api_error", "Internal server error", None),
        ("a timeout", 504, DeadlineError, "timeout_error", "Took too long.", None),
    )
    for what, status, error, type, message, code in rows:
        waits = status in (429, 529)
        yield Refusal(
            what,
            status,
            error,
            code=code or type,
            hint="ANTHROPIC_API_KEY" if status == 401 else "",
            headers={"retry-after": "12"} if waits else {},
            wait=12.0 if waits else None,
            retryable=True if error is DeadlineError else None,
            body=_anthropic(type, message, code),
        )


def _google(status: int, word: str, message: str, *details: Any) -> Any:
    return {"error": {"code": status, "message": message, "status": word, "details": list(details)}}


def _googles() -> Iterator[Refusal]:
    info = "type.googleapis.com/google.rpc."
    wrong = {"@type": f"{info}ErrorInfo", "reason": "API_KEY_INVALID"}
    daily = {
        "@type": f"{info}QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
    }
    later = {"@type": f"{info}RetryInfo", "retryDelay": "34.4s"}
    long = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    gone = "models/x is not found for API version v1beta, or is not supported for generateContent."
    rows: tuple[tuple[str, int, type[GleitzeitError], str, str, tuple[Any, ...]], ...] = (
        ("a wrong key", 400, AuthenticationError, "INVALID_ARGUMENT", "API key not valid.", (wrong,)),
        ("an expired token", 401, AuthenticationError, "UNAUTHENTICATED", "Expired.", ()),
        ("a key that may not", 403, PermissionDeniedError, "PERMISSION_DENIED", "No.", ()),
        ("an unknown model", 404, UnknownModelError, "NOT_FOUND", gone, ()),
        ("a refused parameter", 400, InvalidRequestError, "INVALID_ARGUMENT", 'Unknown name "x".', ()),
        ("a context too long", 400, TooLongError, "INVALID_ARGUMENT", long, ()),
        ("a rate limit", 429, RateLimitedError, "RESOURCE_EXHAUSTED", "Later.", (later,)),
        ("a quota", 429, QuotaExhaustedError, "RESOURCE_EXHAUSTED", "Quota exceeded.", (daily,)),
        ("overload", 503, OverloadedError, "UNAVAILABLE", "The model is overloaded.", ()),
        ("an internal fault", 500, ServerFaultError, "INTERNAL", "Oops.", ()),
        ("a timeout", 504, DeadlineError, "DEADLINE_EXCEEDED", "Took too long.", ()),
    )
    for what, status, error, word, message, details in rows:
        yield Refusal(
            what,
            status,
            error,
            code="API_KEY_INVALID" if details == (wrong,) else word,
            hint="set `" if error is AuthenticationError else "",
            wait=34.4 if details == (later,) else None,
            retryable=True if error is DeadlineError else None,
            body=_google(status, word, message, *details),
        )


def _ollamas() -> Iterator[Refusal]:
    rows: tuple[tuple[str, int, type[GleitzeitError], str], ...] = (
        ("a wrong key", 401, AuthenticationError, "unauthorized"),
        ("an unknown model", 404, UnknownModelError, "model 'x' not found"),
        ("a refused parameter", 400, UnsupportedError, '"x" does not support thinking'),
        ("a wrong value", 400, InvalidRequestError, "invalid options: num_ctx"),
        ("a context too long", 400, TooLongError, "the input length exceeds the context length"),
        ("a rate limit", 429, RateLimitedError, "too many requests"),
        ("a quota", 402, QuotaExhaustedError, "you have reached your usage limit"),
        ("overload", 503, OverloadedError, "server busy, please try again."),
        ("a model that does not run", 500, ServerFaultError, "llama runner process has terminated"),
        ("a cloud that does not answer", 502, ServerFaultError, "upstream error"),
    )
    for what, status, error, message in rows:
        hint = "api_key" if error is AuthenticationError else ""
        yield Refusal(what, status, error, hint=hint, body={"error": message})


#: By plugin.
REFUSALS: Final[Mapping[str, tuple[Refusal, ...]]] = {
    "openai": tuple(_openais()),
    "huggingface-router": tuple(_openais()),
    "azure-openai": tuple(_azures()),
    "anthropic": tuple(_anthropics()),
    "gemini": tuple(_googles()),
    "ollama": tuple(_ollamas()),
}
_HTML: Final = {"content-type": "text/html"}
_TEXT: Final = {"content-type": "text/plain"}

#: What stands between us and any vendor may say.
ODD: Final = (
    Refusal(
        "HTML of a gateway",
        502,
        ServerFaultError,
        headers=_HTML,
        body="<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    ),
    Refusal(
        "HTML of a gateway that waits",
        503,
        OverloadedError,
        headers={**_HTML, "retry-after": "30"},
        wait=30.0,
        body="<!doctype html><title>Service &amp; Unavailable</title>",
    ),
    Refusal("HTML of a login", 403, PermissionDeniedError, headers=_HTML, body="<html>Sign in</html>"),
    Refusal("nothing", 500, ServerFaultError, headers=_TEXT, body=""),
    Refusal("nothing, and too much of it", 429, RateLimitedError, headers=_TEXT, body=""),
    Refusal("text", 500, ServerFaultError, headers=_TEXT, body="upstream connect error"),
    Refusal("text of a refusal", 400, InvalidRequestError, headers=_TEXT, body="bad request"),
    Refusal("half of a JSON", 500, ServerFaultError, body='{"error": {"message": "it br'),
    Refusal("a list", 500, ServerFaultError, body=[]),
    Refusal("a list of errors", 400, InvalidRequestError, body=[{"error": {"code": 400, "message": "no"}}]),
    Refusal("a null", 500, ServerFaultError, body="null"),
    Refusal("a number for a code", 429, RateLimitedError, body={"error": {"code": 429, "message": "slow"}}),
    Refusal("an error of text", 500, ServerFaultError, body={"error": "it broke"}),
    Refusal("a detail", 422, InvalidRequestError, body={"detail": "unprocessable"}),
    Refusal("details", 422, InvalidRequestError, body={"detail": [{"loc": ["body", "n"], "msg": "no"}]}),
    Refusal("more than anybody reads", 500, ServerFaultError, headers=_TEXT, body="x" * 100_000),
    Refusal("no path", 404, InvalidRequestError, headers=_TEXT, hint="base_url", body="404 page not found"),
    Refusal("a conflict", 409, ServerFaultError, body={"message": "conflict"}),
    Refusal("a timeout", 408, DeadlineError, retryable=True, headers=_TEXT, body=""),
    Refusal("a redirect", 302, MalformedAnswerError, retryable=False, hint="base_url", body=""),
)
