"""Values to JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import attrs

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import RateLimits, Reply
from gleitzeit.wire.shapes import ERROR_FIELDS, Field, Misfit, each, every, free, plan

__all__ = ["encode"]


def encode(value: Any) -> Any:
    """`value` in JSON's types; raises `Misfit`."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return _finite(value)
    if attrs.has(kind):
        return _encode_object(value, plan(kind).tag, plan(kind).fields)
    if kind is bytes:
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (tuple, list)):
        return each(encode, value)
    if isinstance(value, (frozenset, set)):
        return sorted(map(encode, value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseException):
        return _encode_error(value)
    return _encode_plain(value)


def _encode_object(value: Any, tag: tuple[str, str] | None, fields: tuple[Field, ...]) -> dict[str, Any]:
    data: dict[str, Any] = {} if tag is None else {tag[0]: tag[1]}
    for name, type_, default, _ in fields:
        item = getattr(value, name)
        if type(item) is type(default) and item == default:
            continue
        try:
            data[name] = (_encode_plain if free(type_) else encode)(item)
        except Misfit as misfit:
            raise misfit.under(f".{name}") from None
    return data


def _encode_plain(value: Any) -> Any:
    """What stands in a free field comes back as it is, so only JSON may stand there."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, (list, tuple)):
        return each(_encode_plain, value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise Misfit("text as the key of an object", key)
        return every(_encode_plain, value)
    raise Misfit("a JSON value", value)


def _encode_error(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, GleitzeitError):
        # The text of a foreign error may quote content or a secret.
        return {"code": GleitzeitError.code, "message": type(error).__name__}
    data: dict[str, Any] = {"code": error.code}
    for name in ERROR_FIELDS:
        if (item := getattr(error, name)) is not None:
            data[name] = item
    if isinstance(error.limits, RateLimits):
        data["limits"] = encode(error.limits)
    if isinstance(error.partial, Reply):
        data["partial"] = encode(error.partial)
    return data


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise Misfit("a finite number", value)
