"""The models of a host as tools: `chat`, `complete`, `embed`, `classify`, `list_models`, `health`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import InvalidRequestError, UnknownModelError
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Message,
    Operation,
    Reply,
    ResponseSchema,
    Tool,
    ToolResultPart,
    Usage,
)
from gleitzeit_plugin_mcp.content import block, parts
from gleitzeit_plugin_mcp.serve.options import ServeOptions

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["MODEL_TOOLS", "admitted", "health", "list_models", "operation", "result"]

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer"}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_MODEL: Final = {"type": "string", "description": "A name that `list_models` gives."}
_SAMPLING: Final = {
    "max_tokens": _COUNT,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "stop": _TEXTS,
    "seed": _COUNT,
}


def _described(
    name: str, description: str, properties: Mapping[str, Any], *required: str, **hints: bool
) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": hints}


MODEL_TOOLS: Final = tuple(
    _described(name, description, properties, *required, readOnlyHint=True, openWorldHint=outside)
    for name, description, properties, required, outside in (
        (
            "chat",
            "Continue a conversation. With a progress token, pieces of the text come as its messages.",
            {
                "model": _MODEL,
                "messages": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "role": {"enum": ["system", "user", "assistant", "tool"]},
                            "content": {"description": "A text, or content blocks as in sampling messages."},
                        },
                        "required": ["role", "content"],
                    },
                },
                **_SAMPLING,
                "tools": {"type": "array", "items": {"type": "object"}},
                "tool_choice": _TEXT,
                "parallel_tool_calls": {"type": "boolean"},
                "reasoning": _TEXT,
                "response_schema": {"type": "object"},
            },
            ("model", "messages"),
            True,
        ),
        (
            "complete",
            "Continue a text with a language model; pieces come as in `chat`.",
            {"model": _MODEL, "prompt": _TEXT, **_SAMPLING},
            ("model", "prompt"),
            True,
        ),
        (
            "embed",
            "Turn texts into vectors, in order.",
            {"model": _MODEL, "inputs": _TEXTS, "dimensions": _COUNT},
            ("model", "inputs"),
            True,
        ),
        (
            "classify",
            "Label texts, in order.",
            {"model": _MODEL, "inputs": _TEXTS, "labels": _TEXTS},
            ("model", "inputs"),
            True,
        ),
        (
            "list_models",
            "The models that can be asked, with what they can do.",
            {"capability": {"type": "string", "description": "Only models with it, such as vision."}},
            (),
            False,
        ),
        ("health", "How every upstream fares.", {"deep": {"type": "boolean"}}, (), False),
    )
)


def operation(tool: str, given: Mapping[str, Any]) -> tuple[str, Operation]:
    """The model asked, and what is asked of it; raises `InvalidRequestError`."""
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError(f"{tool}: `model` must be the name of a model", sent=False)
    try:
        return model, _READ[tool](given)
    except InvalidRequestError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError):
        raise InvalidRequestError(f"{tool}: the arguments do not fit its schema", sent=False) from None


def _sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: given.get(key) for key in ("max_tokens", "temperature", "top_p", "seed")}
    for key, value in found.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InvalidRequestError(f"`{key}` must be a number", sent=False)
    return {**found, "stop": given.get("stop") or ()}


def _chat(given: Mapping[str, Any]) -> Chat:
    rows = given.get("messages")
    if not isinstance(rows, list) or not rows:
        raise InvalidRequestError("chat: `messages` must be a list with a message", sent=False)
    schema = given.get("response_schema")
    return Chat(
        [_message(row) for row in rows],
        tools=[_tool(row) for row in given.get("tools") or ()],
        tool_choice=given.get("tool_choice") or "auto",
        parallel_tool_calls=given.get("parallel_tool_calls"),
        reasoning=given.get("reasoning"),
        response_schema=ResponseSchema(schema) if schema is not None else None,
        **_sampling(given),
    )


def _message(row: Any) -> Message:
    role, content = row["role"], row["content"]
    if role not in ("system", "user", "assistant", "tool"):
        raise InvalidRequestError(f"chat: there is no role {role!r}", sent=False)
    said = parts([content] if isinstance(content, (str, Mapping)) else content)
    if role == "user" and said and all(isinstance(part, ToolResultPart) for part in said):
        role = "tool"
    return Message(role, said)


def _tool(row: Mapping[str, Any]) -> Tool:
    schema = row.get("inputSchema") or row.get("input_schema") or row.get("parameters") or {"type": "object"}
    return Tool(row["name"], description=row.get("description") or "", input_schema=schema)


_READ: Final[Mapping[str, Callable[[Mapping[str, Any]], Operation]]] = {
    "chat": _chat,
    "complete": lambda given: Completion(_text(given["prompt"]), **_sampling(given)),
    "embed": lambda given: Embedding(_texts(given["inputs"]), dimensions=given.get("dimensions")),
    "classify": lambda given: Classification(_texts(given["inputs"]), labels=given.get("labels") or ()),
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError("`prompt` must be a text", sent=False)
    return value


def _texts(value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidRequestError("`inputs` must be a list of texts", sent=False)
    return found


def result(reply: Reply) -> dict[str, Any]:
    """A model's reply as the result of its tool."""
    said: dict[str, Any] = {}
    if reply.model or reply.target is not None:
        said["model"] = reply.model or str(reply.target)
    if reply.id:
        said["id"] = reply.id
    if reply.usage is not None:
        said["usage"] = _usage(reply.usage)
    if reply.vectors is not None:
        said["embeddings"] = [list(vector) for vector in reply.vectors]
        shown = [{"type": "text", "text": f"{len(reply.vectors)} vectors"}]
    elif reply.labels is not None:
        said["classifications"] = [
            [{"label": label.name, "score": label.score} for label in labels] for labels in reply.labels
        ]
        best = [max(labels, key=lambda each: each.score or 0.0).name for labels in reply.labels if labels]
        shown = [{"type": "text", "text": "\n".join(best)}]
    else:
        said["finish_reason"] = reply.finish_reason or "stop"
        shown = [{"type": "text", "text": reply.text}] if reply.text else []
        others = [block(part) for part in reply.parts if part.type in ("image", "audio", "file")]
        calls = [
            {"id": call.id, "name": call.name, "arguments": dict(call.arguments or {})}
            for call in reply.tool_calls
        ]
        if calls:
            said["tool_calls"] = calls
        if calls or not others:
            said["text"] = reply.text
        shown += others
    return {"content": shown, "structuredContent": said}


