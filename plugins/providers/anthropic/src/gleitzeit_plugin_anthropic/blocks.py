"""Content blocks as they come, and the parts that they become."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gleitzeit.values import (
    Event,
    PartDone,
    ProviderState,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_anthropic.shapes import Delta

__all__ = ["Block", "read_block"]

_encode: Final = msgspec.json.encode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL: Final = b"null"
#: What of a block is in the part itself; the rest is state.
_IN_PART: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"type", "text"}),
    "tool_use": frozenset({"type", "id", "name", "input"}),
}


def read_block(raw: bytes, place: int, owner: str, names: WireNames, events: deque[Event]) -> bool:
    """Append the events of a whole block; True if it is a tool call. Never raises for what it holds."""
    fields = _fields(raw)
    kind = _word(fields.get("type"))
    if kind == "text":
        text = _word(fields.get("text"))
        if text:
            state = _state(_extras(fields, kind), owner)
            events.append(
                TextDelta(text, index=place)
                if state is None
                else PartDone(TextPart(text, provider_state=state), index=place)
            )
        return False
    if kind == "tool_use":
        id, name = _word(fields.get("id")) or _new_id(), names.decode(_word(fields.get("name")))
        text = _arguments(fields)
        state = _state(_extras(fields, kind), owner)
        events.append(ToolCallDelta(place, id=id, name=name, arguments=text))
        if state is not None:
            events.append(PartDone(ToolCallPart.parse(id, name, text, state), index=place))
        return True
    thought = _word(fields.get("thinking")) if kind == "thinking" else ""
    state = ProviderState(owner, data=raw.decode())
    events.append(PartDone(ThinkingPart(thought, provider_state=state), index=place))
    return False


class Block:
    """A block of a stream in the making. What is text, thinking or a call is told as it comes."""

    __slots__ = ("_data", "_id", "_name", "_pieces", "_text", "_thought", "kind", "place")

    def __init__(self, data: Mapping[str, Any], place: int, names: WireNames, events: deque[Event]) -> None:
        self.place = place
        self._data = dict(data)
        kind = data.get("type")
        self.kind = kind if isinstance(kind, str) else ""
        #: Fragments of JSON, of text and of thinking.
        self._pieces: list[str] = []
        self._text: list[str] = []
        self._thought: list[str] = []
        self._id = self._name = ""
        if self.kind == "tool_use":
            id, name = data.get("id"), data.get("name")
            self._id = id if isinstance(id, str) and id else _new_id()
            self._name = names.decode(name) if isinstance(name, str) else ""
            events.append(ToolCallDelta(place, id=self._id, name=self._name))
        elif self.kind == "text" and isinstance(data.get("text"), str):
            self._add_text(data["text"], events)
        elif self.kind == "thinking" and isinstance(data.get("thinking"), str):
            self._add_thought(data["thinking"], events)

    def feed(self, delta: Delta, events: deque[Event]) -> bool:
        """Add a delta; False where it is of a kind that `feed_unknown` has to read."""
        kind = delta.type
        if kind == "text_delta":
            if isinstance(delta.text, str):
                self._add_text(delta.text, events)
        elif kind == "input_json_delta":
            piece = delta.partial_json
            if piece and isinstance(piece, str):
                self._pieces.append(piece)
                if self.kind == "tool_use":
                    events.append(ToolCallDelta(self.place, arguments=piece))
        elif kind == "thinking_delta":
            if isinstance(delta.thinking, str):
                self._add_thought(delta.thinking, events)
        elif kind == "signature_delta":
            self._data["signature"] = delta.signature
        elif kind == "citations_delta":
            cited = self._data.get("citations")
            self._data["citations"] = [*(cited if isinstance(cited, list) else ()), delta.citation]
        else:
            return False
        return True

    def feed_unknown(self, delta: Mapping[str, Any]) -> None:
        """Add a delta of a kind that is not known here: compaction, and whatever comes next."""
        whole = delta.get("type") == "compaction_delta"  # it comes in one piece
        for name, value in delta.items():
            before = self._data.get(name)
            if name == "type":
                continue
            if before and type(before) in (str, list) and type(value) is type(before) and not whole:
                self._data[name] = before + value
            elif value is not None or name not in self._data:
                self._data[name] = value

    def close(self, owner: str, events: deque[Event]) -> bool:
        """Append the last events of the block; True if it is a tool call."""
        data = self._data
        if self.kind == "text":
            text = "".join(self._text)
            state = _state(_extras(_raw(data), "text"), owner)
            if text and state is not None:
                events.append(PartDone(TextPart(text, provider_state=state), index=self.place))
            return False
        if self.kind == "tool_use":
            text = "".join(self._pieces)
            if not self._pieces and data.get("input"):  # some servers send it whole, at the beginning
                text = _encode(data["input"]).decode()
                events.append(ToolCallDelta(self.place, arguments=text))
            state = _state(_extras(_raw(data), "tool_use"), owner)
            if state is not None:
                part = ToolCallPart.parse(self._id, self._name, text, state)
                events.append(PartDone(part, index=self.place))
            return True
        if self._thought:
            data["thinking"] = "".join(self._thought)
        if self._pieces:
            data["input"] = _input("".join(self._pieces))
        state = ProviderState(owner, data=_encode(data).decode())
        thought = data.get("thinking") if self.kind == "thinking" else ""
        part_ = ThinkingPart(thought if isinstance(thought, str) else "", provider_state=state)
        events.append(PartDone(part_, index=self.place))
        return False

    def _add_text(self, text: str, events: deque[Event]) -> None:
        if text and self.kind == "text":
            self._text.append(text)
            events.append(TextDelta(text, index=self.place))

    def _add_thought(self, text: str, events: deque[Event]) -> None:
        if text and self.kind == "thinking":
            self._thought.append(text)
            events.append(ThinkingDelta(text, index=self.place))


def _raw(data: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(_encode(value)) for name, value in data.items()}


def _extras(fields: Mapping[str, msgspec.Raw], kind: str) -> dict[str, msgspec.Raw]:
    known = _IN_PART[kind]
    return {name: raw for name, raw in fields.items() if name not in known and bytes(raw) != _NULL}


def _state(extras: Mapping[str, msgspec.Raw], owner: str) -> ProviderState | None:
    return ProviderState(owner, data=_encode(extras).decode()) if extras else None


def _arguments(fields: Mapping[str, msgspec.Raw]) -> str:
    raw = fields.get("input")
    text = "" if raw is None or bytes(raw) == _NULL else bytes(raw).decode()
    # The wire says an object; a server that imitates it may say text.
    return _word(raw) if text.startswith('"') else text


def _input(text: str) -> Any:
    """The input of a server's own tool: its bytes, if they are JSON at all."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {"INVALID_JSON": text}
    return msgspec.Raw(text.encode())


def _word(raw: msgspec.Raw | None) -> str:
    value = None if raw is None else msgspec.json.decode(raw)
    return value if isinstance(value, str) else ""


def _new_id() -> str:
    return f"toolu_{uuid.uuid4().hex[:24]}"
