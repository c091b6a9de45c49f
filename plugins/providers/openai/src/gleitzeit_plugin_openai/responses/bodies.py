"""Request bodies of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import AudioPart, Chat, Message, ToolResultPart
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_openai.bodies import PLUGIN, schema_format, tool_function
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.responses.items import ItemWriter

__all__ = ["ENCRYPTED", "needs_chat", "response_body", "response_owner"]

#: What to ask for so that reasoning can go back although the server stores nothing.
ENCRYPTED: Final = "reasoning.encrypted_content"
_OURS: Final = frozenset({"model", "input", "messages", "stream", "max_output_tokens", "max_tokens"})
#: Least output limit that the published API takes.
_LEAST: Final = 16
#: Options that only chat completions have.
_CHAT: Final = ("modalities", "audio", "logprobs", "web_search_options", "prediction", "response_format")


def response_owner(config: OpenAIConfig, model: str) -> str:
    """The tag of opaque state: it belongs to one server, one model and this API."""
    return f"{PLUGIN}-responses:{config.site}:{model}"


def needs_chat(chat: Chat) -> bool:
    """Does the request hold what only chat completions can carry?"""
    if chat.stop or chat.seed is not None or any(name in chat.options.get(PLUGIN, ()) for name in _CHAT):
        return True
    if chat.max_tokens is not None and chat.max_tokens < _LEAST:
        return True
    return any(message.name is not None or _sounds(message) for message in chat.messages)


def response_body(
    chat: Chat, model: str, stream: bool, config: OpenAIConfig, names: WireNames
) -> dict[str, Any]:
    """The body of a response; `names` learns the names it sends.

    Tools of the vendor (`{"type": "web_search"}`) come from the option `tools`.
    """
    given = given_options(chat.options, PLUGIN, _OURS)
    _refuse(chat, given)
    owner = response_owner(config, model) if config.return_reasoning else None
    writer = ItemWriter(names, owner, system_role=config.system_role, merge_system=config.merge_system)
    if not chat.messages:
        raise InvalidRequestError("a chat needs at least one message")
    body: dict[str, Any] = {"model": model, "input": writer.write(chat.messages)}
    theirs = _vendor_tools(given)
    if chat.tools or theirs:
        body["tools"] = [_tool(tool_function(tool, names)) for tool in chat.tools] + theirs
    if chat.tools and chat.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = chat.parallel_tool_calls
    choice = wanted_tool(chat, [None] * len(theirs))
    if choice in ("none", "required"):
        body["tool_choice"] = choice
    elif choice is not None:
        body["tool_choice"] = {"type": "function", "name": names.encode(choice)}
    if chat.response_schema is not None:
        body["text"] = {"format": {"type": "json_schema", **schema_format(chat.response_schema)}}
    if chat.reasoning is not None:
        body["reasoning"] = {"effort": chat.reasoning}
    for name in ("temperature", "top_p"):
        if getattr(chat, name) is not None:
            body[name] = getattr(chat, name)
    if chat.max_tokens is not None and chat.max_tokens < _LEAST and config.official:
        raise InvalidRequestError(
            f"max_tokens is at least {_LEAST} in the Responses API, not {chat.max_tokens}"
        )
    if chat.max_tokens is not None:
        body["max_output_tokens"] = chat.max_tokens
    return _finished(body, given, stream, config)


def _finished(
    body: dict[str, Any], given: dict[str, Any], stream: bool, config: OpenAIConfig
) -> dict[str, Any]:
    for name in ("text", "reasoning"):  # these hold fields of both sides
        ours, theirs = body.get(name), given.get(name)
        if ours and isinstance(theirs, Mapping):
            both = sorted(ours.keys() & theirs.keys())
            if both:
                raise InvalidRequestError(
                    f"option {name}.{both[0]} is set by the request itself", hint="leave it out of options"
                )
            given[name] = {**ours, **theirs}
    body["store"] = False
    include = list(given.pop("include", None) or ())
    if config.return_reasoning and not given.get("store"):
        include += [] if ENCRYPTED in include else [ENCRYPTED]
    if include:
        body["include"] = include
    # Always said: some servers stream where nothing is said.
    body["stream"] = stream
    if stream and config.official:
        body["stream_options"] = {"include_obfuscation": False}
    if not stream:
        given.pop("stream_options", None)
    return {**body, **given}


def _vendor_tools(given: dict[str, Any]) -> list[Any]:
    tools = given.pop("tools", None) or []
    if not isinstance(tools, list | tuple) or any(
        not isinstance(tool, Mapping) or tool.get("type") in (None, "function") for tool in tools
    ):
        raise InvalidRequestError(
            "option 'tools' holds tools of the vendor, each with its `type`",
            hint="give functions in the `tools` of the chat",
        )
    return list(tools)


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    # Not strict: that is a promise about schemas which tools at large do not keep.
    return {"type": "function", **function, "strict": False}


def _refuse(chat: Chat, given: Mapping[str, Any]) -> None:
    lacking = "stop sequences" if chat.stop else "seeds" if chat.seed is not None else None
    if lacking is not None:
        raise UnsupportedError(
            f"the Responses API has no {lacking}", hint='leave them out, or set api = "chat" or "auto"'
        )
    if given.get("n") not in (None, 1):
        raise UnsupportedError("a reply holds one answer: option n is 1", hint="ask several times")


def _sounds(message: Message) -> bool:
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    parts = [*message.parts, *(inner for result in results for inner in result.parts)]
    return any(isinstance(part, AudioPart) and part.provider_state is None for part in parts)
