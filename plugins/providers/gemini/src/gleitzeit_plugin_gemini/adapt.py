"""Fields that a model has refused: left out once told, and from then on."""

from __future__ import annotations

import re
from typing import Any, Final

from gleitzeit.errors import GleitzeitError

__all__ = ["Refusals"]

#: What an answer can do without. A limit or a schema is never dropped: the caller relies on them.
_OPTIONAL: Final = (
    "temperature",
    "topP",
    "topK",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "thinkingConfig",
)
_THINKING: Final = ("thinkingLevel", "thinkingBudget", "includeThoughts")


class Refusals:
    """What each model has refused so far."""

    def __init__(self) -> None:
        self._refused: dict[str, set[str]] = {}

    def apply(self, model: str, body: dict[str, Any]) -> None:
        """Take out of `body` what `model` has refused."""
        for name in self._refused.get(model, ()):
            _drop(body, name)

    def learn(self, model: str, body: dict[str, Any], error: GleitzeitError) -> bool:
        """Is `error` about an optional field of `body`? Then that is taken out and remembered."""
        if error.status != 400:
            return False
        generation = body.get("generationConfig") or {}
        thinking = generation.get("thinkingConfig") or {}
        present = [name for name in _THINKING if name in thinking]
        present += [name for name in _OPTIONAL if name in generation]
        for name in present:
            if _pattern(name).search(error.body if isinstance(error.body, str) else str(error)):
                _drop(body, name)
                self._refused.setdefault(model, set()).add(name)
                return True
        return False


def _drop(body: dict[str, Any], name: str) -> None:
    generation = body.get("generationConfig")
    if not isinstance(generation, dict):
        return
    generation.pop(name, None)
    thinking = generation.get("thinkingConfig")
    if isinstance(thinking, dict):
        thinking.pop(name, None)
        if not thinking:
            del generation["thinkingConfig"]
    if not generation:
        del body["generationConfig"]


def _pattern(name: str) -> re.Pattern[str]:
    """The name as the vendor may spell it: thinkingLevel, thinking_level, Thinking level."""
    words = re.sub(r"([A-Z])", r"[_ ]?\1", name)
    return re.compile(rf"(?<![a-z]){words}(?![a-z])", re.I)
