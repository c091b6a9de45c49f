"""The Responses API of the scripted server: what it refuses, and its answers as items and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.testing.openai_server.script import Answer

__all__ = ["as_chat", "problem", "response", "response_events"]

_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "model": (str,),
    "input": (str, list),
    "instructions": (str,),
    "stream": (bool,),
    "stream_options": (dict,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "parallel_tool_calls": (bool,),
    "max_output_tokens": (int,),
    "max_tool_calls": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_logprobs": (int,),
    "reasoning": (dict,),
    "text": (dict,),
    "include": (list,),
    "store": (bool,),
    "previous_response_id": (str,),
    "conversation": (str, dict),
    "background": (bool,),
    "truncation": (str,),
    "metadata": (dict,),
    "service_tier": (str,),
    "prompt_cache_key": (str,),
    "safety_identifier": (str,),
    "context_management": (list,),
}
_PARTS: Final = {
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text",),
    "developer": ("input_text",),
    "assistant": ("output_text", "refusal"),
}
_OUTPUTS: Final = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


def problem(body: Any) -> str | None:
    """What is wrong with the body of a request; None if nothing."""
    if not isinstance(body, dict):
        return "We could not parse the JSON body of your request."
    for name in ("model", "input"):
        if body.get(name) in (None, "", []):
            return f"Missing required parameter: '{name}'."
    for name, value in body.items():
        if name not in _FIELDS:
            return f"Unknown parameter: '{name}'."
        if value is not None and (
            not isinstance(value, _FIELDS[name]) or (isinstance(value, bool) and bool not in _FIELDS[name])
        ):
            return f"Invalid type for '{name}'."
    for index, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            return f"Missing required parameter: 'tools[{index}].type'."
        if tool["type"] == "function" and not {"name", "parameters", "strict"} <= tool.keys():
            return f"Missing required parameter in 'tools[{index}]'."
    return None if isinstance(body["input"], str) else _items(body["input"])


def _items(items: list[Any]) -> str | None:
    open_calls: dict[Any, str] = {}
    for index, item in enumerate(items):
        at = f"input[{index}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str):
            return f"Invalid value for '{at}'."
        if kind == "message":
            wrong = _message(item, at)
            if wrong is not None:
                return wrong
        elif kind in _OUTPUTS.values():
            field = "arguments" if kind == "function_call" else "input"
            if not all(isinstance(item.get(name), str) for name in ("call_id", "name", field)):
                return f"Invalid value in '{at}'."
            open_calls[item["call_id"]] = kind
        elif kind in _OUTPUTS:
            if open_calls.pop(item.get("call_id"), None) != _OUTPUTS[kind]:
                return f"No tool call found for the output '{at}'."
        elif kind == "reasoning" and (
            index + 1 == len(items) or items[index + 1].get("role") == "user" or "summary" not in item
        ):
            return f"Item '{item.get('id')}' of type 'reasoning' was provided without its following item."
    return f"No tool output found for function call {next(iter(open_calls))}." if open_calls else None


def _message(item: Mapping[str, Any], at: str) -> str | None:
    role, content = item.get("role"), item.get("content")
    if role not in _PARTS:
        return f"Invalid value for '{at}.role'."
    if isinstance(content, str):
        return None
    if not isinstance(content, list):
        return f"Invalid type for '{at}.content'."
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in _PARTS[role]:
            return f"Invalid value for '{at}.content'."
    return None


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
        "usage": _usage(completion.get("usage")),
    }


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": read or {"cached_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": written or {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }


def response_events(whole: Mapping[str, Any], answer: Answer) -> list[Any]:
    """The events of the stream that amounts to `whole`."""
    if answer.frames is not None:
        return list(answer.frames)
    return [{**event, "sequence_number": number} for number, event in enumerate(_events(whole))]


def _events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
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
            yield {"type": "response.output_text.done", **inner, "text": item["content"][0]["text"]}
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
