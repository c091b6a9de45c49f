"""The bodies of requests as Anthropic publishes them, as far as the scripted server reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.testing.shape import Each, Fields, Null, Number, Tagged, Text, Values, Words

__all__ = ["COUNTED", "MESSAGE"]

_UNIT: Final = Number(0, 1)
_ID: Final = Text(1, pattern=r"\A[a-zA-Z0-9_-]+\Z")
_CACHE: Final = {"cache_control": Null(Fields({"type": Words("ephemeral"), "ttl": Words("5m 1h")}, ["type"]))}
_SOLID: Final = Text(1, pattern=r"\S")
_CITED: Final = Null(Fields({"enabled": bool}))
_DATA: Final = {
    "url": Fields({"type": str, "url": str}, ["url"]),
    "file": Fields({"type": str, "file_id": str}, ["file_id"]),
}
_PICTURES: Final = Words("image/jpeg image/png image/gif image/webp")


def _base64(kinds: Words) -> Fields:
    return Fields({"type": str, "media_type": kinds, "data": str}, ["media_type", "data"])


def _block(*required: str, **fields: Any) -> Fields:
    """A block: its type, where the cache may end, and what it holds."""
    return Fields({"type": str, **_CACHE, **fields}, required or fields)


_IMAGE: Final = _block(source=Tagged("type", {"base64": _base64(_PICTURES), **_DATA}))
_TEXT: Final = _block("text", text=_SOLID, citations=Null(Each(dict)))
_DOCUMENT: Final = _block(
    "source",
    source=Tagged(
        "type",
        {
            "base64": _base64(Words("application/pdf")),
            "text": Fields(
                {"type": str, "media_type": Words("text/plain"), "data": str}, ["media_type", "data"]
            ),
            "content": Fields({"type": str, "content": (str, Each(dict))}, ["content"]),
            **_DATA,
        },
    ),
    title=Null(Text(1, 500)),
    context=Null(Text(1)),
    citations=_CITED,
)
_SEARCHED: Final = _block(
    "content", "source", "title", content=Each(_TEXT), source=str, title=str, citations=_CITED
)
_SEEN: Final[Mapping[str, Any]] = {
    "text": _TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCHED,
}
_USER: Final[Mapping[str, Any]] = {
    **_SEEN,
    "tool_result": _block(
        "tool_use_id",
        tool_use_id=_ID,
        is_error=bool,
        content=(
            str,
            Each(Tagged("type", {**_SEEN, "tool_reference": _block("tool_name", tool_name=str)})),
        ),
    ),
    "container_upload": _block(file_id=str),
    "tool_reference": _block("tool_name", tool_name=str),
}
_ASSISTANT: Final[Mapping[str, Any]] = {
    "text": _TEXT,
    "thinking": Fields({"type": str, "thinking": str, "signature": str}, ["thinking", "signature"]),
    "redacted_thinking": Fields({"type": str, "data": str}, ["data"]),
    "tool_use": _block(
        "id", "name", "input", id=_ID, name=Text(1, 200), input=dict, caller=Fields({"type": str}, open=True)
    ),
}


def _turn(blocks: Tagged) -> Fields:
    return Fields({"role": str, "content": (_SOLID, Each(blocks, 1))}, ["role", "content"])


#: Blocks of tools that run at the vendor's, which are let through in the turns of the model.
_SERVED: Final = [
    "server_tool_use",
    "mcp_tool_use",
    "mcp_tool_result",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "advisor_tool_result",
    "compaction",
    "container_upload",
]
_TURNS: Final = Each(
    Tagged(
        "role",
        {
            "user": _turn(Tagged("type", _USER)),
            "assistant": _turn(Tagged("type", _ASSISTANT, others=_SERVED)),
            "system": _turn(Tagged("type", {"text": _TEXT}, others=["tool_addition"])),
        },
    ),
    1,
)
_SCHEMA: Final = Fields(
    {"type": Words("object"), "properties": Null(dict), "required": Null(Each(str))}, ["type"], open=True
)
_TOOL: Final = Fields(
    {
        **_CACHE,
        "type": Null(Words("custom")),
        "name": Text(1, 128, r"\A[a-zA-Z0-9_-]+\Z"),
        "description": str,
        "input_schema": _SCHEMA,
        "strict": bool,
        "eager_input_streaming": Null(bool),
        "defer_loading": bool,
        "allowed_callers": Each(str),
        "input_examples": Each(dict),
    },
    ["name", "input_schema"],
)
#: Tools of the vendor's own have a dated type.
_SERVERS: Final = Fields(
    {"type": Text(pattern=r"_\d{8}\Z"), "name": Text(1, 128, r"\A[a-zA-Z0-9_-]+\Z")},
    ["type", "name"],
    open=True,
)
_ONE_AT_A_TIME: Final = {"type": str, "disable_parallel_tool_use": bool}
_SHOWN: Final = {"type": str, "display": Null(Words("summarized omitted"))}

COUNTED: Final[Fields] = Fields(
    {
        **_CACHE,
        "model": str,
        "messages": _TURNS,
        "system": (_SOLID, Each(Tagged("type", {"text": _TEXT}))),
        "tools": Each((_TOOL, _SERVERS)),
        "tool_choice": Tagged(
            "type",
            {
                "auto": Fields(_ONE_AT_A_TIME),
                "any": Fields(_ONE_AT_A_TIME),
                "tool": Fields({**_ONE_AT_A_TIME, "name": str}, ["name"]),
                "none": Fields({"type": str}),
            },
        ),
        "thinking": Tagged(
            "type",
            {
                "enabled": Fields({**_SHOWN, "budget_tokens": Number(1024, whole=True)}, ["budget_tokens"]),
                "adaptive": Fields(_SHOWN),
                "disabled": Fields({"type": str}),
            },
        ),
        "output_config": Fields(
            {
                "task_budget": Fields({"type": Words("tokens"), "total": int, "remaining": int}, ["type"]),
                "effort": Null(Words("low medium high xhigh max")),
                "format": Null(Fields({"type": Words("json_schema"), "schema": dict}, ["type", "schema"])),
            }
        ),
        "context_management": dict,
        "mcp_servers": Each(dict),
        "speed": Words("standard fast"),
    },
    ["model", "messages"],
)
MESSAGE: Final[Fields] = Fields(
    {
        **COUNTED.fields,
        "max_tokens": Number(1, whole=True),
        "stream": bool,
        "stop_sequences": Each(str),
        "temperature": _UNIT,
        "top_p": _UNIT,
        "top_k": Number(0, whole=True),
        "metadata": Fields({"user_id": Null(Text(most=512))}),
        "container": Null((str, Values(object))),
        "service_tier": Words("auto standard_only"),
        "inference_geo": Null(str),
    },
    ["model", "messages", "max_tokens"],
)
