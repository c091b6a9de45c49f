"""Refuses requests that Gemini would refuse, in its words: unknown fields, wrong types, calls unanswered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.testing.gemini_server.fields import METHODS
from gleitzeit.testing.shape import misfit

__all__ = ["missing_signature", "problem"]

_CONTENT: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)


def problem(method: str, body: Any, *, vertex: bool = False) -> str | None:
    """What is wrong with the body of a method, such as `generateContent`; None if nothing.

    `vertex` says that it is Vertex AI that is asked, where some methods take other fields.
    """
    if method not in METHODS:
        return f"there is no method {method}"
    wrong = misfit(METHODS[method][vertex], body)
    if wrong is not None:
        at = wrong.dotted(brackets=True)
        if wrong.kind == "unknown":
            inside = at.removesuffix(f".{wrong.name}") if "." in at else ""
            told = f"Unknown name \"{wrong.name}\" at '{inside}': Cannot find field."
            return f"Invalid JSON payload received. {told}"
        if wrong.kind == "missing":
            return f"* {at}: {wrong.name} is not specified"
        return f"Invalid {wrong.kind} at '{at}'"
    inner = body.get("generateContentRequest", body)
    return _contents(inner.get("contents") or ()) or _functions(inner.get("tools") or ())


def missing_signature(body: Mapping[str, Any]) -> str | None:
    """The complaint of models that want a signature on the first call of each turn; None without reason."""
    for content in body["contents"]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0]:
            name = calls[0]["functionCall"]["name"]
            return f"Function call is missing a thought_signature in functionCall parts: {name}"
    return None


def _contents(contents: Any) -> str | None:
    names: list[str] = []
    for index, content in enumerate(contents):
        at = f"GenerateContentRequest.contents[{index}]"
        if not content.get("parts"):
            return f"* {at}.parts: contents.parts must not be empty."
        for part in content["parts"]:
            held = [name for name in _CONTENT if name in part]
            if len(held) != 1:
                return f"* {at}.parts: required oneof field 'data' must have one initialized field"
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if answers and content.get("role") == "model":
            return f"* {at}: a function response is in a turn of the model"
        if [answer.get("name") for answer in answers] != names:
            return (
                "Please ensure that the number of function response parts is equal to the number of "
                "function call parts of the function call turn."
            )
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        if calls and content.get("role") != "model":
            return f"* {at}: a function call is in a turn of the user"
        names = [call.get("name", "") for call in calls]
    return None


def _functions(tools: Any) -> str | None:
    for tool in tools:
        for function in tool.get("functionDeclarations") or ():
            name = function.get("name", "")
            plain = name.translate({ord(mark): None for mark in "_.:-"})
            if not name or len(name) > 64 or not name.isascii() or not (plain.isalnum() or not plain):
                return f"Invalid function name {name!r}"
            if "parameters" in function and "parametersJsonSchema" in function:
                return "only one of parameters and parameters_json_schema can be set"
    return None
