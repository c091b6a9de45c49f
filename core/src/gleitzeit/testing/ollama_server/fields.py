"""The bodies of requests as Ollama reads them, by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.testing.shape import Each, Fields, Number, Text, Values, Words

__all__ = ["REQUESTS"]

_WHOLE: Final = Number(whole=True)
_TIME: Final = (
    float,
    Text(
        pattern=r"\A(?:-?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))*|0)\Z"
    ),
)
_BASE64: Final = Text(1, pattern=r"\A(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_OPTIONS: Final = Fields(
    {
        **dict.fromkeys(
            ("num_ctx", "num_predict", "num_keep", "num_batch", "num_gpu", "seed", "top_k"), _WHOLE
        ),
        **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), float),
        "stop": (str, Each(str)),
    },
    open=True,
)
_COMMON: Final[Mapping[str, Any]] = {
    "model": Text(1),
    "stream": bool,
    "format": (Words("json"), dict),
    "options": _OPTIONS,
    "keep_alive": _TIME,
    "think": (bool, Words("low medium high max")),
    "logprobs": bool,
    "top_logprobs": _WHOLE,
    "truncate": bool,
    "shift": bool,
}
_CALL: Final = Fields(
    {
        "id": str,
        "type": Words("function"),
        "function": Fields(
            {"index": _WHOLE, "name": str, "description": str, "arguments": Values(object)},
            ["name", "arguments"],
        ),
    },
    ["function"],
)
_TEXT: Final[Mapping[str, Any]] = {"role": str, "content": str, "images": Each(_BASE64)}
_MESSAGES: Final = Each(
    Fields(
        {
            **_TEXT,
            "role": Words("system user assistant tool"),
            "thinking": str,
            "tool_calls": Each(_CALL),
            "tool_name": str,
            "tool_call_id": str,
        },
        ["role", "content"],
    )
)
_TOOL: Final = Fields(
    {
        "type": Words("function"),
        "function": Fields(
            {"name": Text(1, 64, r"\A[A-Za-z0-9_-]+\Z"), "description": str, "parameters": dict},
            ["name", "parameters"],
        ),
    },
    ["type", "function"],
)

REQUESTS: Final[Mapping[str, Fields]] = {
    "/api/chat": Fields({**_COMMON, "messages": _MESSAGES, "tools": Each(_TOOL)}, ["model", "messages"]),
    "/api/generate": Fields(
        {
            **_COMMON,
            "prompt": str,
            "suffix": str,
            "system": str,
            "template": str,
            "context": Each(int),
            "raw": bool,
            "images": Each(_BASE64),
        },
        ["model"],
    ),
    "/api/embed": Fields(
        {
            "model": Text(1),
            "input": (str, Each(str)),
            "truncate": bool,
            "dimensions": _WHOLE,
            "keep_alive": _TIME,
            "options": _OPTIONS,
        },
        ["model", "input"],
    ),
    "/api/pull": Fields({"model": Text(1), "insecure": bool, "stream": bool}, ["model"]),
    "/api/show": Fields({"model": Text(1), "verbose": bool}, ["model"]),
}
