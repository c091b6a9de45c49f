"""The one codec of contract values: to JSON and back, equal to what was sent.

Parts and events carry their `type`, operations their `kind`, bytes travel as base64, fields that
have their default are left out. Unknown fields are ignored when reading; a wrong type is an
`InvalidRequestError` that names the place and never quotes content. Not carried: `Reply.raw`, the
raw body of an error, and the text of errors that are not Gleitzeit's, which may quote anything. A
`deadline` means something only to processes of one machine.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from gleitzeit.errors import InvalidRequestError
from gleitzeit.wire.decoder import decoder
from gleitzeit.wire.encoder import encode
from gleitzeit.wire.shapes import told

__all__ = ["dumps", "from_json", "loads", "to_json"]

T = TypeVar("T")


def to_json(value: object) -> Any:
    """`value` as dicts, lists, strings, numbers, booleans and None."""
    return told(encode, value)


@overload
def from_json(cls: type[T], data: object) -> T: ...
@overload
def from_json(cls: Any, data: object) -> Any: ...
def from_json(cls: Any, data: object) -> Any:
    """The value that `to_json` made `data` of; `cls` is a class, or an alias such as `Part` or `Event`."""
    return told(decoder(cls), data)


def dumps(value: object) -> bytes:
    """`value` as JSON text in UTF-8."""
    plain = to_json(value)
    try:
        return msgspec.json.encode(plain)
    except UnicodeEncodeError:
        raise InvalidRequestError("a text holds half a surrogate pair, which JSON cannot carry") from None


@overload
def loads(cls: type[T], data: bytes | str) -> T: ...
@overload
def loads(cls: Any, data: bytes | str) -> Any: ...
def loads(cls: Any, data: bytes | str) -> Any:
    """The value of `cls` behind JSON text."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequestError(f"this is not JSON: {error}") from None
    return from_json(cls, plain)
