"""Refuses requests that Ollama would refuse, and fields that it does not know."""

from __future__ import annotations

from typing import Any

from gleitzeit.testing.ollama_server.fields import REQUESTS
from gleitzeit.testing.shape import misfit

__all__ = ["problem"]


def problem(path: str, body: Any) -> str | None:
    """What is wrong with a request body to this path; None if nothing."""
    if not isinstance(body, dict):
        return "missing request body"
    if not body.get("model"):
        return "model is required"
    wrong = misfit(REQUESTS[path], body)
    if wrong is not None:
        at = wrong.dotted()
        if wrong.name == "think":
            return f"invalid think value: {body['think']!r}"
        if wrong.name == "keep_alive" and wrong.kind == "value":
            return f"time: invalid duration {body['keep_alive']!r}"
        if wrong.kind in ("missing", "unknown"):
            return f"request: {wrong.kind} field {at!r}"
        return f"json: cannot unmarshal {at}: invalid {wrong.kind}"
    for message in body.get("messages", ()):
        if message.get("tool_calls") and message["role"] != "assistant":
            return f"a {message['role']} turn with tool_calls"
    return None
