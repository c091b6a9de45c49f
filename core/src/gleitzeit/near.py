"""Finds the names that a misspelt one may have meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "near"]


def near(name: str, options: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The options that resemble `name`, whatever their case, best first; none far behind the best."""
    from difflib import SequenceMatcher  # only on the way to an error

    matcher = SequenceMatcher(b=name.casefold())
    found = []
    for option in dict.fromkeys(options):
        matcher.set_seq1(option.casefold())
        found.append((matcher.ratio(), option))
    found.sort(key=lambda each: (-each[0], each[1]))
    return tuple(option for ratio, option in found[:limit] if ratio >= max(0.6, found[0][0] - 0.1))


def did_you_mean(name: str, options: Iterable[str], otherwise: str = "") -> str:
    """The question that belongs into a hint, or `otherwise` where nothing resembles `name`."""
    found = near(name, options)
    return f"did you mean {' or '.join(repr(option) for option in found)}?" if found else otherwise
