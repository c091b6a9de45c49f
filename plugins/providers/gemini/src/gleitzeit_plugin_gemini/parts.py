"""Messages as contents of the API. What the wire cannot carry is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    AudioPart,
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
from gleitzeit.wire.parts import own_arguments
from gleitzeit_plugin_gemini.config import GeminiConfig
from gleitzeit_plugin_gemini.media import medium
from gleitzeit_plugin_gemini.shapes import fields_of

__all__ = ["FOREIGN", "ContentWriter"]

#: What the vendor documents for calls that another model made: base64 of `skip_thought_signature_validator`.
FOREIGN: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


class _Called(NamedTuple):
    """A call that waits for its result; `id` is the one on the wire, where there was one."""

    name: str
    id: msgspec.Raw | None
    place: int


class ContentWriter:
    """Writes the contents of one request. `owner` tags the state that this service gave and gets back."""

    def __init__(self, names: WireNames, owner: str, config: GeminiConfig) -> None:
        #: System turns, in order, wherever they stood.
        self.system: list[str] = []
        self._names = names
        self._owner = owner
        self._config = config
        self._called: dict[str, _Called] = {}

    def write(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """The contents of a conversation; turns of one role in a row are one."""
        contents: list[dict[str, Any]] = []
        for message in messages:
            if message.role == "system":
                self.system += [text for text in map(_system_text, message.parts) if text]
                continue
            role = "model" if message.role == "assistant" else "user"
            if role == "model" and not (contents and contents[-1]["role"] == "model"):
                self._called = {}  # ids are unique within a turn only
            parts = self._model(message.parts) if role == "model" else self._user(message)
            if not parts:
                continue
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        for content in contents:
            _order(content["parts"])
        return contents

    def _user(self, message: Message) -> list[dict[str, Any]]:
        """A user or tool turn."""
        parts: list[dict[str, Any]] = []
        after: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                parts.append(self._result(part, after))
            elif message.role == "tool":
                raise InvalidRequestError(f"a tool turn holds tool results only, not a {part.type} part")
            elif isinstance(part, TextPart):
                parts += [{"text": part.text}] if part.text else []
            elif isinstance(part, ImagePart | AudioPart | FilePart):
                parts.append(medium(part, self._config))
            else:
                raise InvalidRequestError(f"a user turn cannot hold a {part.type} part")
        return parts + after

    def _model(self, parts: Iterable[Part]) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        signed = False
        for part in parts:
            state = part.state_for(self._owner)
            kept = None if state is None else fields_of(state)
            if isinstance(part, ToolCallPart):
                call = self._call(part, kept)
                if kept is None and not signed and self._config.sign_foreign_calls:
                    call["thoughtSignature"] = FOREIGN
                signed = True  # of calls in parallel the first alone carries a signature
                written.append(call)
            elif isinstance(part, TextPart):
                if part.text or kept:
                    written.append({"text": part.text, **(kept or {})})
            elif isinstance(part, ThinkingPart):
                if kept:  # thinking without state has nothing to say to anybody, and others' is dropped
                    written.append(dict(kept))
            elif isinstance(part, ImagePart | AudioPart | FilePart):
                written.append({**medium(part, self._config), **(kept or {})})
            else:
                raise InvalidRequestError(f"an assistant turn cannot hold a {part.type} part")
        return written

    def _call(self, part: ToolCallPart, kept: dict[str, msgspec.Raw] | None) -> dict[str, Any]:
        inner = fields_of(kept["functionCall"]) if kept and "functionCall" in kept else None
        inner = inner or {}
        name = self._names.encode(part.name)
        self._called[part.id] = _Called(name, inner.get("id"), len(self._called))
        call = {**inner, "name": name, "args": own_arguments(part) or part.arguments or {}}
        return {**(kept or {}), "functionCall": call}

    def _result(self, part: ToolResultPart, after: list[dict[str, Any]]) -> dict[str, Any]:
        called = self._called.get(part.id)
        if called is None:
            if not part.name:
                raise InvalidRequestError(
                    f"the tool result {part.id!r} answers no call before it, and names no tool",
                    hint="send the assistant turn with the call too",
                )
            called = _Called(self._names.encode(part.name), None, len(self._called))
        texts: list[str] = []
        media: list[dict[str, Any]] = []
        for inner in part.parts:
            if isinstance(inner, TextPart):
                texts.append(inner.text)
            elif isinstance(inner, ImagePart | AudioPart | FilePart):
                held = medium(inner, self._config)
                held.pop("mediaResolution", None)
                media.append(held)
            else:
                raise UnsupportedError(f"a tool result cannot hold a {inner.type} part")
        text = "".join(texts)
        response: dict[str, Any] = {}
        if text or not media or part.is_error:
            response = {"error": text} if part.is_error else {"output": _structured(text)}
        result: dict[str, Any] = {"name": called.name, "response": response}
        if called.id is not None:
            result["id"] = called.id
        if media and self._config.tool_media == "inside":
            result["parts"] = media
        else:
            after += media
        return {"functionResponse": result, _PLACE: called.place}


#: Where a result stands among the calls; taken out again by `_order`.
_PLACE: Final = "\0place"


def _order(parts: list[dict[str, Any]]) -> None:
    """Results first, in the order of their calls."""
    if any(_PLACE in part for part in parts):
        parts.sort(key=lambda part: part.get(_PLACE, len(parts) + 1000))
        for part in parts:
            part.pop(_PLACE, None)


def _system_text(part: Part) -> str:
    if not isinstance(part, TextPart):
        raise UnsupportedError(f"a system turn cannot hold a {part.type} part", hint="send it in a user turn")
    return part.text


def _structured(text: str) -> Any:
    """An object or list as such, all else as text."""
    if text[:1] in ("{", "["):
        try:
            msgspec.json.decode(text)
            json.loads(text)
            return msgspec.Raw(text.encode())
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
    return text
