"""The bodies of requests as OpenAI publishes them, as far as the scripted server reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.testing.shape import Each, Fields, Null, Number, Tagged, Text, Values, Words

__all__ = ["REQUESTS"]

_UNIT: Final = Number(0, 1)
_PENALTY: Final = Null(Number(-2, 2))
_COUNT: Final = Number(0, 20, whole=True)
_TOKENS: Final = Null(Number(1, whole=True))
_EFFORT: Final = Null(Words("none minimal low medium high xhigh max"))
_VERBOSITY: Final = Null(Words("low medium high"))
_SCHEMA: Final = {"name": str, "description": str, "schema": dict, "strict": Null(bool)}
_BREAKPOINT: Final = {"prompt_cache_breakpoint": Fields({"mode": Words("explicit")}, ["mode"])}

_COMMON: Final[Mapping[str, Any]] = {
    "model": str,
    "stream": Null(bool),
    "user": str,
    "metadata": Null(Values(str)),
    "temperature": Null(Number(0, 2)),
    "top_p": Null(_UNIT),
}
_OURS: Final[Mapping[str, Any]] = {
    "safety_identifier": Null(Text(most=64)),
    "prompt_cache_key": Null(str),
    "prompt_cache_retention": Null(Words("in_memory 24h")),
    "prompt_cache_options": dict,
    "moderation": Null(Fields({"model": str, "policy": Null(dict)}, ["model"])),
    "store": Null(bool),
    "parallel_tool_calls": bool,
}
_SAMPLING: Final[Mapping[str, Any]] = {
    "stream_options": Null(Fields({"include_usage": bool, "include_obfuscation": bool})),
    "n": Null(Number(1, 128, whole=True)),
    "stop": Null((str, Each(str, 1, 4))),
    "max_tokens": _TOKENS,
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "logit_bias": Null(Values(int)),
    "seed": Null(Number(-(2**63), 2**63 - 1, whole=True)),
}


def _part(kind: str, **fields: Any) -> Fields:
    """A part of a message: its type, and what it holds."""
    return Fields({"type": str, **fields, **_BREAKPOINT}, ["type", *fields])


_TEXT: Final = _part("text", text=str)
_PARTS: Final[Mapping[str, Any]] = {
    "text": _TEXT,
    "image_url": _part(
        "image_url", image_url=Fields({"url": str, "detail": Words("auto low high")}, ["url"])
    ),
    "input_audio": _part(
        "input_audio", input_audio=Fields({"data": str, "format": Words("wav mp3")}, ["data", "format"])
    ),
    "file": _part("file", file=Fields({"filename": str, "file_data": str, "file_id": str})),
    "refusal": Fields({"type": str, "refusal": str}, ["type", "refusal"]),
}


def _content(*kinds: str) -> Any:
    return (str, Each(Tagged("type", {kind: _PARTS[kind] for kind in kinds}), 1))


_FUNCTION: Final = Fields({"name": str, "arguments": str}, ["name", "arguments"])
_CALL: Final = Fields(
    {"id": Text(1), "type": Words("function"), "function": _FUNCTION}, ["id", "type", "function"]
)
_ROLE: Final = {"role": str, "name": str}


def _turn(*kinds: str) -> Fields:
    return Fields({**_ROLE, "content": _content(*kinds)}, ["role", "content"])


#: Assistants also send their reasoning back, in a field that compatible servers have.
_ASSISTANT: Final = Fields(
    {
        **_ROLE,
        "content": Null(_content("text", "refusal")),
        "refusal": Null(str),
        "audio": Null(Fields({"id": str}, ["id"])),
        "tool_calls": Each(_CALL, 1),
        "function_call": Null(_FUNCTION),
        "reasoning_content": Null(str),
        "reasoning": Null(str),
        "reasoning_details": Null(list),
    },
    ["role"],
)
_MESSAGES: Final = Each(
    Tagged(
        "role",
        {
            "system": _turn("text"),
            "developer": _turn("text"),
            "user": _turn("text", "image_url", "input_audio", "file"),
            "assistant": _ASSISTANT,
            "tool": Fields(
                {"role": str, "tool_call_id": str, "content": _content("text", "image_url")},
                ["role", "tool_call_id", "content"],
            ),
        },
    ),
    1,
)
_NAME: Final = Text(1, 64, r"\A[a-zA-Z0-9_-]*\Z")
_TOOL: Final = Fields(
    {
        "type": Words("function"),
        "function": Fields(
            {"name": _NAME, "description": str, "parameters": dict, "strict": Null(bool)}, ["name"]
        ),
    },
    ["type", "function"],
)
_FORMAT: Final[Mapping[str, Any]] = {
    "text": Fields({"type": str}),
    "json_object": Fields({"type": str}),
    "json_schema": Fields({"type": str, "json_schema": Fields(_SCHEMA, ["name"])}, ["json_schema"]),
}
_NAMED: Final = Fields(
    {"type": Words("function"), "function": Fields({"name": str}, ["name"])}, ["type", "function"]
)
_CHAT: Final = Fields(
    {
        **_COMMON,
        **_SAMPLING,
        **_OURS,
        "messages": _MESSAGES,
        "tools": Each(_TOOL),
        "tool_choice": (Words("none auto required"), _NAMED),
        "response_format": Tagged("type", _FORMAT),
        "max_completion_tokens": _TOKENS,
        "reasoning_effort": _EFFORT,
        "verbosity": _VERBOSITY,
        "logprobs": Null(bool),
        "top_logprobs": _COUNT,
        "service_tier": Null(Words("auto default flex scale priority fast")),
        "modalities": Null(Each(Words("text audio"))),
        "audio": Null(
            Fields(
                {"voice": (str, dict), "format": Words("wav aac mp3 flac opus pcm16")}, ["voice", "format"]
            )
        ),
        "prediction": Null(
            Fields({"type": Words("content"), "content": (str, Each(_TEXT, 1))}, ["type", "content"])
        ),
        "web_search_options": Fields(
            {
                "search_context_size": Words("low medium high"),
                "user_location": Null(
                    Fields(
                        {
                            "type": Words("approximate"),
                            "approximate": Fields(
                                dict.fromkeys(("country", "region", "city", "timezone"), str)
                            ),
                        },
                        ["type", "approximate"],
                    )
                ),
            }
        ),
    },
    ["model", "messages"],
)
_TOKEN_LISTS: Final = (Each(int, 1), Each(Each(int, 1), 1))
_COMPLETION: Final = Fields(
    {
        **_COMMON,
        **_SAMPLING,
        "prompt": (str, Each(str), *_TOKEN_LISTS),
        "suffix": Null(str),
        "echo": Null(bool),
        "best_of": Null(_COUNT),
        "logprobs": Null(Number(0, 5, whole=True)),
    },
    ["model", "prompt"],
)
_EMBEDDING: Final = Fields(
    {
        "model": str,
        "user": str,
        "input": (str, Each(str, 1, 2048), *_TOKEN_LISTS),
        "dimensions": Number(1, whole=True),
        "encoding_format": Words("float base64"),
    },
    ["model", "input"],
)

# --- the Responses API

_INPUTS: Final[Mapping[str, Any]] = {
    "input_text": Fields({"type": str, "text": str}, ["text"]),
    "input_image": Fields(
        {
            "type": str,
            "image_url": Null(str),
            "file_id": Null(str),
            "detail": Words("low high auto original"),
        },
        ["detail"],
    ),
    "input_file": Fields(
        {
            "type": str,
            "file_id": Null(str),
            "filename": str,
            "file_data": str,
            "file_url": str,
            "detail": str,
        }
    ),
}
_OUTPUT_PARTS: Final[Mapping[str, Any]] = {
    "output_text": Fields(
        {"type": str, "text": str, "annotations": Each(dict), "logprobs": Each(dict)},
        ["text", "annotations", "logprobs"],
    ),
    "refusal": Fields({"type": str, "refusal": str}, ["refusal"]),
}
_STATUS: Final = Words("in_progress completed incomplete")
_CALLER: Final = {"caller": Null(dict), "namespace": str}
_ASKED: Final[Mapping[str, Any]] = {"type": str, "role": str, "phase": Null(str)}


def _said(*kinds: str) -> Fields:
    parts = Tagged("type", {kind: _INPUTS[kind] for kind in kinds})
    return Fields({**_ASKED, "content": (str, Each(parts))}, ["role", "content"])


_ANSWERED: Final = Fields(
    {**_ASKED, "id": str, "status": _STATUS, "content": Each(Tagged("type", _OUTPUT_PARTS))},
    ["id", "role", "status", "content"],
)
_ITEMS: Final[Mapping[str, Any]] = {
    "message": Tagged(
        "role",
        {
            "user": _said(*_INPUTS),
            "system": _said("input_text"),
            "developer": _said("input_text"),
            "assistant": (_ANSWERED, Fields({**_ASKED, "content": str}, ["role", "content"])),
        },
    ),
    "function_call": Fields(
        {
            "type": str,
            "id": str,
            "call_id": str,
            "name": str,
            "arguments": str,
            "status": _STATUS,
            **_CALLER,
        },
        ["call_id", "name", "arguments"],
    ),
    "function_call_output": Fields(
        {
            "type": str,
            "id": Null(str),
            "call_id": Text(1, 64),
            "output": (str, Each(Tagged("type", {**_INPUTS}))),
            "status": Null(_STATUS),
        },
        ["call_id", "output"],
    ),
    "custom_tool_call": Fields(
        {"type": str, "id": str, "call_id": str, "name": str, "input": str, **_CALLER},
        ["call_id", "name", "input"],
    ),
    "custom_tool_call_output": Fields(
        {
            "type": str,
            "id": str,
            "call_id": str,
            "output": (str, Each(Tagged("type", {**_INPUTS}))),
        },
        ["call_id", "output"],
    ),
    "reasoning": Fields(
        {
            "type": str,
            "id": str,
            "encrypted_content": Null(str),
            "summary": Each(Fields({"type": Words("summary_text"), "text": str}, ["type", "text"])),
            "content": Each(Fields({"type": Words("reasoning_text"), "text": str}, ["type", "text"])),
            "status": _STATUS,
        },
        ["id", "summary"],
    ),
}
#: Items, and tools, that the vendor runs itself; they are let through.
_OTHER_ITEMS: Final = [
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "web_search_call",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "compaction",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "item_reference",
    "compaction_trigger",
]
_OTHER_TOOLS: Final = [
    "file_search",
    "computer_use_preview",
    "computer",
    "web_search",
    "web_search_2025_08_26",
    "mcp",
    "code_interpreter",
    "image_generation",
    "local_shell",
    "shell",
    "custom",
    "namespace",
    "tool_search",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "apply_patch",
]
_OTHER_CHOICES: Final = [
    "allowed_tools",
    "mcp",
    "custom",
    "apply_patch",
    "shell",
    "file_search",
    "web_search_preview",
    "computer",
    "computer_use_preview",
    "image_generation",
    "code_interpreter",
    "web_search_preview_2025_03_11",
]
_RESPONSE_TOOL: Final = Tagged(
    "type",
    {
        "function": Fields(
            {
                "type": str,
                "name": _NAME,
                "description": Null(str),
                "parameters": Null(dict),
                "strict": Null(bool),
                "defer_loading": bool,
            },
            ["name", "parameters", "strict"],
        )
    },
    others=_OTHER_TOOLS,
)
_INCLUDE: Final = Words(
    "file_search_call.results web_search_call.results web_search_call.action.sources "
    "message.input_image.image_url computer_call_output.output.image_url code_interpreter_call.outputs "
    "reasoning.encrypted_content message.output_text.logprobs"
)
_RESPONSE: Final = Fields(
    {
        **_COMMON,
        **_OURS,
        "input": (str, Each(Tagged("type", _ITEMS, others=_OTHER_ITEMS), 1)),
        "instructions": Null(str),
        "stream_options": Null(Fields({"include_obfuscation": bool})),
        "tools": Each(_RESPONSE_TOOL),
        "tool_choice": (
            Words("none auto required"),
            Tagged(
                "type",
                {"function": Fields({"type": str, "name": str}, ["name"])},
                others=_OTHER_CHOICES,
            ),
        ),
        "max_output_tokens": Null(Number(16, whole=True)),
        "max_tool_calls": Null(int),
        "top_logprobs": _COUNT,
        "reasoning": Null(
            Fields(
                {
                    "effort": _EFFORT,
                    "summary": Null(Words("auto concise detailed")),
                    "generate_summary": Null(Words("auto concise detailed")),
                    "context": Null(Words("auto current_turn all_turns")),
                }
            )
        ),
        "text": Fields(
            {
                "format": Tagged(
                    "type",
                    {**_FORMAT, "json_schema": Fields({"type": str, **_SCHEMA}, ["name", "schema"])},
                ),
                "verbosity": _VERBOSITY,
            }
        ),
        "include": Null(Each(_INCLUDE)),
        "previous_response_id": Null(str),
        "conversation": Null((str, Fields({"id": str}, ["id"]))),
        "background": Null(bool),
        "truncation": Null(Words("auto disabled")),
        "service_tier": Null(Words("auto default flex scale priority fast ultrafast")),
        "context_management": Null(Each(dict, 1)),
        "parallel_tool_calls": Null(bool),
    },
    ["model", "input"],
)

#: By the kind of the request.
REQUESTS: Final[Mapping[str, Fields]] = {
    "chat": _CHAT,
    "completion": _COMPLETION,
    "embedding": _EMBEDDING,
    "response": _RESPONSE,
}
