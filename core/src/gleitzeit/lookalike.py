"""Names that a reader, or a model, takes for one another."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["look_alikes", "skeleton", "visible"]

#: Letters and digits that are drawn like a Latin letter, after folding of case.
_ALIKE: Final = {
    "a": "аαɑ",
    "b": "Ььβ",
    "c": "сϲ",
    "d": "ԁ",
    "e": "еҽ",
    "g": "ɡց",
    "h": "һհ",
    "i": "іιıɩ",
    "j": "јϳ",
    "k": "кκ",
    "l": "ӏ1ǀ",
    "m": "м",
    "n": "ոп",
    "o": "оοσ0օ",
    "p": "рρ",
    "q": "ԛզ",
    "r": "г",
    "s": "ѕ",
    "t": "тτ",
    "u": "υսц",
    "v": "ѵν",
    "w": "ԝѡω",
    "x": "хχ",
    "y": "уүγ",
    "z": "ᴢ",
    "_": "-‐‑‒–—―−‿⁀",
    ".": "․·‧",
}
_TABLE: Final = {ord(odd): plain for plain, several in _ALIKE.items() for odd in several}
#: Folding is repeated until nothing changes; no text needs more rounds.
_ROUNDS: Final = 8


@lru_cache(maxsize=4096)  # the same tools are looked at for each conversation
def skeleton(name: str) -> str:
    """What is left of a name when all that the eye passes over is made equal.

    Width, ligatures, case, invisible characters, letters of other scripts that look Latin, `-` and `_`;
    `/` is the `__` that it becomes on wires. Equal skeletons mean names that look alike.
    """
    text = name
    for _ in range(_ROUNDS):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        folded = folded.replace("/", "__").translate(_TABLE)
        folded = "".join(each for each in folded if not _unseen(each))
        if folded == text:
            break
        text = folded
    return text


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of names that look alike, in the order in which they come; a name that comes twice does."""
    groups: dict[str, list[str]] = {}
    for name in names:
        keys = _skeletons(name)
        group = next((groups[key] for key in keys if key in groups), [])
        group.append(name)
        for key in keys:
            groups.setdefault(key, group)
    distinct = {id(group): group for group in groups.values()}
    return [tuple(group) for group in distinct.values() if len(group) > 1]


def _skeletons(name: str) -> tuple[str, ...]:
    """What a name may be taken for: a capital I is an i, and is drawn as an l."""
    first = skeleton(name)
    drawn = unicodedata.normalize("NFKC", name)
    return (first, skeleton(drawn.replace("I", "l"))) if "I" in drawn else (first,)


def visible(text: str) -> str:
    """A text as a person may trust what they read: what cannot be seen, or looks like another, is escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if _honest(each) else ascii(each)[1:-1] for each in text)


def _honest(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    return character.isprintable() and skeleton(character) == character.casefold()


def _unseen(character: str) -> bool:
    """Is it drawn as nothing? Among the marks those that choose a variant, and a filler of Hangul."""
    return (
        unicodedata.category(character) in ("Cf", "Cc")
        or character in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
        or "\ufe00" <= character <= "\ufe0f"
    )
