"""Chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gleitzeit.testing.faulty import sse
from tests.end_to_end.dialects.words import CALLS, MODEL, READ, SENTENCE, THOUGHT, WROTE, Dialect, written

__all__ = ["CHAT"]


def _chat(message: Mapping[str, Any], finish: str) -> dict[str, Any]:
    usage = {"prompt_tokens": READ, "completion_tokens": WROTE, "total_tokens": READ + WROTE}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    head = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], "usage": usage}


def _chat_calls(state: str | None) -> dict[str, Any]:
    calls = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": written(value)}}
        for at, (name, value) in enumerate(CALLS)
    ]
    details = [{"type": "reasoning.encrypted", "data": state, "index": 0}]
    thought = {} if state is None else {"reasoning_content": THOUGHT, "reasoning_details": details}
    return _chat({"content": None, **thought, "tool_calls": calls}, "tool_calls")


def _chat_frames(body: Any) -> Iterable[bytes]:
    head = {"id": body["id"], "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    (choice,) = body["choices"]
    message = choice["message"]

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant"})
    for name in ("reasoning_content", "content"):
        text = message.get(name) or ""
        for piece in filter(None, (text[:7], text[7:])):
            yield chunk({name: piece})
    if "reasoning_details" in message:
        yield chunk({"reasoning_details": message["reasoning_details"]})
    for index, call in enumerate(message.get("tool_calls", ())):
        written = call["function"]["arguments"]
        begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for piece in (written[:5], written[5:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    yield sse({**head, "choices": [], "usage": body["usage"]})
    yield sse("[DONE]")


CHAT: Final = Dialect(
    "chat", calls=_chat_calls, sentence=lambda: _chat({"content": SENTENCE}, "stop"), frames=_chat_frames
)
