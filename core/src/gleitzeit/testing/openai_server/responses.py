"""The Responses API of the scripted server: what it refuses, and its answers as items and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.testing.openai_server import check
from gleitzeit.testing.openai_server.script import Answer

__all__ = ["as_chat", "problem", "response", "response_events"]

_OUTPUTS: Final = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


def problem(body: Any) -> str | None:
    """What is wrong with the body of a request; None if nothing."""
    wrong = check.problem("response", body)
    if wrong is not None:
        return wrong
    if isinstance(body["input"], str):
        return None
    return _items(body["input"], goes_on=bool(body.get("previous_response_id") or body.get("conversation")))


def _items(items: list[Any], *, goes_on: bool) -> str | None:
    """Calls have their outputs, outputs their calls, and reasoning is followed by what it led to.

    Where the request goes on with what the server has kept, the calls may be there.
    """
    open_calls: dict[Any, str] = {}
    for index, item in enumerate(items):
        at, kind = f"input[{index}]", item["type"]
        if kind in _OUTPUTS.values():
            open_calls[item["call_id"]] = kind
        elif kind in _OUTPUTS:
            if open_calls.pop(item["call_id"], _OUTPUTS[kind] if goes_on else None) != _OUTPUTS[kind]:
                return f"No tool call found for the output '{at}'."
        elif kind == "reasoning" and (index + 1 == len(items) or items[index + 1].get("role") == "user"):
            return f"Item '{item['id']}' of type 'reasoning' was provided without its following item."
    return f"No tool output found for function call {next(iter(open_calls))}." if open_calls else None


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a chat completion would have it, for the script."""
    given = body["input"]
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    messages: list[dict[str, Any]] = []
    for item in items:
        kind = item["type"]
        if kind == "message":
            messages.append({"role": item["role"], "content": _text(item["content"])})
        elif kind in _OUTPUTS.values():
            called = {"function": {"name": item["name"]}}
            messages.append({"role": "assistant", "tool_calls": [called]})
        elif kind in _OUTPUTS:
            messages.append({"role": "tool", "content": _text(item["output"])})
    tools = [{"function": tool} for tool in body.get("tools") or () if tool["type"] == "function"]
    return {"model": body["model"], "messages": messages, "tools": tools}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def response(completion: Mapping[str, Any]) -> dict[str, Any]:
    """A whole response that says what a chat completion says."""
    (choice,) = completion["choices"]
    message, items = choice["message"], []
    number = completion["id"].removeprefix("fake-")
    if message.get("reasoning_content"):
        summary = [{"type": "summary_text", "text": message["reasoning_content"]}]
        items.append(
            {
                "id": f"rs_{number}",
                "type": "reasoning",
                "summary": summary,
                "encrypted_content": f"fake=={number}",
            }
        )
    if message["content"] or not message.get("tool_calls"):
        part: dict[str, Any] = {
            "type": "output_text",
            "text": message["content"] or "",
            "annotations": [],
            "logprobs": [],
        }
        items.append(
            {
                "id": f"msg_{number}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [part],
            }
        )
    for index, call in enumerate(message.get("tool_calls") or ()):
        items.append(
            {
                "id": f"fc_{number}_{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": call["id"],
                **call["function"],
            }
        )
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(choice["finish_reason"])
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "model": completion["model"],
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "instructions": None,
        "metadata": {},
        "temperature": None,
        "top_p": None,
        **_usage(completion.get("usage")),
    }


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    if usage is None:
        return {}
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    counts = {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, **(read or {})},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": written or {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
    return {"usage": counts}


def response_events(whole: Mapping[str, Any], answer: Answer) -> list[Any]:
    """The events of the stream that amounts to `whole`."""
    if answer.frames is not None:
        return list(answer.frames)
    return [{**event, "sequence_number": number} for number, event in enumerate(_events(whole))]


def _events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": [], "incomplete_details": None}
    begun.pop("usage", None)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        kind = item["type"]
        empty: dict[str, Any] = {"message": {"content": []}, "reasoning": {"summary": []}}.get(
            kind, {"arguments": ""}
        )
        added = {**item, **empty, "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": added}
        if kind == "message":
            inner = {**place, "content_index": 0}
            yield {
                "type": "response.content_part.added",
                **inner,
                "part": {**item["content"][0], "text": ""},
            }
            for piece in _pieces(item["content"][0]["text"]):
                yield {
                    "type": "response.output_text.delta",
                    **inner,
                    "delta": piece,
                    "logprobs": [],
                    "obfuscation": "x",
                }
            text = item["content"][0]["text"]
            yield {"type": "response.output_text.done", **inner, "text": text, "logprobs": []}
            yield {"type": "response.content_part.done", **inner, "part": item["content"][0]}
        elif kind == "reasoning":
            for piece in _pieces(item["summary"][0]["text"]):
                yield {
                    "type": "response.reasoning_summary_text.delta",
                    **place,
                    "summary_index": 0,
                    "delta": piece,
                }
        else:
            for piece in _pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), 6):
        yield text[start : start + 6]
