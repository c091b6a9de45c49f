"""Lines of Ollama."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.end_to_end.dialects.words import CALLS, MODEL, READ, SENTENCE, WROTE, Dialect

__all__ = ["LINES"]


def _line(message: Mapping[str, Any], *, done: bool = True) -> dict[str, Any]:
    head = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
    ended = {"done_reason": "stop", "prompt_eval_count": READ, "eval_count": WROTE, "total_duration": 5}
    return {**head, "message": {"role": "assistant", **message}, "done": done, **(ended if done else {})}


def _line_calls(state: str | None) -> dict[str, Any]:
    calls = [{"function": {"name": name, "arguments": dict(value)}} for name, value in CALLS]
    thought = {} if state is None else {"thinking": state}
    return _line({"content": "", **thought, "tool_calls": calls})


def _lines(body: Any) -> Iterable[bytes]:
    message = body["message"]
    for name in ("thinking", "content"):
        text = message.get(name, "")
        for piece in filter(None, (text[:5], text[5:])):
            yield json.dumps(_line({"content": "", name: piece}, done=False)).encode() + b"\n"
    if "tool_calls" in message:
        shown = _line({"content": "", "tool_calls": message["tool_calls"]}, done=False)
        yield json.dumps(shown).encode() + b"\n"
    yield json.dumps({**body, "message": {"role": "assistant", "content": ""}}).encode() + b"\n"


LINES: Final = Dialect(
    "lines",
    calls=_line_calls,
    sentence=lambda: _line({"content": SENTENCE}),
    frames=_lines,
)
