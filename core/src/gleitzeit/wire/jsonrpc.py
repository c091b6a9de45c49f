"""JSON-RPC messages as bytes, for the wires that carry MCP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gleitzeit.errors import InvalidRequestError

__all__ = ["dump", "messages"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_FIELDS: Final = frozenset({"method", "result", "error"})


def messages(text: bytes) -> list[Mapping[str, Any]] | None:
    """The messages in a JSON text: one, those of a batch, none of a blank text; None for junk."""
    if not text or text.isspace():
        return []
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:  # lone surrogates and NaN, which JavaScript and Python servers do write
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
    found = value if isinstance(value, list) else [value]
    if found and all(isinstance(item, dict) and not _FIELDS.isdisjoint(item) for item in found):
        return found
    return None


def dump(message: Mapping[str, Any], name: str) -> bytes:
    """The message as a JSON text without line breaks; `name` is whom it is for.

    Raises `InvalidRequestError` where something in it has no form in JSON.
    """
    try:
        return _encode(message)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequestError(
            f"a message to {name!r} cannot be written as JSON: {error}", provider=name, sent=False
        ) from error
