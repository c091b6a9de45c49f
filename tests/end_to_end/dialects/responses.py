"""Responses of OpenAI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gleitzeit.testing.faulty import sse
from tests.end_to_end.dialects.words import CALLS, MODEL, READ, SENTENCE, THOUGHT, WROTE, Dialect, written

__all__ = ["RESPONSES"]


def _response(*output: Any) -> dict[str, Any]:
    usage = {"input_tokens": READ, "output_tokens": WROTE, "total_tokens": READ + WROTE}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": MODEL}
    more: dict[str, Any] = {
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tools": [],
    }
    return {**head, **more, "output": list(output), "usage": usage}


def _response_calls(state: str | None) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": THOUGHT}]
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": state, "summary": summary}
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{at}",
            "call_id": f"call_{at}",
            "name": name,
            "status": "completed",
        }
        | {"arguments": written(value)}
        for at, (name, value) in enumerate(CALLS)
    ]
    return _response(*([] if state is None else [thought]), *calls)


def _response_sentence() -> dict[str, Any]:
    text = {"type": "output_text", "text": SENTENCE, "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    return _response(item)


def _response_frames(body: Any) -> Iterable[bytes]:
    numbers = iter(range(1000))

    def event(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(numbers), **more}, event=kind)

    yield event("response.created", response={**body, "status": "in_progress", "output": [], "usage": None})
    for index, item in enumerate(body["output"]):
        at = {"output_index": index}
        inside = {**at, "item_id": item["id"]}
        if item["type"] == "reasoning":
            (part,) = item["summary"]
            inside |= {"summary_index": 0}
            name, text, empty = "response.reasoning_summary", part["text"], {**item, "summary": []}
            yield event("response.output_item.added", item={**empty, "encrypted_content": ""}, **at)
            yield event(f"{name}_part.added", part={**part, "text": ""}, **inside)
            yield event(f"{name}_text.delta", delta=text[:5], **inside)
            yield event(f"{name}_text.delta", delta=text[5:], **inside)
            yield event(f"{name}_text.done", text=text, **inside)
            yield event(f"{name}_part.done", part=part, **inside)
        elif item["type"] == "message":
            (part,) = item["content"]
            inside |= {"content_index": 0}
            yield event("response.output_item.added", item={**item, "content": []}, **at)
            yield event("response.content_part.added", part={**part, "text": ""}, **inside)
            yield event("response.output_text.delta", delta=part["text"][:5], **inside)
            yield event("response.output_text.delta", delta=part["text"][5:], **inside)
            yield event("response.output_text.done", text=part["text"], **inside)
            yield event("response.content_part.done", part=part, **inside)
        else:
            name, text = "response.function_call_arguments", item["arguments"]
            yield event("response.output_item.added", item={**item, "arguments": ""}, **at)
            yield event(f"{name}.delta", delta=text[:5], **inside)
            yield event(f"{name}.delta", delta=text[5:], **inside)
            yield event(f"{name}.done", arguments=text, **inside)
        yield event("response.output_item.done", item=item, **at)
    yield event("response.completed", response=body)


RESPONSES: Final = Dialect(
    "responses", calls=_response_calls, sentence=_response_sentence, frames=_response_frames
)
