"""Parameters that a model turned out to refuse."""

from __future__ import annotations

import re
from typing import Any

from gleitzeit.errors import GleitzeitError
from gleitzeit_plugin_anthropic.bodies import SAMPLING

__all__ = ["Refusals"]


class Refusals:
    """Learns from refusals which sampling parameters a model does not take.

    What it takes without thinking it may refuse with it, so that the two are learned apart.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, bool], set[str]] = {}

    def adapt(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body without what is known to be refused."""
        known = self._known.get(_key(body))
        return {name: value for name, value in body.items() if name not in known} if known else body

    def learn(self, body: dict[str, Any], error: GleitzeitError) -> bool:
        """Does the error refuse a sampling parameter of the body, so that asking without it makes sense?"""
        if error.status != 400:
            return False
        named = [name for name in SAMPLING if name in body and re.search(rf"\b{name}\b", error.message, re.A)]
        if len(named) > 1 and re.search(r"\bboth\b", error.message):
            named = named[1:]  # one of them is taken
        self._known.setdefault(_key(body), set()).update(named)
        return bool(named)


def _key(body: dict[str, Any]) -> tuple[Any, bool]:
    thinking = body.get("thinking")
    return body.get("model"), isinstance(thinking, dict) and thinking.get("type") != "disabled"
