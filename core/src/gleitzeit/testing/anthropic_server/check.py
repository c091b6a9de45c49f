"""Refuses requests that Anthropic would refuse, in its words. Written by hand from the published API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["problem"]

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
#: Top-level fields and their types; a tuple of (types, lowest, highest) is a number.
_FIELDS: Final[Mapping[str, Any]] = {
    "model": str,
    "messages": list,
    "max_tokens": (int, 1, None),
    "system": (str, list),
    "tools": list,
    "tool_choice": dict,
    "stream": bool,
    "stop_sequences": list,
    "temperature": ((int, float), 0, 1),
    "top_p": ((int, float), 0, 1),
    "top_k": (int, 0, None),
    "thinking": dict,
    "output_config": dict,
    "metadata": dict,
    "cache_control": dict,
    "container": (str, dict),
    "context_management": dict,
    "mcp_servers": list,
    "service_tier": str,
    "speed": str,
    "inference_geo": str,
}
_UNCOUNTED: Final = frozenset({"max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k"})
#: Blocks with the fields that they need; others of the vendor's are let through.
_BLOCKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
    "container_upload": {"file_id": str},
}
_USER: Final = frozenset(
    {"text", "image", "document", "tool_result", "container_upload", "search_result", "tool_reference"}
)
_SOURCES: Final = {"base64": "data", "url": "url", "text": "data", "file": "file_id", "content": "content"}


def problem(body: Any, *, count: bool = False) -> str | None:
    """What is wrong with the body of a message, or of a request to count its tokens; None if nothing."""
    if not isinstance(body, dict):
        return "The request body is not valid JSON"
    needed = ("model", "messages") if count else ("model", "messages", "max_tokens")
    for name in needed:
        if name not in body:
            return f"{name}: Field required"
    for name, value in body.items():
        if name not in _FIELDS or (count and name in _UNCOUNTED):
            return f"{name}: Extra inputs are not permitted"
        wrong = _mistyped(name, value)
        if wrong:
            return wrong
    if not body["messages"]:
        return "messages: at least one message is required"
    return _tools(body) or _thinking(body) or _system(body) or _turns(body["messages"])


def _mistyped(name: str, value: Any) -> str | None:
    types, lowest, highest = _FIELDS[name], None, None
    if isinstance(types, tuple) and not isinstance(types[-1], type):
        types, lowest, highest = types
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        return f"{name}: Input should be a valid {types}"
    if lowest is not None and value < lowest:
        return f"{name}: Input should be greater than or equal to {lowest}"
    if highest is not None and value > highest:
        return f"{name}: Input should be less than or equal to {highest}"
    return None


def _tools(body: Mapping[str, Any]) -> str | None:
    names = []
    for place, tool in enumerate(body.get("tools", ())):
        where = f"tools.{place}"
        if not isinstance(tool, dict) or not _NAME.fullmatch(str(tool.get("name", ""))):
            return f"{where}.name: String should match pattern"
        if tool.get("type") in (None, "custom") and (tool.get("input_schema") or {}).get("type") != "object":
            return f"{where}.input_schema.type: Field required"
        names.append(tool["name"])
    if len(set(names)) != len(names):
        return "tools: Tool names must be unique."
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if not names:
        return "tool_choice: may only be specified while providing tools"
    if choice.get("type") not in ("auto", "any", "tool", "none"):
        return "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'"
    if choice["type"] == "tool" and choice.get("name") not in names:
        return f"Tool '{choice.get('name')}' not found in provided tools"
    return None


def _thinking(body: Mapping[str, Any]) -> str | None:
    thinking = body.get("thinking")
    if thinking is None or thinking.get("type") in ("adaptive", "disabled"):
        return None
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int) or budget < 1024:
        return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if budget >= body.get("max_tokens", budget + 1):
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    return None


def _system(body: Mapping[str, Any]) -> str | None:
    system = body.get("system", "x")
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    for place, block in enumerate(blocks):
        wrong = _block(block, frozenset({"text"}), f"system.{place}")
        if wrong:
            return wrong
    return None


def _turns(turns: list[Any]) -> str | None:
    open_calls: set[str] = set()
    before = ""
    for place, turn in enumerate(turns):
        where = f"messages.{place}"
        if not isinstance(turn, dict) or turn.keys() != {"role", "content"}:
            return f"{where}: role and content are required, and nothing else is permitted"
        role, content = turn["role"], turn["content"]
        if role not in ("user", "assistant", "system"):
            return f"{where}.role: Input should be 'user' or 'assistant'"
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            return f"{where}: all messages must have non-empty content"
        for number, block in enumerate(blocks):
            wrong = _block(block, _USER if role == "user" else None, f"{where}.content.{number}")
            if wrong:
                return wrong
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


def _block(block: Any, allowed: frozenset[str] | None, where: str) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str) or (allowed is not None and kind not in allowed):
        return f"{where}: Input tag {kind!r} found is not one of the expected tags"
    for name, types in _BLOCKS.get(kind, {}).items():
        if not isinstance(block.get(name), types):
            return f"{where}.{kind}.{name}: Field required"
    if kind == "text" and not block["text"].strip():
        return f"{where}: text content blocks must contain non-whitespace text"
    for name in ("id", "tool_use_id"):
        if kind in ("tool_use", "tool_result") and name in block and not _ID.fullmatch(block[name]):
            return f"{where}.{kind}.{name}: String should match pattern '^[a-zA-Z0-9_-]+$'"
    source = block.get("source")
    if isinstance(source, dict) and _SOURCES.get(str(source.get("type"))) not in source:
        return f"{where}.{kind}.source: Input should be one of {', '.join(_SOURCES)} with its data"
    inner = block.get("content")
    if kind == "tool_result" and isinstance(inner, list):
        for place, each in enumerate(inner):
            wrong = _block(each, _USER - {"tool_result"}, f"{where}.content.{place}")
            if wrong:
                return wrong
    return None
