"""Embeddings: vectors in any order, as numbers or as base64."""

from __future__ import annotations

import array
import base64
import binascii
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.wire.vectors import Batch, Vector, misfit
from gleitzeit_plugin_openai.usage import usage_of

__all__ = ["read_vectors"]


class _Item(msgspec.Struct, gc=False):
    embedding: Any = None
    index: Any = None


class _Answer(msgspec.Struct, gc=False):
    """An embeddings answer, or an error in its place."""

    data: list[_Item] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


def read_vectors(body: bytes, count: int, error: Callable[[object], GleitzeitError]) -> Batch:
    """The vectors in the order of the `count` inputs.

    Raises `MalformedAnswerError` for vectors that are missing, doubled, or one per token: some
    servers do not pool, and a caller could not tell.
    """
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedAnswerError("the answer is not the JSON of embeddings", body=body, sent=True) from None
    if answer.data is None:
        if answer.error is None:
            raise MalformedAnswerError("the answer holds no embeddings", body=body, sent=True)
        raise error(body)
    ordered: dict[int, Vector] = {}
    for position, item in enumerate(answer.data):
        index = item.index if type(item.index) is int else position
        if index in ordered:
            raise misfit(f"two embeddings have the index {index}")
        ordered[index] = _vector(item.embedding)
    if sorted(ordered) != list(range(count)):
        raise misfit(f"{len(ordered)} embeddings came for {count} inputs, or with foreign indexes")
    model = answer.model if isinstance(answer.model, str) and answer.model else None
    return Batch([ordered[index] for index in range(count)], usage_of(answer.usage), model)


def _vector(value: Any) -> Vector:
    if isinstance(value, str):
        try:
            numbers = array.array("f", base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise misfit("an embedding is not base64 of 32-bit numbers") from None
        if sys.byteorder == "big":
            numbers.byteswap()
        return tuple(numbers)
    if isinstance(value, list) and value and isinstance(value[0], list):
        raise misfit(
            "the server gives one vector per token instead of one per text",
            hint="start it with pooling, or use another server for embeddings",
        )
    if not isinstance(value, list) or not all(type(number) in (float, int) for number in value):
        raise misfit("an embedding is neither a list of numbers nor base64")
    return tuple(map(float, value))
