"""How many tokens a request may take, before its vendor has counted them."""

from __future__ import annotations

from typing import Any, Final

from gleitzeit.values import Chat, Classification, Completion, Embedding, Request

__all__ = ["estimate"]

#: Characters of a token: usual for English; other scripts have fewer, and the bill sets it right.
CHARACTERS: Final = 4
#: What a picture or a recording counts; vendors say between 85 and 1,600.
MEDIA: Final = 500


def estimate(request: Request) -> int:
    """Tokens read, and written at most where the request says so."""
    operation: Any = request.operation
    match operation:
        case Chat():
            size = sum(_size(part) for message in operation.messages for part in message.parts)
        case Completion():
            size = len(operation.prompt)
        case Embedding() | Classification():
            size = sum(map(len, operation.inputs))
        case _:
            return 0
    return size // CHARACTERS + 1 + (getattr(operation, "max_tokens", None) or 0)


def _size(part: Any) -> int:
    text = getattr(part, "text", None)
    return len(text) if isinstance(text, str) else MEDIA * CHARACTERS
