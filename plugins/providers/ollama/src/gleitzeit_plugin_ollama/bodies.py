"""Request bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Completion, Embedding, Tool
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_ollama.config import OllamaConfig, duration
from gleitzeit_plugin_ollama.parts import MessageWriter

__all__ = ["PLUGIN", "chat_body", "completion_body", "context_of", "embedding_bodies", "state_owner"]

#: The key of our options in `Chat.options`.
PLUGIN: Final = "ollama"
_OURS: Final = frozenset({"model", "messages", "prompt", "input", "stream", "tools"})
_LEVELS: Final = ("low", "medium", "high", "max")
_SWITCHES: Final[Mapping[str, bool]] = {"none": False, "off": False, "on": True}


def state_owner(config: OllamaConfig, model: str) -> str:
    """The tag of opaque state: it belongs to one server and one model."""
    return f"{PLUGIN}:{config.site}:{model}"


def chat_body(chat: Chat, model: str, stream: bool, config: OllamaConfig, names: WireNames) -> dict[str, Any]:
    """The body for `/api/chat`; `names` learns the names it sends."""
    writer = MessageWriter(names, state_owner(config, model) if config.return_thinking else None)
    body: dict[str, Any] = {"model": model, "messages": writer.write(chat.messages)}
    if not body["messages"]:
        raise InvalidRequestError("a chat needs at least one message")
    tools = _tools(chat, names)
    if tools:
        body["tools"] = tools
    if chat.response_schema is not None:
        body["format"] = dict(chat.response_schema.schema)
    think = config.think if chat.reasoning is None else _think(chat.reasoning)
    if think is not None:
        body["think"] = think
    return _finish(body, chat, stream, config)


def completion_body(completion: Completion, model: str, stream: bool, config: OllamaConfig) -> dict[str, Any]:
    """The body for `/api/generate`."""
    body: dict[str, Any] = {"model": model, "prompt": completion.prompt}
    if config.think is not None:
        body["think"] = config.think
    return _finish(body, completion, stream, config)


def embedding_bodies(
    embedding: Embedding, model: str, config: OllamaConfig
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each request's number of inputs, and its body for `/api/embed`."""
    for start in range(0, len(embedding.inputs), config.embedding_batch):
        inputs = embedding.inputs[start : start + config.embedding_batch]
        body: dict[str, Any] = {"model": model, "input": list(inputs), "truncate": config.truncate}
        if embedding.dimensions is not None:
            body["dimensions"] = embedding.dimensions
        yield len(inputs), _merged(body, {}, embedding.options, config)


def context_of(body: Mapping[str, Any]) -> int | None:
    """The size of the context that a body asks for."""
    size = body.get("options", {}).get("num_ctx")
    return size if type(size) is int else None


def _tools(chat: Chat, names: WireNames) -> list[dict[str, Any]]:
    choice = wanted_tool(chat)
    if choice == "none":
        return []  # what is not offered is not called
    if choice is not None:
        raise UnsupportedError(
            f"Ollama cannot be made to call a tool: tool_choice is {choice!r}",
            hint="use 'auto', and offer only the tool that is wanted",
        )
    if chat.tools and chat.parallel_tool_calls is False:
        raise UnsupportedError(
            "Ollama cannot be kept from calling several tools at once",
            hint="leave out parallel_tool_calls",
        )
    return [_tool(tool, names) for tool in chat.tools]


def _tool(tool: Tool, names: WireNames) -> dict[str, Any]:
    schema = tool.input_schema
    if schema.get("type") == "object" and "properties" not in schema:
        schema = {**schema, "properties": {}}  # templates walk over them
    function = {"name": names.encode(tool.name), "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def _think(reasoning: str) -> bool | str:
    if reasoning in _LEVELS:
        return reasoning
    if reasoning not in _SWITCHES:
        words = ", ".join((*_LEVELS, *_SWITCHES))
        raise UnsupportedError(f"Ollama knows no reasoning {reasoning!r}", hint=f"take one of {words}")
    return _SWITCHES[reasoning]


def _finish(
    body: dict[str, Any], operation: Chat | Completion, stream: bool, config: OllamaConfig
) -> dict[str, Any]:
    body["stream"] = stream  # always said: the server streams where nothing is said
    sampling: dict[str, Any] = {
        "num_predict": operation.max_tokens,
        "temperature": operation.temperature,
        "top_p": operation.top_p,
        "seed": operation.seed,
        "stop": list(operation.stop) or None,
    }
    return _merged(body, sampling, operation.options, config)


def _merged(
    body: dict[str, Any],
    sampling: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    config: OllamaConfig,
) -> dict[str, Any]:
    """The body with the configured options, those of the operation over them, the caller's own on top."""
    given = given_options(options, PLUGIN, _OURS)
    own = given.pop("options", None) or {}
    if not isinstance(own, Mapping):
        raise InvalidRequestError("option 'options' is an object of model options, such as top_k")
    model = dict(config.options)
    if config.num_ctx is not None:
        model["num_ctx"] = config.num_ctx
    model.update((name, value) for name, value in sampling.items() if value is not None)
    model.update(own)
    if model:
        body["options"] = model
    if config.keep_alive is not None:
        body["keep_alive"] = config.keep_alive
    if isinstance(given.get("keep_alive"), (str, int, float)):
        try:
            given["keep_alive"] = duration(given["keep_alive"])
        except ValueError as error:
            raise InvalidRequestError(f"option 'keep_alive': {error}") from None
    return {**body, **given}
