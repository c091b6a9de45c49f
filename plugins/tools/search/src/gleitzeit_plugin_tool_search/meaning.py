"""Ranks tools by what they mean, with the vectors of a model of the host's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.kinds import Context
from gleitzeit.values import Embedding

__all__ = ["Meaning", "fused"]

#: Vectors that are kept; the oldest are made anew when needed.
_KEPT: Final = 10_000
#: Texts in one request.
_BATCH: Final = 64
#: Damps the difference between first places when rankings are fused.
_DAMP: Final = 60


class Meaning:
    """Embeds texts through the host, each once."""

    def __init__(self, context: Context, model: str) -> None:
        self._context = context
        self._model = model
        self._vectors: dict[str, tuple[float, ...]] = {}

    async def rank(self, query: str, texts: Mapping[str, str], deadline: float | None) -> list[str]:
        """The names of all texts, nearest in meaning first. Raises what the model's call raises."""
        vectors = await self._embedded((query, *texts.values()), deadline)
        asked = vectors[query]
        near = {name: _cosine(asked, vectors[text]) for name, text in texts.items()}
        return sorted(near, key=lambda name: (-near[name], name))

    async def _embedded(
        self, texts: Iterable[str], deadline: float | None
    ) -> Mapping[str, tuple[float, ...]]:
        wanted = dict.fromkeys(texts)
        missing = [text for text in wanted if text not in self._vectors]
        fresh: dict[str, tuple[float, ...]] = {}
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            reply = await self._context.ask(Embedding(batch).to(self._model, deadline=deadline))
            if reply.vectors is None or len(reply.vectors) != len(batch):
                raise MalformedAnswerError(f"{self._model} gave no vector for each text")
            fresh.update(zip(batch, reply.vectors, strict=True))
        found = {**{text: self._vectors[text] for text in wanted if text in self._vectors}, **fresh}
        self._vectors.update(fresh)
        while len(self._vectors) > _KEPT:
            del self._vectors[next(iter(self._vectors))]
        return found


def fused(*rankings: Sequence[str]) -> list[str]:
    """One ranking of several, by reciprocal ranks: what is high in each is highest."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, name in enumerate(ranking):
            scores[name] = scores.get(name, 0.0) + 1 / (_DAMP + place)
    return sorted(scores, key=lambda name: (-scores[name], name))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    size = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=False)) / size if size else 0.0
