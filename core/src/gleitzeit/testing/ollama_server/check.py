"""Refuses requests that Ollama would refuse, and fields that it does not know."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["problem"]

_TIME: Final = re.compile(r"-?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+|0")
_COMMON: Final[Mapping[str, Any]] = {
    "model": str,
    "stream": bool,
    "format": (str, dict),
    "options": dict,
    "keep_alive": (str, int, float),
    "think": (bool, str),
    "logprobs": bool,
    "top_logprobs": int,
    "truncate": bool,
    "shift": bool,
}
#: Fields by path, with the types that they take.
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/api/chat": {**_COMMON, "messages": list, "tools": list},
    "/api/generate": {
        **_COMMON,
        "prompt": str,
        "suffix": str,
        "system": str,
        "template": str,
        "context": list,
        "raw": bool,
        "images": list,
    },
    "/api/embed": {
        "model": str,
        "input": (str, list),
        "truncate": bool,
        "dimensions": int,
        "keep_alive": (str, int, float),
        "options": dict,
    },
    "/api/pull": {"model": str, "insecure": bool, "stream": bool},
    "/api/show": {"model": str, "verbose": bool},
}
_MESSAGE: Final[Mapping[str, type]] = {
    "role": str,
    "content": str,
    "thinking": str,
    "images": list,
    "tool_calls": list,
    "tool_name": str,
    "tool_call_id": str,
}
_OPTIONS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("num_ctx", "num_predict", "num_keep", "num_batch", "num_gpu", "seed", "top_k"), int),
    **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), (int, float)),
    "stop": list,
}
_ROLES: Final = ("system", "user", "assistant", "tool")
_LEVELS: Final = ("low", "medium", "high", "max")


def problem(path: str, body: Any) -> str | None:
    """What is wrong with a request body to this path; None if nothing."""
    if not isinstance(body, dict):
        return "missing request body"
    if not body.get("model"):
        return "model is required"
    wrong = _fields(body, _FIELDS[path], "request")
    if wrong is not None:
        return wrong
    think = body.get("think")
    if isinstance(think, str) and think not in _LEVELS:
        return f'invalid think value: "{think}"'
    time = body.get("keep_alive")
    if isinstance(time, str) and not _TIME.fullmatch(time):
        return f'time: invalid duration "{time}"'
    options = body.get("options", {})
    for name, value in options.items():
        if name in _OPTIONS and not _fits(value, _OPTIONS[name]):
            return f'option "{name}" must be of another type'
    if path == "/api/chat":
        return _chat(body)
    if isinstance(body.get("input"), list) and not all(isinstance(text, str) for text in body["input"]):
        return "invalid input type"
    return _images(body)


def _fields(found: Mapping[str, Any], known: Mapping[str, Any], where: str) -> str | None:
    for name, value in found.items():
        if name not in known:
            return f"{where}: unknown field {name!r}"
        if not _fits(value, known[name]):
            return f"json: cannot unmarshal {type(value).__name__} into {where}.{name}"
    return None


def _fits(value: Any, wanted: Any) -> bool:
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def _chat(body: Mapping[str, Any]) -> str | None:
    for message in body.get("messages", ()):
        if not isinstance(message, dict):
            return "json: cannot unmarshal a message"
        wrong = _fields(message, _MESSAGE, "message") or _images(message)
        if wrong is not None:
            return wrong
        if message.get("role") not in _ROLES:
            return f"invalid role {message.get('role')!r}"
        if "content" not in message:
            return "message: content is missing"
        if message.get("tool_calls") and message["role"] != "assistant":
            return f"a {message['role']} turn with tool_calls"
        for call in message.get("tool_calls", ()):
            if not _call(call):
                return "json: cannot unmarshal a tool call"
    for tool in body.get("tools", ()):
        if not _tool(tool):
            return "json: cannot unmarshal a tool"
    return None


def _call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), dict)
        and isinstance(call.get("id", ""), str)
    )


def _tool(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    return (
        isinstance(function, dict)
        and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(function.get("name"))) is not None
        and isinstance(function.get("parameters"), dict)
    )


def _images(found: Mapping[str, Any]) -> str | None:
    for image in found.get("images", ()):
        try:
            if not base64.b64decode(image, validate=True):
                return "an image is empty"
        except (binascii.Error, ValueError, TypeError):
            return "illegal base64 data in an image"
    return None
