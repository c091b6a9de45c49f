"""The words of a tool: of its names, tags, parameters and description."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.values import Tool

__all__ = ["fields", "terms"]

#: Where `readFile`, `HTTPServer` and `base64` have their seams.
_SEAM: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)")
_WORD: Final = re.compile(r"[^\W_]+")
_VOWELS: Final = frozenset("aeiouy")
#: Nested schemas deeper than this say little about what a tool is for.
_DEPTH: Final = 6


def terms(text: str) -> list[str]:
    """The words in a text, compared by what is left: parts of compound names, without case and endings."""
    found = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        parts = [part for part in _SEAM.split(word) if part]
        if len(parts) > 1:
            found.append(_stem(word))
        found += [_stem(part) for part in parts]
    return found


def fields(name: str, tool: Tool) -> list[tuple[float, str]]:
    """What is said of a tool, each with how much a word in it counts."""
    instance, _, own = name.partition("/")
    return [
        (3.0, own),
        (2.0, " ".join((*sorted(tool.tags), tool.category or "", tool.title or ""))),
        (1.0, tool.description),
        (1.0, " ".join(_properties(tool.input_schema))),
        (0.5, instance),
    ]


def _properties(schema: Any, depth: int = 0) -> Iterator[str]:
    """The names of the parameters, those inside of others included."""
    if depth > _DEPTH:
        return
    if isinstance(schema, Mapping):
        named = schema.get("properties")
        if isinstance(named, Mapping):
            yield from map(str, named)
        for inner in schema.values():
            yield from _properties(inner, depth + 1)
    elif isinstance(schema, (list, tuple)):
        for inner in schema:
            yield from _properties(inner, depth + 1)


def _stem(word: str) -> str:
    """What `creates`, `creating` and `created` have in common with `create`."""
    word = word.casefold()
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and not _VOWELS.isdisjoint(word[: -len(ending)]) and len(word) > 5:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":  # running
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
