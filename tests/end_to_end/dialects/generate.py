"""Content of Gemini."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gleitzeit.testing.faulty import sse
from tests.end_to_end.dialects.words import CALLS, MODEL, READ, SENTENCE, THOUGHT, WROTE, Dialect

__all__ = ["GENERATE"]

_WROTE_ALOUD: Final = 5


def _generated(parts: list[Any]) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": READ, "candidatesTokenCount": _WROTE_ALOUD}
    usage |= {"thoughtsTokenCount": WROTE - _WROTE_ALOUD, "totalTokenCount": READ + WROTE}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, "responseId": "r-1"}


def _generated_calls(state: str | None) -> dict[str, Any]:
    calls: list[Any] = [{"functionCall": {"name": name, "args": dict(value)}} for name, value in CALLS]
    if state is None:
        return _generated(calls)
    calls[0]["thoughtSignature"] = state
    return _generated([{"text": THOUGHT, "thought": True}, *calls])


def _generated_frames(body: Any) -> Iterable[bytes]:
    (candidate,) = body["candidates"]
    parts = candidate["content"]["parts"]
    pieces = [piece for part in parts for piece in _split(part)]
    for at, piece in enumerate(pieces):
        held = {"content": {"role": "model", "parts": [piece]}, "index": 0}
        if at == len(pieces) - 1:
            held["finishReason"] = candidate["finishReason"]
        yield sse({**body, "candidates": [held]}, "\r\n")


def _split(part: Any) -> list[Any]:
    """A text in two pieces; all else comes whole."""
    text = part.get("text")
    return [part] if text is None else [{**part, "text": text[:5]}, {**part, "text": text[5:]}]


GENERATE: Final = Dialect(
    "generate",
    calls=_generated_calls,
    sentence=lambda: _generated([{"text": SENTENCE}]),
    frames=_generated_frames,
)
