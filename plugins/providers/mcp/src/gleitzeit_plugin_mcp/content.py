"""The protocol's content blocks as parts of ours, and back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gleitzeit.values import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    Reply,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["block", "contents", "parts", "prompt_reply", "resource_reply", "tool_reply"]


def parts(blocks: Any) -> tuple[Part, ...]:
    """Content blocks as parts; blocks of unknown types become their JSON, so that nothing is lost."""
    return tuple(_part(item) for item in blocks) if isinstance(blocks, Iterable) else ()


def _part(item: Any) -> Part:
    if isinstance(item, Mapping):
        type, media = item.get("type"), item.get("mimeType")
        if type == "text" and isinstance(item.get("text"), str):
            return TextPart(item["text"])
        if type == "image" and (data := _bytes(item.get("data"))) is not None:
            return ImagePart(data=data, media_type=media)
        if type == "audio" and (data := _bytes(item.get("data"))) is not None:
            return AudioPart(data=data, media_type=media)
        if type == "resource_link":
            return FilePart(url=item.get("uri"), media_type=media, name=item.get("name"))
        if type == "resource" and isinstance(item.get("resource"), Mapping):
            return _resource(item["resource"])
        if type == "tool_use" and isinstance(item.get("input"), Mapping):
            return ToolCallPart(
                str(item.get("id", "")), name=str(item.get("name", "")), arguments=item["input"]
            )
        if type == "tool_result":
            return ToolResultPart(
                str(item.get("toolUseId", "")),
                parts=parts(item.get("content") or ()),
                is_error=item.get("isError") is True,
            )
    return TextPart(item if isinstance(item, str) else json.dumps(item))


def _resource(item: Mapping[str, Any]) -> Part:
    """The contents of a resource: text as text, anything else as what its media type says."""
    media = item.get("mimeType")
    if isinstance(item.get("text"), str):
        return TextPart(item["text"])
    data = _bytes(item.get("blob"))
    if data is None:
        return TextPart(json.dumps(item))
    kind = str(media).partition("/")[0]
    if kind == "image":
        return ImagePart(data=data, url=item.get("uri"), media_type=media)
    if kind == "audio":
        return AudioPart(data=data, url=item.get("uri"), media_type=media)
    return FilePart(data=data, url=item.get("uri"), media_type=media, name=item.get("name"))


def _bytes(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def tool_reply(result: Mapping[str, Any]) -> Reply:
    """The answer of `tools/call`; the raw result stays at hand."""
    failed = result.get("isError") is True
    return Reply(
        parts(result.get("content") or ()),
        data=result.get("structuredContent"),
        is_error=failed,
        finish_reason="error" if failed else "stop",
        raw=result,
    )


def resource_reply(result: Mapping[str, Any]) -> Reply:
    """The answer of `resources/read`."""
    found = result.get("contents")
    items = [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
    return Reply(tuple(_resource(item) for item in items), finish_reason="stop", raw=result)


def prompt_reply(result: Mapping[str, Any]) -> Reply:
    """The answer of `prompts/get`, as messages to start a conversation with."""
    messages = []
    found = result.get("messages")
    for item in found if isinstance(found, list) else ():
        if isinstance(item, Mapping):
            content = item.get("content")
            role: Role = "assistant" if item.get("role") == "assistant" else "user"
            messages.append(Message(role, parts(content if isinstance(content, list) else [content])))
    return Reply(messages=tuple(messages), finish_reason="stop", raw=result)


def block(part: Part) -> dict[str, Any]:
    """A part as a content block, in the shapes of the protocol's own sampling messages."""
    if isinstance(part, (TextPart, ThinkingPart)):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCallPart):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": dict(part.arguments or {})}
    if isinstance(part, ToolResultPart):
        result = {
            "type": "tool_result",
            "toolUseId": part.id,
            "content": [block(each) for each in part.parts],
        }
        return {**result, "isError": True} if part.is_error else result
    if part.data is None:
        return {
            "type": "resource_link",
            "uri": part.url or "",
            "name": getattr(part, "name", None) or part.url or "",
        }
    data = base64.b64encode(part.data).decode()
    if isinstance(part, FilePart):
        media = part.media_type or "application/octet-stream"
        uri = part.url or f"file:///{part.name or 'data'}"
        return {"type": "resource", "resource": {"uri": uri, "mimeType": media, "blob": data}}
    return {"type": part.type, "data": data, "mimeType": part.media_type or f"{part.type}/*"}


def contents(message: Message) -> str | list[dict[str, Any]]:
    """What a message says: a string where it is only text, else its blocks; thinking stays here."""
    said = [part for part in message.parts if not isinstance(part, ThinkingPart)]
    if all(isinstance(part, TextPart) for part in said):
        return message.text
    return [block(part) for part in said]
