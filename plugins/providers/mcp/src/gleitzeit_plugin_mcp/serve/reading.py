"""Bodies of requests as messages."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import msgspec

__all__ = ["NoNumber", "read"]

_decoder: Final = msgspec.json.Decoder()


class NoNumber(Exception):
    """There is a number that JSON has not; Python reads it, and would send on a null."""


def read(body: bytes) -> Any:
    """The message, or None where it is none. Raises `NoNumber`."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:  # as Python does: half of a surrogate pair is JSON
        return json.loads(body, parse_constant=_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _constant(text: str) -> None:
    raise NoNumber(text)


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise NoNumber(text)
    return found
