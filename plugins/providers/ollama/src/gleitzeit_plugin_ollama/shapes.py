"""Shapes of the wire, tolerant on purpose: leaves are untyped, unknown fields are let pass.

A line of a stream and a whole answer share one shape, that of chats and that of completions too.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["Function", "Line", "Message", "Status", "WireCall", "decode", "decode_status"]


class Function(msgspec.Struct, gc=False):
    """The function of a call; `arguments` is the text of a JSON object, byte for byte."""

    name: Any = None
    arguments: msgspec.Raw = msgspec.Raw(b"")


class WireCall(msgspec.Struct, gc=False):
    """A tool call, which always comes whole. Older servers give no id."""

    id: Any = None
    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """A message, or a piece of one."""

    content: Any = None
    thinking: Any = None
    tool_calls: list[WireCall] | None = None
    images: Any = None


class Line(msgspec.Struct, gc=False):
    """A line of a stream or a whole answer, or an error in place of one."""

    model: Any = None
    message: Message | None = None
    response: Any = None
    thinking: Any = None
    done: Any = None
    done_reason: Any = None
    error: Any = None


class Status(msgspec.Struct, gc=False):
    """A line about a download; `total` and `completed` are bytes of the layer `digest`."""

    status: Any = None
    digest: Any = None
    total: Any = None
    completed: Any = None
    error: Any = None


decode: Final = msgspec.json.Decoder(Line).decode
decode_status: Final = msgspec.json.Decoder(Status).decode
