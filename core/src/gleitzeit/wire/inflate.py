"""Unpacks answers, never more of them at once than a reader can refuse."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import httpx2

__all__ = ["ACCEPTED", "chunks_of"]

#: What is asked for. Others are not: a library that unpacks whole chunks makes gigabytes of some bytes.
ACCEPTED: Final = "gzip, deflate"
#: Bytes that are unpacked at a time.
PIECE: Final = 2**18
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
#: Window sizes of zlib that mean: gzip or zlib by the first bytes, and neither header.
_EITHER, _BARE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS


def chunks_of(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer, unpacked; raises `httpx2.DecodingError` where that cannot be done."""
    if "content-encoding" not in response.headers:
        return response.aiter_raw()
    coding = response.headers["content-encoding"].strip().lower()
    return response.aiter_raw() if coding in ("identity", "") else _unpacked(response, coding)


async def _unpacked(response: httpx2.Response, coding: str) -> AsyncGenerator[bytes, None]:
    if coding not in _CODINGS:
        raise httpx2.DecodingError("nobody asked for this content encoding")
    stream = _Stream(bare=coding == "deflate")
    try:
        async for chunk in response.aiter_raw():
            for piece in stream.feed(chunk):
                yield piece
    except zlib.error:
        raise httpx2.DecodingError("the content encoding is broken") from None
    if stream.cut:
        raise httpx2.RemoteProtocolError("the packed answer was cut")


class _Stream:
    """One packed stream, or several one after the other, as gzip allows.

    `bare`: it may have no header, which is what some servers call deflate.
    """

    def __init__(self, *, bare: bool) -> None:
        self._bare = bare
        self._decoder: Any = zlib.decompressobj(_EITHER)
        self._begun = False

    @property
    def cut(self) -> bool:
        """Did it end in the midst of something?"""
        return self._begun and not self._decoder.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What becomes of some more bytes, in small pieces."""
        while data:
            if self._decoder.eof:
                self._decoder, self._begun = zlib.decompressobj(_EITHER), False
            try:
                piece = self._decoder.decompress(data, PIECE)
            except zlib.error:
                if self._begun or not self._bare:
                    raise
                self._decoder = zlib.decompressobj(_BARE)
                piece = self._decoder.decompress(data, PIECE)
            self._begun = True
            if piece:
                yield piece
            data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
