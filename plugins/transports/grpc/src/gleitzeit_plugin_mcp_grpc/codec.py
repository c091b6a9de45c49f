"""The one protobuf message of the wire, `message JsonRpcLine { string line = 1; }`, by hand.

Encoding: https://protobuf.dev/programming-guides/encoding/. Generated code would want protobuf's runtime
for a message of one field.
"""

from __future__ import annotations

from typing import Final

__all__ = ["pack", "unpack"]

#: Field 1, length-delimited.
_LINE: Final = 0x0A
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def pack(line: bytes) -> bytes:
    """The message that holds a line."""
    head = bytearray((_LINE,))
    size = len(line)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + line


def unpack(data: bytes) -> bytes:
    """The line in a message: the last one counts, fields of other numbers are passed over.

    Raises `ValueError` for what is no protobuf message.
    """
    line, at = b"", 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag >> 3 == 0:
            raise ValueError("field number 0")
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if tag == _LINE:
                line = data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind}")
    if at > len(data):
        raise ValueError("the message ends within a field")
    return line


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("the message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
