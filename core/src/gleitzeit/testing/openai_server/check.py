"""Refuses requests that OpenAI would refuse, in its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit.testing.openai_server.fields import REQUESTS
from gleitzeit.testing.shape import misfit

__all__ = ["problem"]


def problem(kind: str, body: Any) -> str | None:
    """What is wrong with a request body ("chat", "completion", "embedding", "response"); None if nothing."""
    if not isinstance(body, dict):
        return "We could not parse the JSON body of your request."
    wrong = misfit(REQUESTS[kind], body)
    if wrong is not None:
        at = wrong.dotted(brackets=True)
        if wrong.kind == "missing":
            return f"Missing required parameter: '{at}'."
        if wrong.kind == "unknown":
            return f"Unrecognized request argument supplied: {at}"
        return f"Invalid {wrong.kind} for '{at}'."
    if not body["model"]:
        return "you must provide a model parameter"
    if kind == "chat":
        return _messages(body["messages"]) or _tools(body)
    return None


def _messages(messages: list[Any]) -> str | None:
    """Calls are answered at once, each one, and nothing else is."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        role, calls = message["role"], message.get("tool_calls") or ()
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                return f"Invalid parameter: '{at}' must answer a preceding message with 'tool_calls'."
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            return (
                f"'tool_calls' must be followed by tool messages; missing: {', '.join(sorted(open_calls))}."
            )
        if role == "assistant" and message.get("content") is None and not (calls or message.get("audio")):
            return f"Missing required parameter: '{at}.content'."
        open_calls.update(call["id"] for call in calls)
    return f"'tool_calls' without their answers: {', '.join(sorted(open_calls))}." if open_calls else None


def _tools(body: Mapping[str, Any]) -> str | None:
    names = {tool["function"]["name"] for tool in body.get("tools", ())}
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if not names:
        return "'tool_choice' is only allowed when 'tools' are specified."
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        return f"Tool choice {choice['function']['name']!r} not found in 'tools'."
    return None
