"""What providers do alike with the parts of messages: their kinds, their data, the arguments of calls."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Part, ToolCallPart

__all__ = ["IMAGES", "as_base64", "image_type", "kinds", "own_arguments", "read_data_url"]

#: First bytes of pictures, and their media types.
IMAGES: Final = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def kinds(parts: Iterable[Part]) -> str:
    """The kinds of parts, for messages to people."""
    return ", ".join(sorted({f"a {part.type} part" for part in parts}))


def as_base64(data: bytes) -> str:
    """Data as base64 without line breaks."""
    return base64.b64encode(data).decode("ascii")


def image_type(data: bytes) -> str | None:
    """The media type of a picture, told by its first bytes."""
    return next((kind for magic, kind in IMAGES if data.startswith(magic)), None)


def read_data_url(url: str) -> tuple[bytes, str]:
    """The data in a `data:` address and its media type, which may be empty; raises `InvalidRequestError`."""
    scheme, colon, rest = url.partition(":")
    head, comma, text = rest.partition(",")
    kind, *options = head.split(";")
    try:
        if not colon or not comma or scheme.lower() != "data":
            raise ValueError("no data")
        data = unquote_to_bytes(text)
        return base64.b64decode(data, validate=True) if "base64" in options else data, kind.lower()
    except ValueError:
        raise InvalidRequestError("a data: address is not well formed", hint="give `data`") from None


def own_arguments(part: ToolCallPart) -> msgspec.Raw | None:
    """The arguments byte for byte as they came, where they still say the same: caches compare bytes."""
    if not part.raw or part.arguments is None:
        return None
    try:
        same = msgspec.json.decode(part.raw) == part.arguments
        return msgspec.Raw(part.raw.strip().encode()) if same else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
