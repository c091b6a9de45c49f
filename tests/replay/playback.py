"""An HTTP transport that gives a recorded answer, whole or in awkward pieces, without a socket."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2
from attrs import frozen

from gleitzeit.wire.client import make_client
from tests.replay.recordings import Interaction

__all__ = ["WHOLE", "Playback", "Variant", "variants"]

_OWN: Final = ("content-length", "content-encoding", "transfer-encoding", "connection", "set-cookie", "date")
_LINES: Final = ("event-stream", "ndjson", "jsonl")


@frozen
class Variant:
    """How a body is sent: in pieces of `size` bytes (0: in one), with CRLF, packed, or cut at `cut`."""

    size: int = 0
    crlf: bool = False
    gzip: bool = False
    cut: int | None = None

    def __str__(self) -> str:
        said = [f"pieces of {self.size}"] if self.size else []
        said += [name for name in ("crlf", "gzip") if getattr(self, name)]
        said += [] if self.cut is None else [f"cut at {self.cut}"]
        return ", ".join(said) or "whole"

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """The body as it is sent."""
        if self.crlf:
            body = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        body = body[: self.cut]
        if self.gzip:
            packer = zlib.compressobj(wbits=31)
            body = packer.compress(body) + packer.flush()
        size = self.size or len(body) or 1
        return (body[start : start + size] for start in range(0, len(body), size))


WHOLE: Final = Variant()


def variants(interaction: Interaction, *, cuts: int = 8) -> list[Variant]:
    """The ways to send an answer again that must change nothing; last, for streams, cuts that must show."""
    if not interaction.stream:
        return [Variant(7), Variant(3, gzip=True)]
    made = [Variant(size) for size in range(1, 8)] + [Variant(5, gzip=True)]
    if any(word in interaction.headers.get("content-type", "") for word in _LINES):
        made += [Variant(size, crlf=True) for size in (0, 1, 3)]
        body = interaction.body
        ends = [at + len(end) for end in (b"\n\n", b"\r\n\r\n") for at in _find(body, end)]
        made += [Variant(cut=at) for at in sorted(ends)[: -1 : max(1, len(ends) // cuts)]]
    return made


def _find(body: bytes, end: bytes) -> Iterator[int]:
    at = body.find(end)
    while at >= 0:
        yield at
        at = body.find(end, at + 1)


class Playback(httpx2.AsyncBaseTransport):
    """Answers every request with what was loaded last. `client` is like the host's, over this transport."""

    def __init__(self) -> None:
        self._interaction: Interaction | None = None
        self._variant = WHOLE
        self.client = make_client(transport=self)
        #: The JSON of every request since the last `load`; None for what is none.
        self.requests: list[Any] = []

    def load(self, interaction: Interaction, variant: Variant = WHOLE) -> None:
        """Answer with this from now on."""
        self._interaction, self._variant = interaction, variant
        self.requests.clear()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The loaded answer; nothing else of it depends on the request."""
        try:
            self.requests.append(json.loads(await request.aread() or b"null"))
        except ValueError:
            self.requests.append(None)
        found, variant = self._interaction, self._variant
        assert found is not None
        headers = {name: value for name, value in found.headers.items() if name not in _OWN}
        headers.setdefault("content-type", "application/json")
        if variant.gzip:
            headers["content-encoding"] = "gzip"
        return httpx2.Response(found.status, headers=headers, stream=_Pieces(variant.pieces(found.body)))


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
