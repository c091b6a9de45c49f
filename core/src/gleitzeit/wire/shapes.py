"""How values travel: what the encoder and the decoder of the codec share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

import attrs

import gleitzeit.values
from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Event, Operation, Part, Reply

__all__ = [
    "ERROR_FIELDS",
    "TAGGED",
    "Field",
    "Misfit",
    "Plan",
    "each",
    "every",
    "free",
    "is_mapping",
    "plan",
    "told",
]

#: Classes that say their `type`, as they stand in unions.
TAGGED: Final = (*get_args(Part), *get_args(Event))
_LEFT_OUT: Final = frozenset({(Reply, "raw")})
#: What travels of an error.
ERROR_FIELDS: Final = (
    "message",
    "hint",
    "provider",
    "status",
    "vendor_code",
    "request_id",
    "retry_after",
    "retryable",
    "sent",
)


class Misfit(InvalidRequestError):
    """A value does not fit; its place is written down on the way out, where only failures pay for it."""

    def __init__(self, wanted: str, given: object) -> None:
        super().__init__(f"expected {wanted}")
        self.given, self.path = given, ""

    def under(self, place: str) -> Misfit:
        """This misfit, `place` further out."""
        self.path = place + self.path
        return self


_NAMES: Final = {
    dict: "an object",
    list: "a list",
    str: "this text",
    bool: "a boolean",
    NoneType: "null",
    type(attrs.NOTHING): "nothing",
}


def told(step: Callable[[Any], Any], data: object) -> Any:
    """What `step` makes of `data`; a misfit is told with its place, and without the value."""
    try:
        return step(data)
    except Misfit as misfit:
        given = _NAMES.get(type(misfit.given), type(misfit.given).__name__)
        raise InvalidRequestError(f"${misfit.path}: {misfit.message}, not {given}") from None
    except RecursionError:
        raise InvalidRequestError("the value is nested too deeply") from None


class Field(NamedTuple):
    """One field; `default` is what is left out."""

    name: str
    type: Any
    default: Any
    required: bool


class Plan(NamedTuple):
    """How the objects of one class travel."""

    tag: tuple[str, str] | None
    fields: tuple[Field, ...]


@cache
def plan(cls: type) -> Plan:
    """The plan of an attrs class."""
    try:
        hints = get_type_hints(cls)
    except NameError:  # a name that the class imports for type checkers only, to keep modules apart
        hints = get_type_hints(cls, localns=vars(gleitzeit.values))
    fields = []
    for attribute in attrs.fields(cls):
        if (cls, attribute.name) in _LEFT_OUT:
            continue
        default = attribute.default
        required = default is attrs.NOTHING
        if hasattr(default, "takes_self"):  # a factory; one that makes ids never makes a default
            default = default.factory() if not default.takes_self else attrs.NOTHING
        fields.append(Field(attribute.name, hints[attribute.name], default, required))
    tag = None
    if issubclass(cls, Operation):
        tag = ("kind", cls.kind)
    elif cls in TAGGED:
        tag = ("type", cls.type)  # type: ignore[attr-defined]  # every one of them has it
    return Plan(tag, tuple(fields))


@cache
def free(type_: Any) -> bool:
    """Does a field hold any JSON?"""
    if get_origin(type_) in (Union, UnionType):
        return any(map(free, get_args(type_)))
    if get_origin(type_) is tuple:
        return free(get_args(type_)[0])
    return type_ is Any or is_mapping(type_)


def is_mapping(type_: Any) -> bool:
    """Is a declared type a mapping?"""
    origin = get_origin(type_)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def each(step: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """`step` of each item."""
    done: list[Any] = []
    try:
        for item in items:
            done.append(step(item))  # noqa: PERF401  # the length tells where it failed
    except Misfit as misfit:
        raise misfit.under(f"[{len(done)}]") from None
    return done


def every(step: Callable[[Any], Any], items: Mapping[str, Any]) -> dict[str, Any]:
    """`step` of every value."""
    done: dict[str, Any] = {}
    key = ""
    try:
        for key, item in items.items():
            done[key] = step(item)
    except Misfit as misfit:
        raise misfit.under(f".{key}") from None
    return done
