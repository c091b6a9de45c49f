"""Refuses requests that Anthropic would refuse, in its words. Written by hand from the published API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit.testing.anthropic_server.fields import COUNTED, MESSAGE
from gleitzeit.testing.shape import Misfit, misfit

__all__ = ["problem"]


def problem(body: Any, *, count: bool = False) -> str | None:
    """What is wrong with the body of a message, or of a request to count its tokens; None if nothing."""
    if not isinstance(body, dict):
        return "The request body is not valid JSON"
    wrong = misfit(COUNTED if count else MESSAGE, body)
    if wrong is not None:
        return _told(wrong)
    return _tools(body) or _thinking(body) or _turns(body["messages"])


def _told(wrong: Misfit) -> str:
    at = wrong.dotted()
    if wrong.kind == "missing":
        return f"{at}: Field required"
    if wrong.kind == "unknown":
        return f"{at}: Extra inputs are not permitted"
    if at == "messages":
        return "messages: at least one message is required"
    if wrong.name == "content" and wrong.kind == "value":
        return f"{at}: all messages must have non-empty content, and non-whitespace text"
    if wrong.name == "text" and wrong.kind == "value":
        return f"{at}: text content blocks must contain non-whitespace text"
    if wrong.name == "type" and wrong.kind == "value":
        return f"{at}: Input tag found is not one of the expected tags"
    if wrong.name == "budget_tokens" and wrong.kind == "value":
        return f"{at}: Input should be greater than or equal to 1024"
    return f"{at}: Input should be of another {wrong.kind}"


def _tools(body: Mapping[str, Any]) -> str | None:
    names = [tool["name"] for tool in body.get("tools", ())]
    if len(set(names)) != len(names):
        return "tools: Tool names must be unique."
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if not names:
        return "tool_choice: may only be specified while providing tools"
    if choice["type"] == "tool" and choice["name"] not in names:
        return f"Tool '{choice['name']}' not found in provided tools"
    return None


def _thinking(body: Mapping[str, Any]) -> str | None:
    budget = body.get("thinking", {}).get("budget_tokens")
    if budget is not None and budget >= body.get("max_tokens", budget + 1):
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    return None


def _turns(turns: list[Any]) -> str | None:
    """Calls are answered in the next turn, all of them and nothing else, before all other content."""
    open_calls: set[str] = set()
    before = ""
    for place, turn in enumerate(turns):
        where = f"messages.{place}"
        role, content = turn["role"], turn["content"]
        blocks = [] if isinstance(content, str) else content
        kinds = [block["type"] == "tool_result" for block in blocks]
        if kinds != sorted(kinds, reverse=True):
            return f"{where}: `tool_result` blocks must come first"
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if answered - open_calls:
            return f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {answered - open_calls}"
        if open_calls - answered and role != before:  # turns of one side are one to the vendor
            return f"{where}: `tool_use` ids were found without `tool_result` blocks: {open_calls - answered}"
        open_calls = open_calls if role == before else set()
        open_calls |= {block["id"] for block in blocks if block["type"] == "tool_use"}
        before = role
    return None
