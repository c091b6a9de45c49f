"""Embeddings that come in several answers, as one reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import RateLimits, Reply, Usage
from gleitzeit.wire.exchange import Answer

__all__ = ["Batch", "Vector", "collected", "misfit", "numbers"]

Vector: TypeAlias = tuple[float, ...]
_NUMBERS: Final = list[float]


class Batch(NamedTuple):
    """What one request gave, in the order of its inputs."""

    vectors: Sequence[Vector]
    usage: Usage | None = None
    model: str | None = None


async def collected(
    bodies: Iterable[tuple[int, object]],
    send: Callable[[object], Awaitable[Answer]],
    read: Callable[[bytes, int], Batch],
) -> Reply:
    """The vectors of all requests; each of `bodies` comes with the number of inputs in it."""
    vectors: list[Vector] = []
    usage: Usage | None = None
    model: str | None = None
    limits: RateLimits | None = None  # of the last answer, as they are the newest
    for count, body in bodies:
        answer = await send(body)
        batch = read(answer.body, count)
        vectors += batch.vectors
        limits, model = answer.limits, batch.model or model
        usage = batch.usage if usage is None else usage if batch.usage is None else usage + batch.usage
    return Reply(vectors=tuple(vectors), usage=usage, model=model, limits=limits)


def numbers(value: Any) -> Vector:
    """A vector out of decoded JSON; raises `MalformedAnswerError`."""
    try:
        return tuple(msgspec.convert(value, _NUMBERS))
    except msgspec.ValidationError:
        raise misfit("an embedding is no list of numbers") from None


def misfit(what: str, hint: str | None = None) -> MalformedAnswerError:
    """The fault of vectors that asking again would not mend."""
    return MalformedAnswerError(what, hint=hint, sent=True, retryable=False)
