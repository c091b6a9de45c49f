"""Operations on models as calls of a server's tools, in the words of their schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from gleitzeit.errors import UnsupportedError
from gleitzeit.values import Chat, Classification, Completion, Embedding, Message, Operation, TextPart, Tool
from gleitzeit_plugin_mcp.content import contents

__all__ = ["TOOLS", "arguments", "pick"]

#: The tools that are looked for, first come first.
TOOLS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("chat", "generate_text"),
    "completion": ("complete", "generate_text"),
    "embedding": ("embed",),
    "classification": ("classify",),
}

#: What tools call an argument; the first is used where the schema names none.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("model", "model_name", "model_identifier", "model_id", "modelName"),
    "messages": ("messages", "conversation", "history"),
    "prompt": ("prompt", "prompt_content", "text", "input", "query", "message", "question"),
    "system": ("system", "system_prompt", "systemPrompt", "instructions"),
    "max_tokens": ("max_tokens", "maxTokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "stop": ("stop", "stop_sequences", "stopSequences"),
    "seed": ("seed",),
    "reasoning": ("reasoning", "reasoning_effort", "effort"),
    "tools": ("tools",),
    "tool_choice": ("tool_choice", "toolChoice"),
    "parallel_tool_calls": ("parallel_tool_calls", "parallelToolCalls"),
    "response_schema": ("response_schema", "responseSchema", "json_schema", "schema"),
    "inputs": ("inputs", "texts", "input", "text", "documents", "sentences", "content"),
    "dimensions": ("dimensions", "dimension", "size"),
    "labels": ("labels", "candidate_labels", "categories", "classes"),
}

Calls: TypeAlias = Sequence[Mapping[str, Any]]


def pick(
    operation: Operation | type[Operation],
    tools: Iterable[Tool],
    chosen: Mapping[Any, str | tuple[str, ...]],
    server: str,
) -> Tool:
    """The tool that answers `operation`; raises `UnsupportedError` naming those that were looked for."""
    wanted = chosen.get(operation.kind) or TOOLS.get(operation.kind, ())
    names = (wanted,) if isinstance(wanted, str) else wanted
    there = {tool.name: tool for tool in tools}
    for name in names:
        if name in there:
            return there[name]
    looked = ", ".join(map(repr, names)) or "nothing"
    raise UnsupportedError(
        f"server {server!r} has no tool for {operation.kind}: looked for {looked}",
        hint=f'name it in the server\'s entry, as operations.{operation.kind} = "…"',
        provider=server,
        sent=False,
    )


def arguments(operation: Operation, model: str, tool: Tool, server: str) -> Calls:
    """The arguments of the call, or of the calls where the tool takes one input at a time.

    Raises `UnsupportedError` where the request says something that the tool has no argument for.
    """
    form = _Form(tool, server)
    # The one argument a tool may do without: a server of one model need not be told which.
    form.put("model", model, needed=False)
    if isinstance(operation, Chat):
        _chat(form, operation)
    elif isinstance(operation, Completion):
        form.put("prompt", operation.prompt)
        _sampling(form, operation)
    elif isinstance(operation, (Embedding, Classification)):
        if isinstance(operation, Embedding):
            form.put("dimensions", operation.dimensions)
        else:
            form.put("labels", list(operation.labels) or None)
        key = form.key("inputs") or _NAMES["inputs"][0]
        if form.takes(key, "array") or not form.takes(key, "string"):
            return [{**form.arguments, key: list(operation.inputs)}]
        return [{**form.arguments, key: text} for text in operation.inputs]
    return [form.arguments]


def _chat(form: _Form, operation: Chat) -> None:
    messages = operation.messages
    flat = form.key("messages") is None and form.key("prompt") is not None
    if form.names("system"):
        form.put(
            "system", "\n\n".join(message.text for message in messages if message.role == "system") or None
        )
        messages = tuple(message for message in messages if message.role != "system")
    if flat:
        form.put("prompt", _flat(messages, form))
    else:
        form.put("messages", [{"role": message.role, "content": contents(message)} for message in messages])
    _sampling(form, operation)
    form.put("tools", [_offer(tool) for tool in operation.tools] or None)
    if operation.tool_choice != "auto":
        form.put("tool_choice", operation.tool_choice)
    form.put("parallel_tool_calls", operation.parallel_tool_calls)
    form.put("reasoning", operation.reasoning)
    if operation.response_schema is not None:
        form.put("response_schema", dict(operation.response_schema.schema))


def _sampling(form: _Form, operation: Chat | Completion) -> None:
    form.put("max_tokens", operation.max_tokens)
    form.put("temperature", operation.temperature)
    form.put("top_p", operation.top_p)
    form.put("stop", list(operation.stop) or None)
    form.put("seed", operation.seed)
    for key, value in operation.options.get("mcp", {}).items():
        form.arguments[key] = value


def _flat(messages: Sequence[Message], form: _Form) -> str:
    """A conversation as one text, for tools that take only a prompt."""
    for message in messages:
        if any(not isinstance(part, TextPart) for part in message.parts):
            raise form.cannot("anything but text")
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _offer(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "inputSchema": dict(tool.input_schema)}


class _Form:
    """The arguments of a tool in the making, under the names that its schema uses."""

    def __init__(self, tool: Tool, server: str) -> None:
        found = tool.input_schema.get("properties")
        self._properties: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        self._tool = tool
        self._server = server
        self.arguments: dict[str, Any] = {}

    def key(self, what: str) -> str | None:
        """What the tool calls `what`; None where it has no such argument."""
        if not self._properties:
            return _NAMES[what][0]  # it says nothing, so it is told everything
        return next((name for name in _NAMES[what] if name in self._properties), None)

    def names(self, what: str) -> bool:
        """Does the tool's schema name an argument for `what`?"""
        return any(name in self._properties for name in _NAMES[what])

    def put(self, what: str, value: Any, *, needed: bool = True) -> None:
        """Add an argument unless it is None; raises where the tool has none such, if it is `needed`."""
        if value is None:
            return
        key = self.key(what)
        if key is not None:
            self.arguments[key] = value
        elif needed:
            raise self.cannot(f"`{what}`")

    def takes(self, key: str, type: str) -> bool:
        """May the argument be of this JSON type?"""
        schema = self._properties.get(key)
        schema = schema if isinstance(schema, Mapping) else {}
        found = [schema, *(each for each in schema.get("anyOf") or () if isinstance(each, Mapping))]
        types = [kind for each in found for kind in _listed(each.get("type"))]
        return type in types

    def cannot(self, what: str) -> UnsupportedError:
        """The error for something that the tool has no argument for."""
        return UnsupportedError(
            f"tool {self._tool.name!r} of server {self._server!r} takes no {what}",
            hint=f"its arguments are {', '.join(sorted(self._properties)) or 'unknown'}",
            provider=self._server,
            sent=False,
        )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
