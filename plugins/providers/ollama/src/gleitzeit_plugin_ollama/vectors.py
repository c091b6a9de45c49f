"""Embeddings: one vector for each text, in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable

from gleitzeit.errors import GleitzeitError
from gleitzeit.wire.vectors import Batch, misfit, numbers
from gleitzeit_plugin_ollama.listing import record
from gleitzeit_plugin_ollama.reader import usage_of

__all__ = ["read_vectors"]


def read_vectors(body: bytes, count: int, error: Callable[[object], GleitzeitError]) -> Batch:
    """The vectors of `count` texts; raises `MalformedAnswerError` where there are more or fewer."""
    answer = record(body, "the answer")
    if answer.get("error") is not None:
        raise error(body)
    rows = answer.get("embeddings")
    if not isinstance(rows, list) or len(rows) != count:
        found = len(rows) if isinstance(rows, list) else "no"
        raise misfit(f"{found} embeddings came for {count} texts")
    model = answer.get("model")
    rest = {name: value for name, value in answer.items() if name != "embeddings"}
    vectors = [numbers(row) for row in rows]
    return Batch(vectors, usage_of(rest), model if isinstance(model, str) and model else None)
