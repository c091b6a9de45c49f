"""Templates of URIs (RFC 6570), read leniently: their server has the last word."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

__all__ = ["Template"]

#: Characters of a URI beyond which it fits no template.
LONGEST: Final = 8192
_STOPS: Final = frozenset("/?#")


@frozen
class Template:
    """What URIs of a template look like.

    Templates are a server's, and URIs a client's: no two of them may take long to match, as those of regular
    expressions can. So this goes through a URI once for each piece.
    """

    #: Texts; None for what may be anything, True for one piece of a path.
    pieces: tuple[str | bool | None, ...]

    @classmethod
    def of(cls, template: str) -> Template:
        """From its text."""
        found: list[str | bool | None] = []
        for piece in re.split(r"(\{[^{}]*\})", template):
            if piece[:1] == "{" and piece[-1:] == "}":
                found.append(None if piece[1:2] in ("+", "#", "/", ".", ";", "?", "&") else True)
            elif piece:
                found.append(piece)
        return cls(tuple(found))

    def fits(self, uri: str) -> bool:
        """May it be a URI of the template?"""
        if len(uri) > LONGEST:
            return False
        ends = {0}
        for piece in self.pieces:
            if isinstance(piece, str):
                ends = {end + len(piece) for end in ends if uri.startswith(piece, end)}
            elif piece is None:
                ends = set(range(min(ends), len(uri) + 1)) if ends else ends
            else:
                ends = _further(uri, ends)
        return len(uri) in ends


def _further(uri: str, starts: set[int]) -> set[int]:
    """Where one or more characters of a piece of a path, from one of `starts`, may end."""
    found = set()
    inside = False
    for place, character in enumerate(uri):
        inside = (inside or place in starts) and character not in _STOPS
        if inside:
            found.add(place + 1)
    return found
