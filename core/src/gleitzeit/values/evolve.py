"""Copies of frozen values with some fields changed, for where `attrs.evolve` is too slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import AttrsInstance, fields

__all__ = ["copier"]

T = TypeVar("T", bound=AttrsInstance)


def copier(cls: type[T]) -> Callable[[T, dict[str, Any]], T]:
    """A function `copy(value, changes)` for values of `cls`; converters are not run again.

    It is written out field by field, as attrs writes `__init__`: half the time of a loop.
    """
    names = [attribute.name for attribute in fields(cls)]
    setters = {name: getattr(cls, name).__set__ for name in names}
    scope: dict[str, Any] = {"cls": cls, "make": object.__new__, "setters": setters}
    scope |= {f"set_{name}": setter for name, setter in setters.items()}
    lines = ["def copy(value, changes):", "    new = make(cls)"]
    lines += [f"    set_{name}(new, value.{name})" for name in names]
    lines += ["    for name, item in changes.items():", "        setters[name](new, item)", "    return new"]
    exec("\n".join(lines), scope)  # noqa: S102 - nothing but the names of our own fields goes into it
    copy: Callable[[T, dict[str, Any]], T] = scope["copy"]
    return copy
