"""The effort of reasoning as each generation of models takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Model
from gleitzeit_plugin_anthropic.config import AnthropicConfig

__all__ = ["reasoning_fields"]

_LEVELS: Final = ("low", "medium", "high", "xhigh", "max")
_OFF: Final = frozenset({"none", "off", "disabled"})
_LEAST: Final = 1024


def reasoning_fields(
    word: str, model: Model | None, max_tokens: int | None, config: AnthropicConfig
) -> tuple[dict[str, Any], str | None, int]:
    """`thinking` and the effort to ask for, and the output limit that leaves room for both.

    `max_tokens` is the request's own limit; `model` is what the live list says, if it was read.
    """
    limit = config.max_tokens if max_tokens is None else max_tokens
    if word in _OFF:
        return {"type": "disabled"}, None, limit
    level = "low" if word == "minimal" else word
    if level not in _LEVELS:
        raise InvalidRequestError(
            f"reasoning {word!r} is no effort that this API knows",
            hint=f"say one of none, {', '.join(_LEVELS)}, or give `thinking` in the options",
        )
    way = config.thinking if config.thinking != "auto" else _way(model)
    if way == "effort":
        return {}, level, limit
    if way == "adaptive":
        return {"type": "adaptive"}, level if _supports(model, "effort", default=True) else None, limit
    budget = config.thinking_budgets.get(level)
    if budget is None:
        raise InvalidRequestError(
            f"there is no budget for reasoning {level!r}",
            hint=f"add it to `thinking_budgets`: {', '.join(sorted(config.thinking_budgets))} are known",
        )
    if max_tokens is None:
        limit += budget
    elif max_tokens <= _LEAST:
        raise InvalidRequestError(
            f"thinking needs at least {_LEAST} tokens beside the answer, but max_tokens is {max_tokens}",
            hint="raise max_tokens, or leave out reasoning",
        )
    return {"type": "enabled", "budget_tokens": budget}, None, limit


def _way(model: Model | None) -> str:
    """How the model takes it. Unknown models are taken for current ones, which decide for themselves."""
    if model is None or not isinstance(model.metadata.get("capabilities"), Mapping):
        return "adaptive"
    if _supports(model, "thinking", "types", "adaptive"):
        return "adaptive"
    if _supports(model, "thinking", "types", "enabled"):
        return "budget"
    return "effort"


def _supports(model: Model | None, *path: str, default: bool = False) -> bool:
    found: Any = None if model is None else model.metadata.get("capabilities")
    if not isinstance(found, Mapping):
        return default
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and found.get("supported") is True
