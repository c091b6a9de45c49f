"""Embeddings: one vector for each text, in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.values import Usage
from gleitzeit_plugin_ollama.listing import decoded
from gleitzeit_plugin_ollama.reader import usage_of

__all__ = ["Batch", "Vector", "read_vectors"]

Vector: TypeAlias = tuple[float, ...]
_NUMBERS: Final = list[float]


class Batch(NamedTuple):
    """What one request gave."""

    vectors: list[Vector]
    usage: Usage | None
    model: str | None


def read_vectors(body: bytes, count: int, error: Callable[[object], GleitzeitError]) -> Batch:
    """The vectors of `count` texts; raises `MalformedAnswerError` where there are more or fewer."""
    answer = decoded(body, "the answer")
    if answer.get("error") is not None:
        raise error(body)
    rows = answer.get("embeddings")
    if not isinstance(rows, list) or len(rows) != count:
        found = len(rows) if isinstance(rows, list) else "no"
        raise MalformedAnswerError(
            f"{found} embeddings came for {count} texts", body=body, sent=True, retryable=False
        )
    model = answer.get("model")
    rest = {name: value for name, value in answer.items() if name != "embeddings"}
    return Batch(
        [_vector(row) for row in rows], usage_of(rest), model if isinstance(model, str) and model else None
    )


def _vector(row: Any) -> Vector:
    try:
        return tuple(msgspec.convert(row, _NUMBERS))
    except msgspec.ValidationError:
        raise MalformedAnswerError("an embedding is no list of numbers", sent=True, retryable=False) from None
