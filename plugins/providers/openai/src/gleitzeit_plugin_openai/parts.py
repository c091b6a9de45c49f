"""Messages as OpenAI's API takes them. What the wire cannot carry is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

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
from gleitzeit.wire.parts import as_base64, image_type, kinds

__all__ = ["MessageWriter", "data_url", "foreign", "media_type", "only_text"]

_AUDIO: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


class MessageWriter:
    """Writes messages for one request. `owner` tags the state that this server gave and gets back."""

    def __init__(self, names: WireNames, owner: str | None, *, system_role: str, merge_system: bool) -> None:
        self._names = names
        self._owner = owner
        self._system_role = system_role
        self._merge_system = merge_system

    def write(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        """The messages of a conversation."""
        written: list[dict[str, Any]] = []
        system: list[str] = []
        for message in messages:
            if message.role == "system":
                text = only_text(message.parts, "a system turn")
                if self._merge_system:
                    system.append(text)
                else:
                    written.append(_named(message, {"role": self._system_role, "content": text}))
            elif message.role == "assistant":
                written.append(_named(message, self._assistant(message.parts)))
            else:
                written += self._turn(message)
        if system:
            written.insert(0, {"role": self._system_role, "content": "\n\n".join(system)})
        return written

    def _turn(self, message: Message) -> Iterator[dict[str, Any]]:
        """A user or tool turn; results come first, one message each, as they must follow their calls."""
        rest: list[Part] = [part for part in message.parts if not isinstance(part, ToolResultPart)]
        for part in message.parts:
            if isinstance(part, ToolResultPart):
                content = only_text(part.parts, f"the result of tool {part.name or part.id!r}")
                yield {"role": "tool", "tool_call_id": part.id, "content": content}
        if message.role == "tool":
            if rest:
                raise InvalidRequestError(f"a tool turn holds tool results only, not {kinds(rest)}")
        elif rest or not message.parts:
            yield _named(message, {"role": "user", "content": _content(rest)})

    def _assistant(self, parts: Iterable[Part]) -> dict[str, Any]:
        written: dict[str, Any] = {"role": "assistant"}
        texts, calls, extra = [], [], {}
        for part in parts:
            state = part.state_for(self._owner) if self._owner is not None else None
            if isinstance(part, ToolCallPart):
                calls.append(self._call(part, state))
                continue
            if state is not None:
                # Raw: what the server gave goes back byte for byte.
                extra.update(msgspec.json.decode(state, type=dict[str, msgspec.Raw]))
            if isinstance(part, TextPart):
                texts.append(part.text)
            # Of others, thinking is dropped, never shown as text, and so is what only they can take back.
            elif not (isinstance(part, ThinkingPart) or state is not None or foreign(part)):
                raise UnsupportedError(f"an assistant turn cannot hold {kinds([part])} in chat completions")
        # Beside calls an absent content suits everybody; null and "" are each refused by somebody.
        if (texts or not calls) and "audio" not in extra:  # what was spoken stands for its transcript
            written["content"] = "".join(texts)
        if calls:
            written["tool_calls"] = calls
        return {**written, **extra}

    def _call(self, part: ToolCallPart, state: str | None) -> dict[str, Any]:
        arguments = part.raw
        if arguments is None or not arguments.strip():
            arguments = json.dumps(part.arguments or {}, ensure_ascii=False)
        function = {"name": self._names.encode(part.name), "arguments": arguments}
        call: dict[str, Any] = {"id": part.id, "type": "function", "function": function}
        if state is not None:
            call.update(msgspec.json.decode(state, type=dict[str, msgspec.Raw]))
        return call


def _named(message: Message, written: dict[str, Any]) -> dict[str, Any]:
    if message.name is not None:
        written["name"] = message.name
    return written


def foreign(part: Part) -> bool:
    """Is this a vendor's own creation in an assistant turn, which nobody else can take back?"""
    return isinstance(part, AudioPart | ImagePart | FilePart) and part.provider_state is not None


def only_text(parts: Iterable[Part], where: str, api: str = "chat completions") -> str:
    """The text of parts that may hold nothing else; `where` names their place."""
    texts = []
    for part in parts:
        if not isinstance(part, TextPart):
            raise UnsupportedError(
                f"{where} cannot hold {kinds([part])} in {api}", hint="send it in a user turn"
            )
        texts.append(part.text)
    return "".join(texts)


def _content(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """Plain text as a string, which every server takes, else a list of parts; empty texts are dropped."""
    kept = [part for part in parts if not isinstance(part, TextPart) or part.text]
    if not kept:
        return ""
    if len(kept) == 1 and isinstance(kept[0], TextPart):
        return kept[0].text
    return [_part(part) for part in kept]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        image = {"url": part.url if part.url is not None else data_url(part, media_type(part))}
        if part.detail is not None:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if isinstance(part, AudioPart):
        kind = _AUDIO.get((part.media_type or "").lower())
        if part.data is None or kind is None:
            raise UnsupportedError(
                "chat completions take sound as WAV or MP3 data only",
                hint="give `data` with the media type audio/wav or audio/mpeg",
            )
        return {"type": "input_audio", "input_audio": {"data": as_base64(part.data), "format": kind}}
    if isinstance(part, FilePart):
        return {"type": "file", "file": _file(part)}
    raise InvalidRequestError(f"a user turn cannot hold {kinds([part])}")


def _file(part: FilePart) -> dict[str, str]:
    if part.file_id is not None:
        return {"file_id": part.file_id}
    if part.data is None:
        raise UnsupportedError(
            "chat completions take files as data or as the id of an upload, not by address",
            hint="give `data` or `file_id`",
        )
    return {
        "filename": part.name or "file",
        "file_data": data_url(part, part.media_type or "application/pdf"),
    }


def media_type(part: ImagePart) -> str:
    """The media type of a picture's data, told by its first bytes where nobody says it."""
    if part.media_type is not None:
        return part.media_type
    kind = image_type(part.data or b"")
    if kind is None:
        raise InvalidRequestError("an image needs a `url`, or `data` with its `media_type`")
    return kind


def data_url(part: ImagePart | FilePart, kind: str) -> str:
    """The data of a part as an address."""
    if part.data is None:
        raise InvalidRequestError("an image needs a `url`, or `data` with its `media_type`")
    return f"data:{kind};base64,{as_base64(part.data)}"
