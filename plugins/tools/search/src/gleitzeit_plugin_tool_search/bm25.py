"""Ranks documents by words: Okapi BM25 over fields of different weight."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gleitzeit_plugin_tool_search.words import terms

__all__ = ["Index"]

#: How soon a word that is repeated counts no more.
K1: Final = 1.2
#: How much a long document is worth less.
B: Final = 0.75


class Index:
    """Documents by name, each as texts with the weight of a word in them."""

    def __init__(self, documents: Mapping[str, Sequence[tuple[float, str]]]) -> None:
        self._lengths: dict[str, float] = {}
        #: Word -> document -> how often it comes there, weighted.
        self._places: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for name, fields in documents.items():
            counts: Counter[str] = Counter()
            for weight, text in fields:
                for term in terms(text):
                    counts[term] += weight  # type: ignore[assignment]  # a Counter adds floats as well
            self._lengths[name] = sum(counts.values())
            for term, count in counts.items():
                self._places[term][name] = count
        self._mean = sum(self._lengths.values()) / max(1, len(self._lengths)) or 1.0

    def scores(self, query: str) -> dict[str, float]:
        """Document -> score, above zero, of those with at least one of the words."""
        found: defaultdict[str, float] = defaultdict(float)
        total = len(self._lengths)
        for term in dict.fromkeys(terms(query)):
            places = self._places.get(term, {})
            rarity = math.log(1 + (total - len(places) + 0.5) / (len(places) + 0.5))
            for name, count in places.items():
                norm = K1 * (1 - B + B * self._lengths[name] / self._mean)
                found[name] += rarity * count * (K1 + 1) / (count + norm)
        return dict(found)

    def rank(self, query: str, among: Iterable[str] | None = None) -> list[str]:
        """The documents with at least one of the words, best first; equal ones by name."""
        scores = self.scores(query)
        names = scores if among is None else [name for name in dict.fromkeys(among) if name in scores]
        return sorted(names, key=lambda name: (-scores[name], name))
