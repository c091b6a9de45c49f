"""Vectors and labels without a model: made from words and from the script."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Label
from gleitzeit_plugin_scripted.config import Rule

__all__ = ["labels_of", "vector_of"]


def vector_of(text: str, dimensions: int) -> tuple[float, ...]:
    """A vector of length one that depends on the words of `text` alone; texts that share words are closer."""
    sums = [0.0] * dimensions
    for word in text.casefold().split() or [""]:
        digest = hashlib.blake2b(word.encode(), digest_size=16).digest()
        place = int.from_bytes(digest[:8], "big") % dimensions
        sums[place] += 1.0 if digest[8] & 1 else -1.0
    norm = math.sqrt(sum(value * value for value in sums))
    if not norm:  # words that cancel each other out
        sums[0] = norm = 1.0
    return tuple(value / norm for value in sums)


def labels_of(rule: Rule, allowed: Sequence[str], instance: str) -> tuple[Label, ...]:
    """The labels of `rule`, best first, without those that the request does not allow."""
    labels = [
        Label(name, score=score) for name, score in rule.labels.items() if not allowed or name in allowed
    ]
    if not labels:
        raise InvalidRequestError(
            "the script has none of the labels that the request allows",
            hint="allow other labels, or add them to the script",
            provider=instance,
            sent=False,
        )
    return tuple(sorted(labels, key=lambda label: -(label.score or 0.0)))
