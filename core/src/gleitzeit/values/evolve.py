"""Copies of frozen values with some fields changed, for where `attrs.evolve` is too slow."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["evolve"]

T = TypeVar("T")
_new, _set = object.__new__, object.__setattr__


def evolve(value: T, names: tuple[str, ...], changes: dict[str, Any]) -> T:
    """A copy of `value`, whose fields are `names`, with `changes`; converters are not run again."""
    new = _new(type(value))
    for name in names:
        _set(new, name, changes[name] if name in changes else getattr(value, name))
    return new
