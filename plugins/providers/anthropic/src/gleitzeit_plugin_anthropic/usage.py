"""Usage and finish reasons in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.values import FinishReason, Usage

__all__ = ["finish_reason", "merged", "usage_of"]

_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "context_exceeded",
    "refusal": "refusal",
    "pause_turn": "paused",
    "compaction": "paused",  # as with a paused turn: send it back to go on
}


def finish_reason(word: Any, *, calls: bool) -> FinishReason:
    """Why an answer ended: by what came, and by the vendor's word where that says more."""
    reason = _REASONS.get(word) if isinstance(word, str) else None
    return reason or ("tool_calls" if calls else "stop")


def merged(before: Mapping[str, Any] | None, update: Any) -> Mapping[str, Any] | None:
    """Usage restated in a stream: what is told again replaces what was told, and nothing is added up."""
    if not isinstance(update, Mapping):
        return before
    told = {name: value for name, value in update.items() if value is not None}
    return {**(before or {}), **told}


def usage_of(raw: Mapping[str, Any] | None) -> Usage | None:
    """Usage from its object on the wire; None where there is none, or it counts nothing."""
    if not isinstance(raw, Mapping):
        return None
    fresh, output = _count(raw, "input_tokens"), _count(raw, "output_tokens")
    written, read = _count(raw, "cache_creation_input_tokens"), _count(raw, "cache_read_input_tokens")
    if fresh is output is written is read is None:
        return None
    details = raw.get("output_tokens_details")
    return Usage(
        input=None if fresh is written is read is None else (fresh or 0) + (written or 0) + (read or 0),
        output=output,
        cache_read=read,
        cache_write=written,
        reasoning=_count(details, "thinking_tokens") if isinstance(details, Mapping) else None,
        raw=raw,
    )


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if type(value) is int and value >= 0 else None
