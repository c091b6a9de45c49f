"""Paths of models and methods."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from gleitzeit.errors import InvalidRequestError
from gleitzeit_plugin_gemini.config import GeminiConfig

__all__ = ["full_name", "path_of", "plain_name", "state_owner"]

#: The key of our options in `Chat.options`, and the beginning of the tag of our state.
PLUGIN: Final = "gemini"
_KINDS: Final = ("models/", "tunedModels/")


def plain_name(name: str) -> str:
    """The name of a model as callers give it, out of one as the API gives it."""
    return name.removeprefix("publishers/google/").removeprefix("models/")


def full_name(model: str, config: GeminiConfig) -> str:
    """The resource name of a model: `models/gemini-…`, and below the project of Vertex AI."""
    name = model if model.startswith(_KINDS) else f"models/{model}"
    kind, _, rest = name.partition("/")
    if not rest or {"", ".", ".."} & set(rest.split("/")):
        raise InvalidRequestError(f"{model!r} is no name of a model")
    name = f"{kind}/{quote(rest, safe='')}"
    if not config.vertex:
        return name
    return f"projects/{config.project}/locations/{config.location}/publishers/google/{name}"


def path_of(model: str, method: str, config: GeminiConfig) -> str:
    """The path of a method of a model, below the root."""
    return f"/{full_name(model, config)}:{method}"


def state_owner(config: GeminiConfig, model: str) -> str:
    """The tag of opaque state: it belongs to one service and one model."""
    return f"{PLUGIN}:{'vertex' if config.vertex else config.site}:{plain_name(model)}"
