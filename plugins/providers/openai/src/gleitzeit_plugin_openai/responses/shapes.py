"""Shapes of the Responses API, tolerant on purpose; items stay bytes, as they go back unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

__all__ = ["Frame", "Item", "Whole", "decode_frame", "decode_item", "decode_whole", "loosely"]

_NOTHING: Final = msgspec.Raw(b"")
_T = TypeVar("_T")


class Item(msgspec.Struct, gc=False):
    """What of an item its reader needs, whatever its type."""

    type: Any = None
    id: Any = None
    role: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None
    content: Any = None
    summary: Any = None
    result: Any = None
    output_format: Any = None

    @property
    def kind(self) -> str:
        """The type, "" where it is no text."""
        return self.type if isinstance(self.type, str) else ""

    @property
    def texts(self) -> list[str]:
        """The texts of a message, refusals among them."""
        return [
            text
            for part in _parts(self.content)
            if isinstance(text := part.get("text") or part.get("refusal"), str)
        ]

    @property
    def thoughts(self) -> list[str]:
        """What a reasoning item says aloud: its text, and its summary."""
        parts = [*_parts(self.content), *_parts(self.summary)]
        return [text for part in parts if isinstance(text := part.get("text"), str) and text]

    @property
    def refused(self) -> bool:
        """Does a message hold a refusal?"""
        return any(part.get("type") == "refusal" for part in _parts(self.content))

    def gathered(self, name: str) -> list[Any]:
        """The entries of a list (`annotations`, `logprobs`) over all parts of a message."""
        return [
            entry for part in _parts(self.content) if isinstance(part.get(name), list) for entry in part[name]
        ]


class Whole(msgspec.Struct, gc=False):
    """A whole response, or an error in its place."""

    id: Any = None
    object: Any = None
    status: Any = None
    model: Any = None
    output: list[msgspec.Raw] | None = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None
    type: Any = None
    detail: Any = None
    message: Any = None


class Frame(msgspec.Struct, gc=False):
    """An event of a stream."""

    type: Any = None
    output_index: Any = 0
    summary_index: Any = None
    content_index: Any = None
    delta: Any = None
    item: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    error: Any = None


decode_frame: Final = msgspec.json.Decoder(Frame).decode
decode_whole: Final = msgspec.json.Decoder(Whole).decode
decode_item: Final = msgspec.json.Decoder(Item).decode


def loosely(data: bytes, decode: Callable[[bytes], _T]) -> _T:
    """What `decode` makes of `data` after mending; raises `ValueError` where it cannot be mended.

    Mended are raw control characters, bytes that are no UTF-8, and half surrogate pairs.
    """
    try:
        loose = json.loads(data.decode("utf-8", "replace"), strict=False)
        return decode(json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace"))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def _parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
