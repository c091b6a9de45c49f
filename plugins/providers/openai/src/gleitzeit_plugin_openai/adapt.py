"""What a server has refused of a model's requests, and is not sent again."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from gleitzeit.errors import GleitzeitError
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.responses.bodies import ENCRYPTED

__all__ = ["Adaptations"]

#: Refusals of a field as such, told from those of what is in it.
_REFUSED: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_PHRASES: Final = re.compile(
    r"not\ support | unsupported | unrecognized | unknown\ (?:parameter|field|argument) | not\ permitted"
    r" | deprecated | unexpected\ (?:role|message) | invalid\ role",
    re.I | re.X,
)
_QUOTED: Final = re.compile(r"['\"`]([a-z_]{1,40})(?:[\[.'\"`])")
_LIMITS: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_ROLES: Final = {"system": "developer", "developer": "system"}
#: What an answer would be another without; it is never left out.
_NEEDED: Final = frozenset(
    {"model", "messages", "input", "stream", "store", "tools", "tool_choice", "response_format", "text"}
    | {"max_tokens", "max_completion_tokens", "max_output_tokens", "previous_response_id", "conversation"}
)
_MODELS: Final = 1000


class Adaptations:
    """Learns from refusals, by model.

    What loses nothing is always done: the other spelling of the output limit (unless configured),
    the other role of system turns, no encrypted reasoning. With `adapt`, fields that the server does
    not take are left out, too.
    """

    def __init__(self, config: OpenAIConfig) -> None:
        self._config = config
        self._known: dict[str, dict[str, None]] = {}

    def apply(self, model: str, body: dict[str, Any]) -> set[str]:
        """Change a body as was learnt for its model; gives what was changed."""
        return {name for name in self._known.get(model, ()) if _change(body, name)}

    def learn(self, model: str, error: GleitzeitError, body: dict[str, Any], changed: set[str]) -> bool:
        """Has the refusal named something that can be changed? Then `body` is, once each for one call.

        What is refused either way is forgotten.
        """
        if error.status not in (400, 422):
            return False
        name = self._named(error, body)
        if name is None:
            return False
        if name in changed or _LIMITS.get(name) in changed:
            for known in (name, _LIMITS.get(name, name)):
                self._known.get(model, {}).pop(known, None)
            return False
        if not _change(body, name):
            return False
        changed.add(name)
        if model not in self._known and len(self._known) >= _MODELS:
            self._known.clear()
        self._known.setdefault(model, {})[name] = None
        return True

    def _named(self, error: GleitzeitError, body: dict[str, Any]) -> str | None:
        message, param, code = _said(error)
        if code not in _REFUSED and not _PHRASES.search(message):
            return None
        if param.endswith(".role") or (not param and re.search(r"\brole", message)):
            return "role"
        names = [re.split(r"[.\[]", param)[0]] if param else _QUOTED.findall(message)
        name = next((name for name in names if name in body), None)
        if name in _LIMITS:
            fixed = self._config.max_tokens_field is not None or code == "unsupported_value"
            return None if fixed else name
        if name == "include" or name in _NEEDED:
            return name if name == "include" else None
        return name if self._config.adapt else None


def _said(error: GleitzeitError) -> tuple[str, str, str]:
    """The message of an error, the parameter it names, and its code."""
    try:
        told = msgspec.json.decode(error.body or "")
    except (msgspec.DecodeError, UnicodeError):
        told = None
    inner = told.get("error", told) if isinstance(told, dict) else None
    if not isinstance(inner, dict):
        return error.message, "", ""
    message, param, code = inner.get("message"), inner.get("param"), inner.get("code")
    return (
        message if isinstance(message, str) else error.message,
        param if isinstance(param, str) else "",
        code if isinstance(code, str) else "",
    )


def _change(body: dict[str, Any], name: str) -> bool:
    """Do what was learnt under `name`; False where the body has nothing of it."""
    if name == "role":
        return _swap_roles(body)
    if name not in body:
        return False
    if name in _LIMITS:
        body[_LIMITS[name]] = body.pop(name)
    elif name == "include":
        kept = [entry for entry in body.pop(name) if entry != ENCRYPTED]
        if kept:
            body[name] = kept
    else:
        del body[name]
    return True


def _swap_roles(body: dict[str, Any]) -> bool:
    turns = [
        turn
        for turn in body.get("messages") or body.get("input") or ()
        if isinstance(turn, dict) and turn.get("role") in _ROLES
    ]
    for turn in turns:
        turn["role"] = _ROLES[turn["role"]]
    return bool(turns)
