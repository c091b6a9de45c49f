"""The head of a request as bytes, checked, and what it says about the body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import httpx2

__all__ = ["Head", "build_head"]

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")


class Head(NamedTuple):
    """The bytes up to the empty line, and how the body after them is framed."""

    data: bytes
    #: Bytes of the body; None where it is sent in chunks.
    length: int | None
    #: The request itself asks for the connection's end.
    close: bool


def build_head(method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Raises `httpx2.LocalProtocolError` for what would be no HTTP, without quoting values."""
    if _TOKEN.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise httpx2.LocalProtocolError("illegal method or target")
    fields = b"".join([b"%s: %s\r\n" % field for field in headers])
    # A line break inside of a name or a value makes one line more than there are headers.
    if _FIELDS.fullmatch(fields) is None or fields.count(b"\r\n") != len(headers):
        raise httpx2.LocalProtocolError("illegal header name or value")
    data = b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, fields)
    low = data.lower()
    length: int | None = 0
    if (at := low.find(b"\r\ncontent-length: ")) >= 0:
        length = _length(low, at + 18)
    if b"\r\ntransfer-encoding: " in low:
        if at >= 0 or b"\r\ntransfer-encoding: chunked\r\n" not in low:
            raise httpx2.LocalProtocolError("a body is framed by its length or in chunks, in no other way")
        length = None
    return Head(data, length, b"\r\nconnection: close\r\n" in low)


def _length(low: bytes, start: int) -> int:
    text = low[start : low.index(b"\r\n", start)]
    if not text.isdigit() or b"\r\ncontent-length: " in low[start:]:
        raise httpx2.LocalProtocolError("illegal Content-Length")
    return int(text)
