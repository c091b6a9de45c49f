"""Frozen values for what every listing needs: as `dataclasses` has them, without its price.

Importing `dataclasses` and making twenty classes with it is more than half of what `gleitzeit models`
would cost. The module looks the same: type checkers see the standard one, and so do `dataclasses.fields`,
`asdict` and `replace`, which work on these classes as on their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import KW_ONLY, field, replace
    from dataclasses import dataclass as record

__all__ = ["KW_ONLY", "field", "record", "replace"]

_NONE: Final = object()


class _Field:
    """What is known of one field."""

    __slots__ = ("compare", "default", "factory", "kw_only", "name", "repr")

    def __init__(self, default: Any, factory: Any = _NONE, shown: bool = True, compare: bool = True) -> None:
        self.default, self.factory, self.repr, self.compare = default, factory, shown, compare
        self.name, self.kw_only = "", False


class _Standard:
    """The fields as `dataclasses` has them, made once somebody asks for them."""

    def __init__(self, fields: tuple[_Field, ...]) -> None:
        self.fields = fields

    def __get__(self, instance: object, owner: type) -> Any:
        import dataclasses

        made = []
        for each in self.fields:
            how: dict[str, Any] = {"repr": each.repr, "compare": each.compare, "kw_only": each.kw_only}
            if each.default is not _NONE:
                how["default"] = each.default
            elif each.factory is not _NONE:
                how["default_factory"] = each.factory
            made.append((each.name, owner.__annotations__[each.name], dataclasses.field(**how)))
        standard = dataclasses.make_dataclass(owner.__name__, made, frozen=True)
        owner.__dataclass_fields__ = found = standard.__dataclass_fields__  # type: ignore[attr-defined]  # dynamic
        return found


if not TYPE_CHECKING:
    KW_ONLY = "KW_ONLY"

    def field(*, default=_NONE, default_factory=_NONE, repr=True, compare=True):
        """A field with a default that is made anew for each value, or that is not shown or compared."""
        return _Field(default, default_factory, repr, compare)

    def record(*, frozen):
        """Make the class one of frozen values; its module must have `from __future__ import annotations`."""
        if not frozen:
            raise TypeError("records are frozen")
        return _record

    def replace(value, /, **changes):
        """The value with other fields."""
        same = {each.name: getattr(value, each.name) for each in value._fields}
        return type(value)(**{**same, **changes})


def _record(cls: Any) -> Any:
    cls._fields = tuple(_fields(cls))
    cls.__dataclass_fields__ = _Standard(cls._fields)
    cls._places = tuple(each.name for each in cls._fields if not each.kw_only)
    cls.__init__, cls.__eq__, cls.__hash__ = _initialize, _equal, _hash
    cls.__setattr__ = cls.__delattr__ = _refuse
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _show
    return cls


def _fields(cls: Any) -> Iterator[_Field]:
    keyword = False
    for name, annotation in cls.__annotations__.items():
        if annotation == "KW_ONLY":
            keyword = True
            continue
        given = cls.__dict__.get(name, _NONE)
        each = given if isinstance(given, _Field) else _Field(given)
        each.name, each.kw_only = name, keyword
        if each.default is not _NONE:
            setattr(cls, name, each.default)
        elif given is each:
            delattr(cls, name)
        yield each


def _initialize(self: Any, *args: Any, **values: Any) -> None:
    title = type(self).__qualname__
    if args:
        places = self._places
        if len(args) > len(places):
            raise TypeError(f"{title} takes {len(places)} values by position, got {len(args)}")
        for name, value in zip(places, args, strict=False):
            if name in values:
                raise TypeError(f"{title} got {name!r} by position and by name")
            values[name] = value
    own = self.__dict__
    for each in self._fields:
        name = each.name
        if name in values:
            own[name] = values.pop(name)
        elif each.default is not _NONE:
            own[name] = each.default
        elif each.factory is not _NONE:
            own[name] = each.factory()
        else:
            raise TypeError(f"{title} needs {name!r}")
    if values:
        raise TypeError(f"{title} has no {', '.join(map(repr, values))}")


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, each.name) for each in self._fields if each.compare)


def _equal(self: object, other: object) -> Any:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: object) -> int:
    return hash(_compared(self))


def _show(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in self._fields if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: object, name: str, *value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")
