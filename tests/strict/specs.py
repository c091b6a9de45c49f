"""The vendors' published schemas, closed to unknown fields: `problems` tells what a body violates."""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType
from typing import Any, Final

from tests.harness import SHARED
from tests.strict.exceptions import rewritten

__all__ = ["problems", "raw_problems"]

#: The file of each vendor. Ollama's is left open: it lacks fields that servers and the SDK have.
_FILES: Final = {
    "openai": ("openai.openapi.json", True),
    "anthropic": ("anthropic.openapi.json", True),
    "gemini": ("gemini.openapi.json", True),
    "ollama": ("ollama.openapi.yaml", False),
}
#: Items of the Responses API by their type. The published union takes a message of parts for two of its
#: kinds at once, and so refuses it: it says `oneOf`.
_ITEMS: Final = {
    "message": "EasyInputMessage",
    "function_call": "FunctionToolCall",
    "function_call_output": "FunctionCallOutputItemParam",
    "custom_tool_call": "CustomToolCall",
    "custom_tool_call_output": "CustomToolCallOutput",
    "reasoning": "ReasoningItem",
}


def problems(vendor: str, schema: str, body: Any) -> list[str]:
    """What `body` violates of a schema, but for the listed exceptions; unknown fields count.

    Nothing where the folder `shared` is absent, which holds the schemas; the SDKs' types are always there.
    """
    if not SHARED.is_dir():
        return []
    body = rewritten(vendor, body)
    if schema == "CreateResponse" and isinstance(body, dict) and isinstance(body.get("input"), list):
        found = raw_problems(vendor, schema, {**body, "input": "x"})
        for place, item in enumerate(body["input"]):
            found += [f"input/{place}/{problem}" for problem in raw_problems(vendor, _item(item), item)]
        return found
    return raw_problems(vendor, schema, body)


def _item(item: Any) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        return "EasyInputMessage"
    if item["type"] == "message" and "id" in item:
        return "OutputMessage"
    return _ITEMS.get(item["type"], "Item")


def raw_problems(vendor: str, schema: str, body: Any) -> list[str]:
    """What `body` violates of a schema, exceptions included."""
    found: list[str] = _spec(vendor).problems(schema, body)
    return found


@functools.cache
def _spec(vendor: str) -> Any:
    name, closed = _FILES[vendor]
    return _recipe("strict_spec").Spec(str(SHARED / "specs" / name), closed=closed)


@functools.cache
def _recipe(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, SHARED / "recipes" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
