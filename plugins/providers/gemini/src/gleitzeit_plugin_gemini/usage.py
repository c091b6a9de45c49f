"""Usage and finish reasons in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.values import FinishReason, Usage

__all__ = ["finish_reason", "usage_of"]

_REASONS: Final[Mapping[str, FinishReason]] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "paused",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "refusal",
    ),
    **dict.fromkeys(
        (
            "LANGUAGE",
            "OTHER",
            "MALFORMED_FUNCTION_CALL",
            "MALFORMED_RESPONSE",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "IMAGE_OTHER",
            "NO_IMAGE",
        ),
        "error",
    ),
}


def finish_reason(word: Any, *, calls: bool) -> FinishReason:
    """Why an answer ended: by what came, and by the vendor's word where that says more."""
    reason = _REASONS.get(word) if isinstance(word, str) else None
    return reason or ("tool_calls" if calls else "stop")


def usage_of(raw: Any) -> Usage | None:
    """Usage from `usageMetadata`; None where it counts nothing."""
    if type(raw) is not dict:
        return None
    read = _sum(_count(raw, "promptTokenCount"), _count(raw, "toolUsePromptTokenCount"))
    thoughts = _count(raw, "thoughtsTokenCount")
    said = _count(raw, "candidatesTokenCount")
    written = _sum(_count(raw, "responseTokenCount") if said is None else said, thoughts)
    cached = _count(raw, "cachedContentTokenCount")
    if read is written is cached is None:
        return None
    return Usage(input=read, output=written, cache_read=cached, reasoning=thoughts, raw=raw)


def _count(raw: dict[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if type(value) is int and value >= 0 else None


def _sum(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else first + second
