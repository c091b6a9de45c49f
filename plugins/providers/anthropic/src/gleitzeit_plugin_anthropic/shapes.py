"""Shapes of the wire, tolerant on purpose: vendors send more, and other, than their schemas say."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

__all__ = ["Delta", "Frame", "Whole", "decode_frame", "decode_whole", "repaired"]


class Delta(msgspec.Struct, gc=False):
    """What an event of a stream adds to a block, or tells of the whole message."""

    type: str | None = None
    text: Any = None
    partial_json: Any = None
    thinking: Any = None
    signature: Any = None
    citation: Any = None
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None
    container: Any = None


class Whole(msgspec.Struct, gc=False):
    """A message: an answer that is no stream, or the beginning of one."""

    type: Any = None
    id: Any = None
    model: Any = None
    content: list[msgspec.Raw] | None = None
    stop_reason: Any = None
    stop_sequence: Any = None
    stop_details: Any = None
    container: Any = None
    context_management: Any = None
    usage: Any = None
    error: Any = None
    detail: Any = None
    message: Any = None

    @property
    def is_error(self) -> bool:
        """Is this an error in one of its dialects?"""
        told = self.error or (self.content is None and (self.detail or self.message))
        return self.type == "error" or bool(told)


class Frame(msgspec.Struct, gc=False):
    """An event of a stream."""

    type: str | None = None
    index: int | str | None = None
    message: Any = None
    content_block: Any = None
    delta: Delta | None = None
    usage: Any = None
    context_management: Any = None
    error: Any = None


decode_frame: Final = msgspec.json.Decoder(Frame).decode
decode_whole: Final = msgspec.json.Decoder(Whole).decode


def repaired(data: bytes) -> bytes:
    """Valid JSON for what is nearly that; raises `ValueError` where it is not.

    Reads raw control characters, bytes that are no UTF-8, and half surrogate pairs.
    """
    try:
        loose = json.loads(data.decode("utf-8", "replace"), strict=False)
        return json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        raise ValueError("nested too deeply") from None
