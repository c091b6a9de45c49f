"""How many bytes of content a request holds, without encoding or copying it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit.values import Chat, Message, Operation, TextPart

__all__ = ["size_of"]

#: What a number, a truth value or None may take in a request.
_SCALAR = 8


def size_of(operation: Operation) -> int:
    """Bytes of all text, media, arguments, schemas and options of `operation`, as UTF-8 and without syntax.

    Raises `TypeError` for content whose size nobody can tell.
    """
    if type(operation) is not Chat:
        return _size(operation)
    total = 0
    for message in operation.messages:
        total += _message(message)
    if operation.tools:
        total += _size(operation.tools)
    if operation.response_schema is not None:
        total += _size(operation.response_schema)
    if operation.options:
        total += _size(operation.options)
    for word in operation.stop:
        total += _text(word)
    return total


def _message(message: Message) -> int:
    total = 0
    for part in message.parts:
        if type(part) is TextPart and part.provider_state is None:
            text = part.text
            total += len(text) if text.isascii() else _text(text)
        else:
            total += _size(part)
    return total


def _text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _size(value: Any) -> int:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return _SCALAR
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(key) + _size(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_size, value))
    attributes = getattr(type(value), "__attrs_attrs__", None)
    if attributes is None:
        raise TypeError(f"content of type {type(value).__name__}")
    return sum(
        _size(item) for attribute in attributes if (item := getattr(value, attribute.name)) is not None
    )
