"""How large a request is, roughly: enough to compare prices, far from enough to write a bill."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Operation,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["answers", "input_tokens"]

#: Characters of a token, and tokens of a picture, a sound or a file whose size nobody has counted.
_CHARACTERS: Final = 4
_MEDIUM: Final = 1000
_TOOL: Final = 150


def answers(operation: Operation) -> bool:
    """Are tokens written in answer, that cost something by their number?"""
    return isinstance(operation, (Chat, Completion))


def input_tokens(operation: Operation) -> float:
    """The tokens that would be read, about."""
    if isinstance(operation, Chat):
        parts = (part for message in operation.messages for part in message.parts)
        return _tokens(parts) + _TOOL * len(operation.tools) + 1
    if isinstance(operation, Completion):
        return len(operation.prompt) / _CHARACTERS + 1
    if isinstance(operation, (Embedding, Classification)):
        return sum(len(text) for text in operation.inputs) / _CHARACTERS + 1
    return 1.0


def _tokens(parts: Iterable[Part]) -> float:
    total = 0.0
    for part in parts:
        if isinstance(part, (TextPart, ThinkingPart)):
            total += len(part.text) / _CHARACTERS
        elif isinstance(part, ToolResultPart):
            total += _tokens(part.parts)
        elif isinstance(part, ToolCallPart):
            total += len(part.raw or str(part.arguments)) / _CHARACTERS
        else:
            total += _MEDIUM
    return total
