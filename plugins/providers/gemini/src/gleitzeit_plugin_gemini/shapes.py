"""Shapes of the wire, tolerant on purpose. Parts stay raw, as what is unknown in them has to go back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Answer", "Fields", "decode", "encode_fields", "fields_of", "parts_of", "text_of", "value_of"]

#: A JSON object whose values are as they came.
Fields: TypeAlias = dict[str, msgspec.Raw]


class Answer(msgspec.Struct, gc=False):
    """A whole answer, one piece of a stream, or an error in place of either."""

    candidates: list[Fields] | None = None
    promptFeedback: Any = None  # noqa: N815 - the wire's name
    usageMetadata: Any = None  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    responseId: Any = None  # noqa: N815
    error: Any = None


class _Content(msgspec.Struct, gc=False):
    parts: list[Fields] | None = None


_answer: Final = msgspec.json.Decoder(Answer).decode
_content: Final = msgspec.json.Decoder(_Content).decode
_fields: Final = msgspec.json.Decoder(Fields).decode
_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


def decode(data: bytes) -> Answer:
    """The answer in `data`; raises `ValueError` where there is none."""
    try:
        return _answer(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    # Half surrogate pairs, raw control characters and bytes that are no UTF-8 are mended.
    try:
        text = json.dumps(json.loads(data.decode("utf-8", "replace"), strict=False), ensure_ascii=False)
        return _answer(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def parts_of(content: msgspec.Raw) -> list[Fields]:
    """The parts of a content, which may be `{}`; raises `ValueError` where they are no list of objects."""
    try:
        return _content(content).parts or []
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def fields_of(raw: msgspec.Raw | bytes | str) -> Fields | None:
    """The fields of an object; None where it is none."""
    try:
        return _fields(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def text_of(raw: msgspec.Raw) -> str | None:
    """A string; None where it is none."""
    try:
        return _text(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def value_of(raw: msgspec.Raw) -> Any:
    """Any value; None where it is not JSON."""
    try:
        return json.loads(bytes(raw).decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def encode_fields(fields: Mapping[str, Any]) -> str:
    """An object as text, raw values byte for byte."""
    return _encode(fields).decode("utf-8", "replace")
