"""Replies as results of the protocol: the upstream's own words where they say what the reply says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_types import SERVER_INFO_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gleitzeit.values import Message, Reply
from gleitzeit_plugin_mcp.content import block, prompt_reply, resource_reply, tool_reply

__all__ = ["enveloped", "prompt_result", "resource_result", "tool_result"]

_CONTENT = frozenset({"text", "image", "audio", "resource", "resource_link"})


def tool_result(reply: Reply, raw: Mapping[str, Any] | None) -> dict[str, Any]:
    """The result of a tool. `raw` is what the upstream said: used unless somebody changed the reply."""
    if raw is not None:
        told = tool_reply(raw)
        if (told.parts, told.data, told.is_error) == (reply.parts, reply.data, reply.is_error):
            return dict(raw)
    blocks = [block(part) for part in reply.parts]
    result: dict[str, Any] = {"content": [each for each in blocks if each["type"] in _CONTENT]}
    if reply.data is not None:
        result["structuredContent"] = reply.data
    if reply.is_error:
        result["isError"] = True
    return result


def resource_result(reply: Reply, raw: Mapping[str, Any] | None, uri: str) -> dict[str, Any]:
    """The contents of a resource."""
    if raw is not None and resource_reply(raw).parts == reply.parts:
        return dict(raw)
    contents: list[dict[str, Any]] = []
    for part in reply.parts:
        found = block(part)
        if found["type"] == "text":
            contents.append({"uri": uri, "mimeType": "text/plain", "text": found["text"]})
        elif found["type"] == "resource":
            contents.append({**found["resource"], "uri": uri})
        elif "data" in found:
            contents.append({"uri": uri, "mimeType": found["mimeType"], "blob": found["data"]})
    return {"contents": contents}


def prompt_result(reply: Reply, raw: Mapping[str, Any] | None, description: str | None) -> dict[str, Any]:
    """The messages of a prompt."""
    if raw is not None and prompt_reply(raw).messages == reply.messages:
        return dict(raw)
    messages = [row for message in reply.messages for row in _rows(message)]
    return {"description": description, "messages": messages} if description else {"messages": messages}


def _rows(message: Message) -> list[dict[str, Any]]:
    role = "assistant" if message.role == "assistant" else "user"
    blocks = [block(part) for part in message.parts]
    return [{"role": role, "content": each} for each in blocks if each["type"] in _CONTENT]


def enveloped(
    result: dict[str, Any],
    version: str,
    stamp: Mapping[str, Any],
    *,
    caches: bool = False,
    ttl: int = 0,
) -> dict[str, Any]:
    """The result in the envelope of the version that the client speaks; `ttl` in milliseconds."""
    meta = result.get("_meta")
    meta = {key: value for key, value in meta.items() if key != SERVER_INFO_META_KEY} if meta else {}
    if version in MODERN_PROTOCOL_VERSIONS:
        result.setdefault("resultType", "complete")
        if caches and result["resultType"] == "complete":
            result.setdefault("ttlMs", ttl)
            result.setdefault("cacheScope", "private")
        meta[SERVER_INFO_META_KEY] = stamp
    else:
        for key in ("resultType", "ttlMs", "cacheScope"):
            result.pop(key, None)
    if meta:
        result["_meta"] = meta
    else:
        result.pop("_meta", None)
    return result
