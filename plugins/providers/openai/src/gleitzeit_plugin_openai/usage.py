"""Usage and finish reasons in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.values import FinishReason, Usage

__all__ = ["finish_reason", "usage_of"]

_REASONS: Final[Mapping[str, FinishReason]] = {
    "length": "length",
    "max_output_tokens": "length",
    "max_messages": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_exceeded",
    "pause_turn": "paused",
    "queued": "paused",
    "in_progress": "paused",
    "steered": "paused",
    "error": "error",
    "failed": "error",
    "cancelled": "error",
    "insufficient_system_resource": "error",
}


def finish_reason(word: Any, *, calls: bool, refused: bool = False) -> FinishReason:
    """Why an answer ended: by what came, and by the vendor's word where that says more."""
    reason = _REASONS.get(word) if isinstance(word, str) else None
    if reason is not None:
        return reason
    return "tool_calls" if calls else "refusal" if refused else "stop"


def usage_of(raw: Any) -> Usage | None:
    """Usage from its object on the wire; None where there is none, or it counts nothing."""
    if not isinstance(raw, Mapping):
        return None
    read = _inner(raw, "prompt_tokens_details") or _inner(raw, "input_tokens_details")
    written = _inner(raw, "completion_tokens_details") or _inner(raw, "output_tokens_details")
    usage = Usage(
        input=_first(raw.get("prompt_tokens"), raw.get("input_tokens")),
        output=_first(raw.get("completion_tokens"), raw.get("output_tokens")),
        cache_read=_first(read.get("cached_tokens"), raw.get("prompt_cache_hit_tokens")),
        cache_write=_first(read.get("cache_write_tokens")),
        reasoning=_first(written.get("reasoning_tokens"), raw.get("reasoning_tokens")),
        raw=raw,
    )
    return None if usage == Usage() else usage


def _inner(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, Mapping) else {}


def _first(*values: Any) -> int | None:
    """The first count among `values`; some servers write floats."""
    for value in values:
        if type(value) is int and value >= 0:
            return value
        if type(value) is float and value >= 0 and value.is_integer():
            return int(value)
    return None
