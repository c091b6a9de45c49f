"""Bodies held against the types that a vendor's SDK declares for its requests.

The SDKs hand dictionaries on unchecked; pydantic reads an `Iterable` of them lazily and lets unknown
keys through. So the declarations are walked here: every key must be declared, every required one there.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import pydantic
import typing_extensions

__all__ = ["problems"]

_LISTS = (list, Iterable, Sequence, tuple)
_MAPS = (dict, Mapping)
_OPTIONAL = (Required, NotRequired, typing_extensions.Required, typing_extensions.NotRequired)


def problems(declared: Any, value: Any, at: str = "") -> list[str]:
    """What `value` violates of a declared type; of a union, by the member that it misses least."""
    origin = get_origin(declared)
    if declared in (Any, object):
        return []
    if typing_extensions.is_typeddict(declared):
        return _keys(declared, value, at)
    if origin is Annotated or origin in _OPTIONAL:
        return problems(get_args(declared)[0], value, at)
    if origin in (Union, types.UnionType):
        found = [problems(each, value, at) for each in get_args(declared)]
        return min(found, key=_distance)
    if origin is Literal or origin is typing_extensions.Literal:
        fits = any(value == each and type(value) is type(each) for each in get_args(declared))
        return [] if fits else [f"{at}: {value!r:.60} is none of {get_args(declared)!r:.200}"]
    if origin in _LISTS:
        if not isinstance(value, list):
            return [f"{at}: {type(value).__name__} is no list"]
        return [
            problem
            for place, each in enumerate(value)
            for problem in problems(get_args(declared)[0], each, f"{at}/{place}")
        ]
    if origin in _MAPS or declared in _MAPS:
        if not isinstance(value, dict):
            return [f"{at}: {type(value).__name__} is no object"]
        inner = get_args(declared)[1] if get_args(declared) else object
        return [problem for key, each in value.items() for problem in problems(inner, each, f"{at}/{key}")]
    return [] if _is(declared, value) else [f"{at}: {value!r:.60} is no {declared!r:.60}"]


def _keys(declared: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {type(value).__name__} is no {declared.__name__}"]
    fields, required = _fields(declared)
    found = [f"{at}/{key}: required of {declared.__name__}" for key in sorted(required - value.keys())]
    for key, each in value.items():
        if key in fields:
            found += problems(fields[key], each, f"{at}/{key}")
        else:
            found.append(f"{at}/{key}: unknown to {declared.__name__}")
    return found


@functools.cache
def _fields(declared: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The declared types by the names of the wire, and the names that must be there."""
    hints = typing_extensions.get_type_hints(declared, include_extras=True)
    fields, required = {}, set()
    for key, hint in hints.items():
        name = _alias(hint) or key
        fields[name] = hint
        kind: Any = get_origin(hint)
        if kind in (Required, typing_extensions.Required) or (
            key in declared.__required_keys__ and kind not in _OPTIONAL
        ):
            required.add(name)
    return fields, frozenset(required)


def _alias(hint: Any) -> str | None:
    while get_origin(hint) in _OPTIONAL:
        hint = get_args(hint)[0]
    found = (getattr(extra, "alias", None) for extra in getattr(hint, "__metadata__", ()))
    return next((alias for alias in found if isinstance(alias, str)), None)


def _is(declared: Any, value: Any) -> bool:
    if declared in (None, type(None)):
        return value is None
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(declared, type) and issubclass(declared, pydantic.BaseModel):
        try:
            declared.model_validate(value)
        except pydantic.ValidationError:
            return False
        return True
    return type(value) is declared  # what is no JSON type, such as a path, is nothing that we send


def _distance(found: list[str]) -> tuple[int, int]:
    """How far a member of a union is off: a wrong tag is worse than a wrong field below it."""
    shallow = min((problem.count("/") for problem in found), default=99)
    return len(found), -shallow
