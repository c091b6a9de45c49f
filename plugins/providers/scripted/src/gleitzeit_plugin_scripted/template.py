"""Placeholders in the texts of a script: `{prompt}` is filled in, nothing is ever executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = ["CONVERSIONS", "WORDS", "fill", "fill_text", "placeholders"]

#: What every rule may use; a regular expression adds its groups, `{1}` or `{name}`.
WORDS: Final = frozenset({"prompt", "system", "result", "model", "call"})

#: `{1:int}` alone in a string gives a number instead of text.
CONVERSIONS: Final[Mapping[str, Callable[[str], Any]]] = {"int": int, "float": float, "json": json.loads}

_PLACEHOLDER: Final = re.compile(r"\{\{(?P<literal>\w+(:\w+)?)\}\}|\{(?P<name>\w+)(:(?P<how>\w+))?\}")


def placeholders(value: Any) -> Iterator[tuple[str, str | None]]:
    """Name and conversion of every placeholder in `value`, a string or plain data that holds strings."""
    if isinstance(value, str):
        for found in _PLACEHOLDER.finditer(value):
            if found["name"]:
                yield found["name"], found["how"]
    elif isinstance(value, Mapping):
        yield from placeholders(list(value.values()))
    elif isinstance(value, Iterable):
        for item in value:
            yield from placeholders(item)


def fill_text(text: str, words: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced; `{{prompt}}` stands for the literal `{prompt}`.

    Other braces are left alone, and what is filled in is not looked at again.
    """

    def replace(found: re.Match[str]) -> str:
        return words[found["name"]] if found["name"] else f"{{{found['literal']}}}"

    return _PLACEHOLDER.sub(replace, text)


def fill(value: Any, words: Mapping[str, str]) -> Any:
    """Plain data with the placeholders of its strings replaced.

    A string that is one placeholder with a conversion becomes what the conversion makes of it;
    `ValueError` where that fails.
    """
    if isinstance(value, str):
        found = _PLACEHOLDER.fullmatch(value)
        if found is not None and found["how"]:
            return CONVERSIONS[found["how"]](words[found["name"]])
        return fill_text(value, words)
    if isinstance(value, Mapping):
        return {key: fill(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    return value
