"""Shapes of JSON, by which the fakes of vendors refuse what their vendors refuse.

A shape is a type (`str`, `bool`, `int`, `float` for any number, `dict`, `list`, `object` for anything), a
tuple of shapes of which one must fit, or one of the classes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

__all__ = ["Each", "Fields", "Misfit", "Null", "Number", "Tagged", "Text", "Values", "Words", "misfit"]


def _tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@frozen
class Misfit:
    """What does not fit, and where: `path` has names and places, the last one that of the fault."""

    kind: Literal["missing", "unknown", "type", "value"]
    path: tuple[str | int, ...]

    @property
    def name(self) -> str:
        """The name of the field at fault."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")

    def dotted(self, *, brackets: bool = False) -> str:
        """The path as text: `messages.0.role`, or with brackets `messages[0].role`."""
        if not brackets:
            return ".".join(map(str, self.path))
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")


@frozen
class Fields:
    """An object. Other fields than these are refused, unless it is `open`."""

    fields: Mapping[str, Any]
    #: What must be there; the first of them that is missing is told.
    required: tuple[str, ...] = field(default=(), converter=_tuple)
    open: bool = field(default=False, kw_only=True)
    #: May every field be null?
    nullable: bool = field(default=False, kw_only=True)


@frozen
class Values:
    """An object with any names; `of` is the shape of its values."""

    of: Any


@frozen
class Each:
    """A list; `of` is the shape of its items."""

    of: Any
    least: int = 0
    most: int | None = None


@frozen
class Tagged:
    """An object whose field `tag` names its shape. What `others` names is let through as it is."""

    tag: str
    shapes: Mapping[str, Any]
    others: frozenset[str] = field(default=frozenset(), converter=_set, kw_only=True)


@frozen
class Words:
    """One of some texts."""

    words: frozenset[str] = field(converter=_words)


@frozen
class Text:
    """A text of some length, or of some form."""

    least: int = 0
    most: int | None = None
    pattern: str = ""


@frozen
class Number:
    """A number within bounds; `whole` for integers."""

    low: float | None = None
    high: float | None = None
    whole: bool = False


@frozen
class Null:
    """null, or the shape."""

    of: Any


_TYPES: Final[Mapping[Any, Any]] = {float: (int, float)}


def misfit(shape: Any, value: Any, path: tuple[str | int, ...] = ()) -> Misfit | None:
    """The first thing in `value` that does not have the shape; None where all fits."""
    if isinstance(shape, type):
        return None if _is(shape, value) else Misfit("type", path)
    if isinstance(shape, tuple):
        return _either(shape, value, path)
    if isinstance(shape, Null):
        return None if value is None else misfit(shape.of, value, path)
    if isinstance(shape, Fields):
        return _fields(shape, value, path)
    if isinstance(shape, Tagged):
        return _tagged(shape, value, path)
    if isinstance(shape, Values):
        if not isinstance(value, dict):
            return Misfit("type", path)
        return _first(misfit(shape.of, inner, (*path, name)) for name, inner in value.items())
    if isinstance(shape, Each):
        if not isinstance(value, list):
            return Misfit("type", path)
        if len(value) < shape.least or (shape.most is not None and len(value) > shape.most):
            return Misfit("value", path)
        return _first(misfit(shape.of, inner, (*path, place)) for place, inner in enumerate(value))
    return _plain(shape, value, path)


def _plain(shape: Words | Text | Number, value: Any, path: tuple[str | int, ...]) -> Misfit | None:
    if isinstance(shape, Number):
        if not _is(float, value) or (shape.whole and value != int(value)):
            return Misfit("type", path)  # 40.0 is a whole number in JSON
        low = shape.low is None or value >= shape.low
        return None if low and (shape.high is None or value <= shape.high) else Misfit("value", path)
    if not isinstance(value, str):
        return Misfit("type", path)
    if isinstance(shape, Words):
        return None if value in shape.words else Misfit("value", path)
    fits = len(value) >= shape.least and (shape.most is None or len(value) <= shape.most)
    return None if fits and re.search(shape.pattern, value) is not None else Misfit("value", path)


def _is(wanted: type, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted in (bool, object)
    return isinstance(value, _TYPES.get(wanted, wanted))


def _either(shapes: Iterable[Any], value: Any, path: tuple[str | int, ...]) -> Misfit | None:
    """The misfit of the shape that comes nearest: the one that is at fault deepest inside."""
    found = [misfit(shape, value, path) for shape in shapes]
    if None in found:
        return None
    return max(filter(None, found), key=lambda each: (len(each.path), each.kind != "type"))


def _fields(shape: Fields, value: Any, path: tuple[str | int, ...]) -> Misfit | None:
    if not isinstance(value, dict):
        return Misfit("type", path)
    missing = next((name for name in shape.required if name not in value), None)
    if missing is not None:
        return Misfit("missing", (*path, missing))
    for name, inner in value.items():
        wanted = shape.fields.get(name)
        if wanted is None:
            if not shape.open:
                return Misfit("unknown", (*path, name))
        elif not (inner is None and shape.nullable and name not in shape.required):
            wrong = misfit(wanted, inner, (*path, name))
            if wrong is not None:
                return wrong
    return None


def _tagged(shape: Tagged, value: Any, path: tuple[str | int, ...]) -> Misfit | None:
    if not isinstance(value, dict):
        return Misfit("type", path)
    tag = value.get(shape.tag)
    if not isinstance(tag, str):
        return Misfit("missing" if tag is None else "type", (*path, shape.tag))
    if tag not in shape.shapes:
        return None if tag in shape.others else Misfit("value", (*path, shape.tag))
    return misfit(shape.shapes[tag], value, path)


def _first(found: Iterable[Misfit | None]) -> Misfit | None:
    return next((each for each in found if each is not None), None)
