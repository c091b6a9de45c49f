"""Request bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Completion, Embedding, ResponseSchema, Tool
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.parts import MessageWriter

__all__ = [
    "PLUGIN",
    "chat_body",
    "completion_body",
    "embedding_bodies",
    "schema_format",
    "sound_type",
    "state_owner",
    "tool_function",
]

#: The key of our options in `Chat.options`.
PLUGIN: Final = "openai"
_OURS: Final = frozenset({"model", "messages", "prompt", "input", "stream", "tools"})
_SOUNDS: Final = {"mp3": "audio/mpeg", "pcm16": "audio/pcm", "opus": "audio/ogg"}
#: Most stop sequences that the published API takes; servers like it may take more.
_STOPS: Final = 4
_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")


def state_owner(config: OpenAIConfig, model: str) -> str:
    """The tag of opaque state: it belongs to one server and one model."""
    return f"{PLUGIN}:{config.site}:{model}"


def chat_body(chat: Chat, model: str, stream: bool, config: OpenAIConfig, names: WireNames) -> dict[str, Any]:
    """The body of a chat completion; `names` learns the names it sends."""
    owner = state_owner(config, model) if config.return_reasoning else None
    writer = MessageWriter(names, owner, system_role=config.system_role, merge_system=config.merge_system)
    body: dict[str, Any] = {"model": model, "messages": writer.write(chat.messages)}
    if not body["messages"]:
        raise InvalidRequestError("a chat needs at least one message")
    if chat.tools:
        body["tools"] = [{"type": "function", "function": tool_function(tool, names)} for tool in chat.tools]
        if chat.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = chat.parallel_tool_calls
    choice = wanted_tool(chat)
    if choice in ("none", "required"):
        body["tool_choice"] = choice
    elif choice is not None:
        body["tool_choice"] = {"type": "function", "function": {"name": names.encode(choice)}}
    if chat.response_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": schema_format(chat.response_schema)}
    if chat.reasoning is not None:
        body["reasoning_effort"] = chat.reasoning
    default = "max_completion_tokens" if config.official else "max_tokens"
    _sampling(body, chat, config.max_tokens_field or default, config)
    return _finish(body, chat.options, stream, config)


def completion_body(completion: Completion, model: str, stream: bool, config: OpenAIConfig) -> dict[str, Any]:
    """The body of an older completion."""
    body: dict[str, Any] = {"model": model, "prompt": completion.prompt}
    _sampling(body, completion, "max_tokens", config)
    return _finish(body, completion.options, stream, config)


def embedding_bodies(
    embedding: Embedding, model: str, config: OpenAIConfig
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each request's number of inputs, and its body."""
    body: dict[str, Any] = {
        "encoding_format": config.embedding_format or ("base64" if config.official else "float")
    }
    if embedding.dimensions is not None:
        body["dimensions"] = embedding.dimensions
    body |= given_options(embedding.options, PLUGIN, _OURS)
    for start in range(0, len(embedding.inputs), config.embedding_batch):
        inputs = embedding.inputs[start : start + config.embedding_batch]
        yield len(inputs), {"model": model, "input": list(inputs), **body}


def schema_format(schema: ResponseSchema) -> dict[str, Any]:
    """The schema of an answer, with a name that the wire takes."""
    name = _NAME.sub("_", schema.name)[:64] or "answer"
    return {"name": name, "strict": schema.strict, "schema": schema.schema}


def tool_function(tool: Tool, names: WireNames) -> dict[str, Any]:
    """A tool as the wire has it, but for its type."""
    schema = tool.input_schema
    if schema.get("type") == "object" and "properties" not in schema:
        schema = {**schema, "properties": {}}  # an object without them is refused
    function: dict[str, Any] = {"name": names.encode(tool.name)}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = schema  # last, as in the vendor's examples: templates write keys in this order
    return function


def _sampling(
    body: dict[str, Any], operation: Chat | Completion, max_tokens: str, config: OpenAIConfig
) -> None:
    if operation.max_tokens is not None:
        body[max_tokens] = operation.max_tokens
    if operation.temperature is not None:
        body["temperature"] = operation.temperature
    if operation.top_p is not None:
        body["top_p"] = operation.top_p
    if len(operation.stop) > _STOPS and config.official:
        raise InvalidRequestError(f"this API takes {_STOPS} stop sequences, not {len(operation.stop)}")
    if operation.stop:
        body["stop"] = list(operation.stop)
    if operation.seed is not None:
        body["seed"] = operation.seed


def _finish(
    body: dict[str, Any], options: Mapping[str, Mapping[str, Any]], stream: bool, config: OpenAIConfig
) -> dict[str, Any]:
    # Always said: some servers stream where nothing is said.
    body["stream"] = stream
    if stream and config.stream_usage:
        body["stream_options"] = {"include_usage": True}
        if config.official:
            body["stream_options"]["include_obfuscation"] = False
    given = given_options(options, PLUGIN, _OURS)
    if given.get("n") not in (None, 1):
        raise UnsupportedError("a reply holds one answer: option n is 1", hint="ask several times")
    if not stream:
        given.pop("stream_options", None)
    return {**body, **given}


def sound_type(body: Mapping[str, Any]) -> str:
    """The media type of the sound that a body asks for."""
    audio = body.get("audio")
    format = audio.get("format") if isinstance(audio, Mapping) else None
    return _SOUNDS.get(format, f"audio/{format}") if isinstance(format, str) else "audio/wav"