def _usage(usage: Usage) -> dict[str, int]:
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return {name: value for name in names if (value := getattr(usage, name)) is not None}


async def list_models(host: Host, options: ServeOptions, given: Mapping[str, Any]) -> dict[str, Any]:
    """The models, aliases and routes that clients may ask."""
    wanted = given.get("capability")
    rows: list[dict[str, Any]] = []
    for offer in await host.offers("models", wait=host.config.host.list_timeout):
        for model in offer.items:
            name = f"{offer.instance}/{model.name}"
            if options.serves_model(name) and (wanted is None or wanted in model.capabilities):
                row: dict[str, Any] = {
                    "name": name,
                    "operations": sorted(model.operations),
                    "capabilities": sorted(model.capabilities),
                }
                if model.description:
                    row["description"] = model.description
                if model.context_tokens is not None:
                    row["context_tokens"] = model.context_tokens
                rows.append(row)
    if wanted is None:
        rows += [
            {"name": name}
            for name in sorted({*host.config.aliases, *host.config.routes})
            if options.serves_model(name)
        ]
    return {
        "content": [{"type": "text", "text": "\n".join(row["name"] for row in rows)}],
        "structuredContent": {"models": rows},
    }


async def health(host: Host, given: Mapping[str, Any]) -> dict[str, Any]:
    """How the instances fare, without what only the operator should read."""
    found = await host.health(deep=given.get("deep") is True)
    rows = [
        {"name": each.name, "kind": each.kind, "state": each.state.value, "status": each.health.status}
        for each in found
    ]
    lines = [f"{row['name']}: {row['status']}" for row in rows]
    return {
        "content": [{"type": "text", "text": "\n".join(lines)}],
        "structuredContent": {"instances": rows},
    }


def admitted(options: ServeOptions, model: str) -> None:
    """Raise `UnknownModelError` for a model that is not served."""
    if not options.serves_model(model):
        raise UnknownModelError(f"there is no model {model!r} here", hint="see list_models", sent=False)
