"""Messages as Ollama takes them. What the wire cannot carry is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.parts import as_base64, kinds, read_data_url

__all__ = ["MessageWriter"]


class MessageWriter:
    """Writes messages for one request. `owner` tags the thinking that this model gave and gets back."""

    def __init__(self, names: WireNames, owner: str | None) -> None:
        self._names = names
        self._owner = owner
        #: Tools by the id of the call: results travel by the name of their tool.
        self._called: dict[str, str] = {}

    def write(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """The messages of a conversation."""
        written: list[dict[str, Any]] = []
        for message in messages:
            if message.role == "assistant":
                written.append(self._assistant(message.parts))
            elif message.role == "system":
                written.append(_turn("system", message.parts, media=False))
            else:
                written += self._answers(message)
        return written

    def _answers(self, message: Message) -> Iterator[dict[str, Any]]:
        """A user or tool turn; results come first, one message each, as they must follow their calls."""
        rest = [part for part in message.parts if not isinstance(part, ToolResultPart)]
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                yield self._result(part)
        if message.role == "tool":
            if rest:
                raise InvalidRequestError(f"a tool turn holds tool results only, not {kinds(rest)}")
        elif rest or not message.parts:
            yield _turn("user", rest)

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        written = _turn("tool", part.parts)
        name = part.name or self._called.get(part.id)
        if name:
            written["tool_name"] = self._names.encode(name)
        if part.id:
            written["tool_call_id"] = part.id
        return written

    def _assistant(self, parts: Iterable[Part]) -> dict[str, Any]:
        calls, thoughts = [], []
        rest: list[Part] = []
        for part in parts:
            if isinstance(part, ToolCallPart):
                self._called[part.id] = part.name
                # Only an object travels: where the model wrote none, the tool's answer says so.
                function = {"name": self._names.encode(part.name), "arguments": part.arguments or {}}
                calls.append({"id": part.id, "function": function})
            elif isinstance(part, ThinkingPart):  # that of others is dropped, never shown as text
                state = part.state_for(self._owner) if self._owner is not None else None
                if state is not None:
                    thoughts.append(msgspec.json.decode(state, type=dict[str, str]).get("thinking", ""))
            else:
                rest.append(part)
        written = _turn("assistant", rest)
        if thoughts:
            written["thinking"] = "".join(thoughts)
        if calls:
            written["tool_calls"] = calls
        return written


def _turn(role: str, parts: Iterable[Part], *, media: bool = True) -> dict[str, Any]:
    texts, images = [], []
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ImagePart) and media:
            images.append(_image(part))
        elif isinstance(part, (ToolCallPart, ToolResultPart, ThinkingPart)):
            raise InvalidRequestError(f"a {role} turn cannot hold {kinds([part])}")
        else:
            raise UnsupportedError(
                f"Ollama takes no {part.type} in a {role} turn", hint="send text, or images in a user turn"
            )
    written: dict[str, Any] = {"role": role, "content": "".join(texts)}
    if images:
        written["images"] = images
    return written


def _image(part: ImagePart) -> str:
    """The picture as base64: the server fetches nothing."""
    if part.data:
        return as_base64(part.data)
    if part.url is None:
        raise InvalidRequestError("an image needs its `data`")
    if part.url[:5].lower() != "data:":
        raise UnsupportedError("Ollama takes images as data, not by address", hint="give `data`")
    return as_base64(read_data_url(part.url)[0])
