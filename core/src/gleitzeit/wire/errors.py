"""Error answers of HTTP APIs, whatever their shape, as our errors.

The tables are the union of what OpenAI, Anthropic, Gemini, Ollama and the servers that imitate
them send. Order of evidence: the vendor's words, then the HTTP status, then phrases of the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

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
from gleitzeit.wire.faults import Fault, read_fault, retry_after, should_retry
from gleitzeit.wire.limits import rate_limits
from gleitzeit.wire.scrub import scrub

__all__ = ["answer_error"]

_VOCABULARY: Final[Mapping[type[GleitzeitError], str]] = {
    AuthenticationError: """
        invalid_api_key authentication_error unauthenticated unauthorized api_key_invalid
        invalid_authentication invalid_authentication_error no_api_key missing_api_key""",
    PermissionDeniedError: """
        permission_error permission_denied forbidden access_denied unsupported_country_region_territory""",
    QuotaExhaustedError: """
        insufficient_quota billing_error billing_hard_limit_reached billing_not_active
        credit_balance_exhausted organization_usage_limit_exceeded insufficient_balance
        insufficient_credits""",
    RateLimitedError: """
        rate_limit_exceeded rate_limit_error ramp_limit_exceeded too_many_requests resource_exhausted""",
    OverloadedError: """
        overloaded_error overloaded server_is_overloaded engine_overloaded engine_overloaded_error
        service_unavailable unavailable""",
    ServerFaultError: "api_error server_error internal_server_error internal_error internal",
    DeadlineError: "timeout_error request_timeout deadline_exceeded",
    TooLongError: """
        context_length_exceeded exceed_context_size_error string_above_max_length request_too_large
        tokens_limit_reached""",
    ContentRefusedError: """
        content_filter content_policy_violation responsibleaipolicyviolation
        image_content_policy_violation bio_policy""",
    UnknownModelError: "model_not_found deploymentnotfound model_not_supported",
    UnsupportedError: "unsupported_value unsupported_parameter",
    # The model wrote a call that its own server cannot read: asking again may well succeed.
    MalformedAnswerError: "tool_use_failed",
    InvalidRequestError: """
        invalid_request_error invalid_argument not_found_error not_found invalid_prompt
        invalid_image invalid_image_format invalid_base64_image invalid_image_url invalid_image_mode
        image_too_large image_too_small image_parse_error image_file_too_large image_file_not_found
        unsupported_image_media_type empty_image_file data_residency_mismatch""",
}
_WORDS: Final = {word: cls for cls, words in _VOCABULARY.items() for word in words.split()}
#: Words that say less than the status beside them.
_VAGUE: Final = frozenset({InvalidRequestError, ServerFaultError})
_SPEND_LIMIT: Final = ("_spend_limit_reached", "_spend_limit_exceeded")

_STATUS: Final[Mapping[int, type[GleitzeitError]]] = {
    401: AuthenticationError,
    402: QuotaExhaustedError,
    403: PermissionDeniedError,
    408: DeadlineError,
    409: ServerFaultError,
    413: TooLongError,
    425: OverloadedError,
    429: RateLimitedError,
    503: OverloadedError,
    529: OverloadedError,
}

_TOO_LONG: Final = re.compile(
    r"""
    (?:maximum|max\w*|model'?s)\ context | context\ (?:length|window|size) | prompt\ is\ too\ long
  | too\ many\ tokens | input\ (?:is\ )?too\ long | reduce\ the\ length
  | input\ token\ count\b.{0,80}(?:exceeds | only\ supports)
    """,
    re.I | re.X,
)
_UNKNOWN_MODEL: Final = re.compile(
    r"""
    models?\b.{0,120}\b(?:not\ found | not\ exist | does\ not\ exist | unknown)
  | (?:unknown|invalid|no\ such)\ model | server\ is\ pinned\ to | not\ a\ valid\ model | \Amodel:[ ]
    """,
    re.I | re.X | re.S,
)
#: Ollama: "… does not support tools", 'think value "low" is not supported for this model'.
_UNSUPPORTED: Final = re.compile(
    r"\bdoes not support (?:tools|thinking|chat|generate|completion|insert|vision|embed|image)"
    r"|think value .{0,40}is not supported",
    re.I,
)
#: Anthropic, under a word that says less.
_REFUSED: Final = re.compile(r"\bblocked by content filtering policy", re.I)
_PHRASES: Final = (
    (_TOO_LONG, TooLongError),
    (_REFUSED, ContentRefusedError),
    (_UNKNOWN_MODEL, UnknownModelError),
    (_UNSUPPORTED, UnsupportedError),
)
_HINTS: Final[Mapping[type[GleitzeitError], str]] = {
    QuotaExhaustedError: "raise the account's limit or add credit at the provider",
    TooLongError: "shorten the request, or use a model with a larger context",
    UnsupportedError: "leave out what the message names, or take a target that can do it",
    DeadlineError: "ask again, for less at once, or name a fallback target in a route",
}


def answer_error(
    body: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    provider: str | None = None,
    request_id: str | None = None,
    secrets: Iterable[str] = (),
    hints: Mapping[type[GleitzeitError], str] | None = None,
) -> GleitzeitError:
    """The error that an answer means.

    `body` is bytes, text or decoded JSON of any shape; `status` is None for an error inside a
    stream. `hints` gives the next step by class of error. The message quotes at most 300
    characters of the vendor's text, without `secrets` and what looks like one; all else is in `body`.
    """
    fault = read_fault(body)
    headers = headers or {}
    cls = _class(status, fault)
    text = scrub(fault.message, secrets, limit=300)
    code = scrub(fault.code, secrets, limit=80) or None
    what = "an error inside the answer" if status is None or status < 300 else f"HTTP {status}"
    redirect = status is not None and 300 <= status < 400
    if redirect:
        what = f"{what}, a redirect, which is not followed"
    what = f"{provider}: {what}" if provider else what
    what = f"{what}, {code}" if code else what
    hint = next((line for kind, line in (hints or {}).items() if issubclass(cls, kind)), None) or _HINTS.get(
        cls
    )
    if hint is None and (redirect or (status in (404, 405) and cls is InvalidRequestError)):
        hint = "is `base_url` the address that the server's own documentation gives?"
    retryable = should_retry(headers)
    if retryable is None and redirect:
        retryable = False
    elif retryable is None and cls is DeadlineError:
        retryable = True  # it was the upstream's time that ran out, not the caller's
    error = cls(
        f"{what}: {text!r}" if text else what,
        hint=hint,
        provider=provider,
        status=status,
        vendor_code=code,
        request_id=request_id,
        retry_after=retry_after(headers, fault),
        retryable=retryable,
        sent=True,
        body=fault.raw,
    )
    error.limits = rate_limits(headers)
    return error


def _class(status: int | None, fault: Fault) -> type[GleitzeitError]:
    if fault.exhausted:
        return QuotaExhaustedError
    vague = None
    for word in fault.words:
        cls = QuotaExhaustedError if word.endswith(_SPEND_LIMIT) else _WORDS.get(word)
        if cls is not None and cls not in _VAGUE:
            return cls
        vague = vague or cls
    number = fault.status if status is None or status < 300 else status
    if number is not None and number in _STATUS:
        return _STATUS[number]
    if number is not None and 300 <= number < 400:
        return MalformedAnswerError
    for pattern, cls in _PHRASES:
        if pattern.search(fault.message, 0, 4096):
            return cls
    if number is None:
        return vague or ServerFaultError
    return InvalidRequestError if 400 <= number < 500 else ServerFaultError
