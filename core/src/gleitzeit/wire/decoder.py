"""JSON to values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Operation, RateLimits, Reply
from gleitzeit.wire.shapes import ERROR_FIELDS, TAGGED, Misfit, each, every, is_mapping, plan

__all__ = ["Decoder", "decoder"]

Decoder: TypeAlias = Callable[[Any], Any]

#: What a declared type takes, and its name in errors. JSON does not tell 1.0 from 1.
_SCALARS: Final[Mapping[Any, tuple[tuple[type, ...], str]]] = {
    str: ((str,), "text"),
    int: ((int,), "an integer"),
    float: ((float, int), "a number"),
    bool: ((bool,), "a boolean"),
    NoneType: ((NoneType,), "null"),
}


@cache
def decoder(type_: Any) -> Decoder:
    """What reads values of a declared type; it raises `Misfit`."""
    origin, arms = get_origin(type_), get_args(type_)
    if type_ is Any or isinstance(type_, TypeVar):
        return _same
    if type_ in _SCALARS:
        return _scalar(*_SCALARS[type_])
    if type_ is bytes:
        return _bytes
    if origin is Literal:
        return _one_of({word: word for word in arms})
    if origin in (Union, UnionType):
        return _union(arms)
    if origin in (tuple, frozenset):
        return _sequence(decoder(arms[0]), origin)
    if is_mapping(type_):
        return _mapping(decoder(arms[1]))
    cls = origin or type_
    if not isinstance(cls, type):
        raise TypeError(f"the codec does not know {type_!r}")
    if issubclass(cls, BaseException):
        return _error
    if issubclass(cls, Operation):
        return lambda data: _object(_operation(cls, data), data)
    if attrs.has(cls):
        return lambda data: _object(cls, data)
    if issubclass(cls, Enum):
        return _one_of({member.value: member for member in cls})
    raise TypeError(f"the codec does not know {type_!r}")


def _same(data: Any) -> Any:
    return data


def _scalar(taken: tuple[type, ...], name: str) -> Decoder:
    def decode(data: Any) -> Any:
        if type(data) in taken:
            return data
        raise Misfit(name, data)

    return decode


def _bytes(data: Any) -> bytes:
    if isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise Misfit("base64", data)


def _one_of(words: Mapping[Any, Any]) -> Decoder:
    def decode(data: Any) -> Any:
        if isinstance(data, (str, int)) and not isinstance(data, bool) and data in words:
            return words[data]
        raise Misfit("one of " + ", ".join(map(repr, words)), data)

    return decode


def _sequence(step: Decoder, build: Callable[[Any], Any]) -> Decoder:
    def decode(data: Any) -> Any:
        if isinstance(data, list):
            return build(each(step, data))
        raise Misfit("a list", data)

    return decode


def _mapping(step: Decoder) -> Decoder:
    def decode(data: Any) -> Any:
        if isinstance(data, dict):
            return every(step, data)
        raise Misfit("an object", data)

    return decode


def _union(arms: tuple[Any, ...]) -> Decoder:
    tagged = {arm.type: arm for arm in arms if arm in TAGGED}
    others = [arm for arm in arms if arm not in TAGGED and arm is not NoneType]
    text = next((decoder(arm) for arm in others if arm is str), None)
    classes = [arm for arm in others if attrs.has(arm)]
    other = next((decoder(arm) for arm in others if arm is not str), text)
    if len(classes) > 1:
        other = _kin(classes)

    def decode(data: Any) -> Any:
        if data is None and NoneType in arms:
            return None
        if tagged:
            cls = tagged.get(_word(data, "type"))
            if cls is None:
                raise Misfit("one of " + ", ".join(sorted(tagged)), data["type"]).under(".type")
            return _object(cls, data)
        step = text if text is not None and isinstance(data, str) else other
        return step(data) if step is not None else data

    return decode


def _kin(classes: list[type]) -> Decoder:
    """Reads objects that no tag tells apart: by the fields that one of the classes must have."""

    def decode(data: Any) -> Any:
        fit = (cls for cls in classes if all(each.name in data for each in plan(cls).fields if each.required))
        return _object(next(fit, classes[0]) if isinstance(data, dict) else classes[0], data)

    return decode


def _operation(base: type[Operation], data: Any) -> type[Operation]:
    if base is not Operation and isinstance(data, dict) and "kind" not in data:
        return base
    kind = _word(data, "kind")
    known = {cls.kind: cls for cls in _family(base) if "kind" in vars(cls) and "__attrs_attrs__" in vars(cls)}
    if kind not in known:
        raise Misfit("one of " + ", ".join(sorted(known)), kind).under(".kind")
    return known[kind]


def _family(cls: type[Operation]) -> list[type[Operation]]:
    return [cls, *(deeper for direct in cls.__subclasses__() for deeper in _family(direct))]


def _object(cls: type, data: Any) -> Any:
    if not isinstance(data, dict):
        raise Misfit("an object", data)
    tag, fields = plan(cls)
    if tag is not None and data.get(*tag) != tag[1]:
        raise Misfit(repr(tag[1]), data[tag[0]]).under(f".{tag[0]}")
    values = {}
    for name, type_, _, required in fields:
        if name in data:
            try:
                values[name] = decoder(type_)(data[name])
            except Misfit as misfit:
                raise misfit.under(f".{name}") from None
        elif required:
            raise Misfit(f"the `{name}` of a {cls.__name__}", attrs.NOTHING).under(f".{name}")
    return cls(**values)


def _error(data: Any) -> GleitzeitError:
    code, message = _word(data, "code"), _word(data, "message")
    cls = next((cls for cls in _errors(GleitzeitError) if cls.code == code), GleitzeitError)
    error = cls(message)
    for name in ERROR_FIELDS:
        if name in data:
            setattr(error, name, data[name])
    if data.get("limits") is not None:
        error.limits = _object(RateLimits, data["limits"])
    if data.get("partial") is not None:
        error.partial = _object(Reply, data["partial"])
    return error


def _errors(cls: type[GleitzeitError]) -> list[type[GleitzeitError]]:
    return [cls, *(deeper for direct in cls.__subclasses__() for deeper in _errors(direct))]


def _word(data: Any, key: str) -> str:
    if not isinstance(data, dict):
        raise Misfit("an object", data)
    word = data.get(key, attrs.NOTHING)
    if not isinstance(word, str):
        raise Misfit("text", word).under(f".{key}")
    return word
