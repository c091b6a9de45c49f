"""Copies of frozen values with some fields changed, for where `attrs.evolve` is too slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import AttrsInstance, fields

__all__ = ["changer", "copier"]

T = TypeVar("T", bound=AttrsInstance)


def copier(cls: type[T]) -> Callable[[T, dict[str, Any]], T]:
    """A function `copy(value, changes)` for values of `cls`; converters are not run again.

    It is written out field by field, as attrs writes `__init__`: half the time of a loop.
    """
    if "__slots__" not in vars(cls):
        known = frozenset(attribute.name for attribute in fields(cls))

        def copy_fields(value: T, changes: dict[str, Any]) -> T:
            if not changes.keys() <= known:
                raise KeyError(*(changes.keys() - known))
            new = object.__new__(cls)
            new.__dict__.update(value.__dict__)
            new.__dict__.update(changes)
            return new

        return copy_fields
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


def changer(cls: type[T], *changed: str) -> Callable[..., T]:
    """A function `change(value, *items)` that copies a value with just these fields changed, in this order.

    For the few copies that every call makes: a third less than `copier`. A class with many fields
    and few readers may do without slots; its values are made and copied in half the time.
    """
    names = [attribute.name for attribute in fields(cls)]
    scope: dict[str, Any] = {"cls": cls, "make": object.__new__}
    lines = [f"def change(value, {', '.join(changed)}):", "    new = make(cls)"]
    if "__slots__" in vars(cls):
        scope |= {f"set_{name}": getattr(cls, name).__set__ for name in names}
        lines += [f"    set_{name}(new, {name if name in changed else f'value.{name}'})" for name in names]
    else:
        lines += ["    fields = new.__dict__", "    fields.update(value.__dict__)"]
        lines += [f"    fields[{name!r}] = {name}" for name in changed]
    exec("\n".join([*lines, "    return new"]), scope)  # noqa: S102 - as above
    change: Callable[..., T] = scope["change"]
    return change
