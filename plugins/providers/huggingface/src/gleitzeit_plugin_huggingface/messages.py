"""Messages as chat templates take them. What they cannot say is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Message, Part, TextPart, ThinkingPart, Tool, ToolCallPart, ToolResultPart
from gleitzeit.wire.names import WireNames

__all__ = ["MessageWriter"]


class MessageWriter:
    """Writes messages and tools for one request. `owner` tags the thinking that this model gets back."""

    def __init__(self, names: WireNames, owner: str | None) -> None:
        self._names = names
        self._owner = owner
        #: Tools by the id of the call: templates tell results by the name of their tool.
        self._called: dict[str, str] = {}

    def write(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """The messages of a conversation."""
        written: list[dict[str, Any]] = []
        for message in messages:
            if message.role == "assistant":
                written.append(self._assistant(message.parts))
                continue
            results = [part for part in message.parts if isinstance(part, ToolResultPart)]
            rest = [part for part in message.parts if not isinstance(part, ToolResultPart)]
            written += [self._result(part) for part in results]
            if message.role == "tool" and rest:
                raise InvalidRequestError("a tool turn holds tool results only")
            if rest or not results:
                turn = {"role": message.role, "content": _text(rest, message.role)}
                written.append({**turn, "name": message.name} if message.name else turn)
        return written

    def tools(self, tools: Iterable[Tool]) -> list[dict[str, Any]]:
        """The tools on offer."""
        return [
            {
                "type": "function",
                "function": {
                    "name": self._names.encode(tool.name),
                    "description": tool.description,
                    "parameters": tool.input_schema,
                },
            }
            for tool in tools
        ]

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        written = {"role": "tool", "tool_call_id": part.id, "content": _text(part.parts, "tool")}
        name = part.name or self._called.get(part.id)
        return {**written, "name": self._names.encode(name)} if name else written

    def _assistant(self, parts: Iterable[Part]) -> dict[str, Any]:
        calls, thoughts = [], []
        rest: list[Part] = []
        for part in parts:
            if isinstance(part, ToolCallPart):
                self._called[part.id] = part.name
                function = {"name": self._names.encode(part.name), "arguments": part.arguments or {}}
                calls.append({"type": "function", "id": part.id, "function": function})
            elif isinstance(part, ThinkingPart):  # that of others is dropped, never shown as text
                if self._owner is not None and part.state_for(self._owner) is not None:
                    thoughts.append(part.text)
            else:
                rest.append(part)
        written: dict[str, Any] = {"role": "assistant", "content": _text(rest, "assistant")}
        if thoughts:
            written["reasoning_content"] = "".join(thoughts)
        if calls:
            written["tool_calls"] = calls
        return written


def _text(parts: Iterable[Part], role: str) -> str:
    texts = []
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, (ToolCallPart, ToolResultPart, ThinkingPart)):
            raise InvalidRequestError(f"a {role} turn cannot hold a {part.type} part")
        else:
            raise UnsupportedError(
                f"models of text take no {part.type} in a {role} turn", hint="send text only", sent=False
            )
    return "".join(texts)
