"""Refuses requests that OpenAI would refuse, in its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["problem"]

_NUMBER: Final = (int, float)
#: Top-level fields with the types they take; tuples of (type, lowest, highest) are numbers.
_COMMON: Final[Mapping[str, Any]] = {"model": str, "user": str, "metadata": dict, "stream": bool}
_SAMPLING: Final[Mapping[str, Any]] = {
    "stream_options": dict,
    "temperature": (_NUMBER, 0, 2),
    "top_p": (_NUMBER, 0, 1),
    "n": (int, 1, 128),
    "stop": (str, list),
    "max_tokens": (int, 1, None),
    "presence_penalty": (_NUMBER, -2, 2),
    "frequency_penalty": (_NUMBER, -2, 2),
    "logit_bias": dict,
    "seed": (int, None, None),
}
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat": {
        **_COMMON,
        **_SAMPLING,
        "messages": list,
        "tools": list,
        "tool_choice": (str, dict),
        "parallel_tool_calls": bool,
        "response_format": dict,
        "max_completion_tokens": (int, 1, None),
        "reasoning_effort": str,
        "verbosity": str,
        "logprobs": bool,
        "top_logprobs": (int, 0, 20),
        "store": bool,
        "service_tier": str,
        "safety_identifier": str,
        "prompt_cache_key": str,
        "modalities": list,
        "audio": dict,
        "prediction": dict,
        "web_search_options": dict,
    },
    "completion": {**_COMMON, **_SAMPLING, "prompt": (str, list), "suffix": str, "echo": bool},
    "embedding": {**_COMMON, "input": (str, list), "dimensions": (int, 1, None), "encoding_format": str},
}  # fmt: skip
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("model", "messages"),
    "completion": ("model", "prompt"),
    "embedding": ("model", "input"),
}
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "system": ("text",),
    "developer": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "tool": ("text", "image_url"),
}


def problem(kind: str, body: Any) -> str | None:
    """What is wrong with a request body of this kind ("chat", "completion", "embedding"); None if nothing."""
    if not isinstance(body, dict):
        return "We could not parse the JSON body of your request."
    for name in _REQUIRED[kind]:
        if body.get(name) in (None, "", []):
            return f"Missing required parameter: '{name}'."
    for name, value in body.items():
        if name not in _FIELDS[kind]:
            return f"Unrecognized request argument supplied: {name}"
        if value is not None and not _fits(value, _FIELDS[kind][name]):
            return f"Invalid type or value for '{name}'."
    if kind == "chat":
        return _messages(body["messages"]) or _tools(body)
    return None


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple) and len(wanted) == 3:
        kinds, low, high = wanted
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        return fits and (low is None or value >= low) and (high is None or value <= high)
    return isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool)


def _messages(messages: list[Any]) -> str | None:
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if not isinstance(message, dict) or message.get("role") not in _PARTS:
            return f"Invalid value for '{at}.role'."
        role, content = message["role"], message.get("content")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return f"Invalid parameter: '{at}' must answer a preceding message with 'tool_calls'."
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            return (
                f"'tool_calls' must be followed by tool messages; missing: {', '.join(sorted(open_calls))}."
            )
        wrong = _content(role, content, at) if content is not None else None
        if wrong is not None:
            return wrong
        calls = message.get("tool_calls")
        if content is None and (role != "assistant" or not (calls or message.get("audio"))):
            return f"Missing required parameter: '{at}.content'."
        if calls is not None:
            if role != "assistant" or not isinstance(calls, list) or not calls:
                return f"Invalid value for '{at}.tool_calls'."
            for call in calls:
                if not _call(call):
                    return f"Invalid value in '{at}.tool_calls'."
                open_calls.add(call["id"])
    return f"'tool_calls' without their answers: {', '.join(sorted(open_calls))}." if open_calls else None


def _content(role: str, content: Any, at: str) -> str | None:
    if isinstance(content, str):
        return None
    if not isinstance(content, list) or not content:
        return f"Invalid type for '{at}.content'."
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _PARTS[role]:
            return f"Invalid value for '{at}.content': {kind!r} is not supported for role {role}."
        held = part.get(kind)
        if kind in ("text", "refusal") and not isinstance(held, str):
            return f"Invalid type for '{at}.content.{kind}'."
        if kind == "image_url" and not (isinstance(held, dict) and isinstance(held.get("url"), str)):
            return f"Invalid type for '{at}.content.image_url'."
        if kind == "input_audio" and not (isinstance(held, dict) and held.get("format") in ("wav", "mp3")):
            return f"Invalid value for '{at}.content.input_audio'."
    return None


def _call(call: Any) -> bool:
    if not isinstance(call, dict) or call.get("type") != "function" or not call.get("id"):
        return False
    function = call.get("function")
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )


def _tools(body: Mapping[str, Any]) -> str | None:
    names = set()
    for tool in body.get("tools") or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return "Invalid value in 'tools'."
        name = function["name"]
        if (
            not name
            or len(name) > 64
            or not name.replace("_", "").replace("-", "").isalnum()
            or not name.isascii()
        ):
            return f"Invalid 'tools[].function.name': {name!r}"
        names.add(name)
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if not names:
        return "'tool_choice' is only allowed when 'tools' are specified."
    if isinstance(choice, dict):
        named = choice.get("function", {}).get("name")
        return None if named in names else f"Tool choice {named!r} not found in 'tools'."
    return None if choice in ("none", "auto", "required") else "Invalid value for 'tool_choice'."
