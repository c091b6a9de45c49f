"""Conversations as items of the Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    FilePart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.parts import kinds
from gleitzeit_plugin_openai.calls import as_text
from gleitzeit_plugin_openai.parts import data_url, foreign, media_type, only_text
from gleitzeit_plugin_openai.responses.reader import CALLS
from gleitzeit_plugin_openai.responses.shapes import Item, decode_item

__all__ = ["ItemWriter"]

_API: Final = "the Responses API"


class ItemWriter:
    """Writes items for one request. `owner` tags the items that this server gave and gets back."""

    def __init__(self, names: WireNames, owner: str | None, *, system_role: str, merge_system: bool) -> None:
        self._names = names
        self._owner = owner
        self._system_role = system_role
        self._merge_system = merge_system
        #: Calls of tools with free text, whose results have a type of their own.
        self._custom: set[str] = set()

    def write(self, messages: Iterable[Message]) -> list[Any]:
        """The items of a conversation."""
        items: list[Any] = []
        system: list[str] = []
        for message in messages:
            if message.name is not None:
                raise UnsupportedError(
                    f"{_API} has no names of speakers", hint='write them into the text, or set api = "chat"'
                )
            if message.role == "system":
                text = only_text(message.parts, "a system turn", _API)
                if self._merge_system:
                    system.append(text)
                else:
                    items.append(_message(self._system_role, text))
            elif message.role == "assistant":
                items += self._assistant(message.parts)
            else:
                items += self._turn(message)
        if system:
            items.insert(0, _message(self._system_role, "\n\n".join(system)))
        return items

    def _turn(self, message: Message) -> list[dict[str, Any]]:
        """A user or tool turn; results come first, as they must follow their calls."""
        rest: list[Part] = [part for part in message.parts if not isinstance(part, ToolResultPart)]
        items = [self._result(part) for part in message.parts if isinstance(part, ToolResultPart)]
        if message.role == "tool":
            if rest:
                raise InvalidRequestError(f"a tool turn holds tool results only, not {kinds(rest)}")
        elif rest or not message.parts:
            items.append(_message("user", _content(rest)))
        return items

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        kind = "custom_tool_call_output" if part.id in self._custom else "function_call_output"
        return {"type": kind, "call_id": part.id, "output": _content(part.parts)}

    def _assistant(self, parts: Sequence[Part]) -> list[Any]:
        items: list[Any] = []
        calls = any(isinstance(part, ToolCallPart) for part in parts)
        #: How many items stand before the last that is no reasoning.
        kept = 0
        for part in parts:
            state = part.state_for(self._owner) if self._owner is not None else None
            if calls and isinstance(part, TextPart) and not part.text:
                continue  # some servers stream it behind the calls, whose results must follow them
            if state is not None:
                item, raw = decode_item(state.encode()), msgspec.Raw(state.encode())
                items.append(self._given(part, item, raw))
                if item.kind == "reasoning":
                    continue
            elif isinstance(part, TextPart):
                if not part.text:
                    continue
                items.append(_message("assistant", part.text))
            elif isinstance(part, ToolCallPart):
                items.append(self._call(part))
            elif isinstance(part, ThinkingPart) or foreign(part):
                continue  # of others: never shown as text
            else:
                raise UnsupportedError(f"an assistant turn cannot hold {kinds([part])} in {_API}")
            kept = len(items)
        return items[:kept]  # reasoning without the item that followed it is refused

    def _given(self, part: Part, item: Item, raw: msgspec.Raw) -> Any:
        """An item that goes back as it came, unless somebody has changed what it says."""
        if isinstance(part, TextPart) and part.text != "".join(item.texts):
            content = {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
            return {**msgspec.json.decode(raw), "content": [content]}
        if isinstance(part, ToolCallPart):
            field = CALLS.get(item.kind, "arguments")
            if item.kind == "custom_tool_call":
                self._custom.add(part.id)
            given, name = as_text(getattr(item, field)), self._names.encode(part.name)
            if part.id != item.call_id or name != item.name or part.raw != given:
                written = part.raw if item.kind == "custom_tool_call" and part.raw else _arguments(part)
                changed = {"call_id": part.id, "name": name, field: written}
                return {**msgspec.json.decode(raw), **changed}
        return raw

    def _call(self, part: ToolCallPart) -> dict[str, Any]:
        name = self._names.encode(part.name)
        return {"type": "function_call", "call_id": part.id, "name": name, "arguments": _arguments(part)}


def _arguments(part: ToolCallPart) -> str:
    if part.raw is None or not part.raw.strip():
        return json.dumps(part.arguments or {}, ensure_ascii=False)
    return part.raw


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _content(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """Plain text as a string, else a list of parts; empty texts are dropped."""
    kept = [part for part in parts if not isinstance(part, TextPart) or part.text]
    if all(isinstance(part, TextPart) for part in kept) and len(kept) < 2:
        return "".join(part.text for part in kept if isinstance(part, TextPart))
    return [_part(part) for part in kept]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, ImagePart):
        url = part.url if part.url is not None else data_url(part, media_type(part))
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
    if isinstance(part, FilePart):
        if part.file_id is not None:
            return {"type": "input_file", "file_id": part.file_id}
        if part.data is None:
            if part.url is None:
                raise InvalidRequestError("a file needs `data`, a `url` or a `file_id`")
            return {"type": "input_file", "file_url": part.url}
        address = data_url(part, part.media_type or "application/pdf")
        return {"type": "input_file", "filename": part.name or "file", "file_data": address}
    if isinstance(part, ThinkingPart | ToolCallPart | ToolResultPart):
        raise InvalidRequestError(f"neither a user turn nor a tool's result can hold {kinds([part])}")
    raise UnsupportedError(f"{_API} takes no {part.type}", hint='set api = "chat" for this instance')
