"""Messages of Anthropic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gleitzeit.testing.faulty import sse
from tests.end_to_end.dialects.words import CALLS, MODEL, READ, SENTENCE, THOUGHT, WROTE, Dialect, written

__all__ = ["MESSAGES"]


def _message(content: list[Any], reason: str) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    usage = {"input_tokens": READ, "output_tokens": WROTE}
    return {**head, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}


def _message_calls(state: str | None) -> dict[str, Any]:
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": state}
    calls = [
        {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": dict(value)}
        for at, (name, value) in enumerate(CALLS)
    ]
    return _message([*([] if state is None else [thought]), *calls], "tool_use")


def _message_frames(body: Any) -> Iterable[bytes]:
    def event(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, **more}, event=kind)

    begun = {**body, "content": [], "stop_reason": None, "usage": {"input_tokens": READ, "output_tokens": 1}}
    yield event("message_start", message=begun)
    yield event("ping")
    empty: dict[str, Any]
    for index, block in enumerate(body["content"]):
        if block["type"] == "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            text, name, kind = block["thinking"], "thinking", "thinking_delta"
        elif block["type"] == "text":
            empty, text, name, kind = {"type": "text", "text": ""}, block["text"], "text", "text_delta"
        else:
            asked = block["input"]
            empty, text = {**block, "input": {}}, asked if isinstance(asked, str) else written(asked)
            name, kind = "partial_json", "input_json_delta"
            yield event("content_block_start", index=index, content_block=empty)
            yield event("content_block_delta", index=index, delta={"type": kind, name: ""})
        if block["type"] != "tool_use":
            yield event("content_block_start", index=index, content_block=empty)
        for piece in (text[:5], text[5:]):
            yield event("content_block_delta", index=index, delta={"type": kind, name: piece})
        if "signature" in block:
            signed = {"type": "signature_delta", "signature": block["signature"]}
            yield event("content_block_delta", index=index, delta=signed)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": WROTE})
    yield event("message_stop")


MESSAGES: Final = Dialect(
    "messages",
    calls=_message_calls,
    sentence=lambda: _message([{"type": "text", "text": SENTENCE}], "end_turn"),
    frames=_message_frames,
)
