"""How many tokens a request may take, before its vendor has counted them."""

from __future__ import annotations

from typing import Any, Final

from gleitzeit.values import Chat, Classification, Completion, Embedding, Request, TextPart

__all__ = ["estimate"]

#: Characters of a token: usual for English; other scripts have fewer, and the bill sets it right.
CHARACTERS: Final = 4
#: What a picture or a recording counts; vendors say between 85 and 1,600.
MEDIA: Final = 500


def estimate(request: Request) -> int:
    """Tokens read, and written at most where the request says so."""
    operation: Any = request.operation
    if isinstance(operation, Chat):
        size = 0
        for message in operation.messages:
            for part in message.parts:
                size += len(part.text) if type(part) is TextPart else _size(part)
    elif isinstance(operation, Completion):
        size = len(operation.prompt)
    elif isinstance(operation, Embedding | Classification):
        return sum(map(len, operation.inputs)) // CHARACTERS + 1
    else:
        return 0
    return size // CHARACTERS + 1 + (operation.max_tokens or 0)


def _size(part: Any) -> int:
    text = getattr(part, "text", None)
    return len(text) if isinstance(text, str) else MEDIA * CHARACTERS
