"""Request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Model, Tool
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_anthropic.config import AnthropicConfig
from gleitzeit_plugin_anthropic.effort import reasoning_fields
from gleitzeit_plugin_anthropic.marks import PLUGIN, state_owner
from gleitzeit_plugin_anthropic.turns import TurnWriter

__all__ = ["SAMPLING", "chat_body", "count_body", "options_of"]

#: Parameters that models may refuse, and whose absence changes nothing but chance.
SAMPLING: Final = ("temperature", "top_p", "top_k")
#: The version of the API that refuses all of them, from every model.
_WITHOUT_SAMPLING: Final = "2026-10-21"
_OURS: Final = frozenset({"model", "messages", "stream", "system"})
_UNCOUNTED: Final = frozenset(
    {"max_tokens", "stream", "stop_sequences", "metadata", "service_tier", "inference_geo", "container"}
) | frozenset(SAMPLING)


def options_of(chat: Chat, config: AnthropicConfig) -> dict[str, Any]:
    """The vendor's options: those of the instance, and those of the request over them."""
    given = {**config.options, **chat.options.get(PLUGIN, {})}
    return given_options({PLUGIN: given}, PLUGIN, _OURS)


def chat_body(
    chat: Chat,
    model: str,
    stream: bool,
    config: AnthropicConfig,
    names: WireNames,
    known: Model | None = None,
) -> dict[str, Any]:
    """The body of a message; `names` learns the names it sends, `known` is what the live list says."""
    options = options_of(chat, config)
    options.pop("betas", None)  # a header
    own_tools = options.pop("tools", ())
    turns = TurnWriter(names, state_owner(config), system_turns=config.system_turns)
    body: dict[str, Any] = {"model": model}
    _limits(body, chat, config, known)
    body["tools"] = _tools(chat, own_tools, names)
    turns.write(chat.messages)
    if not turns.turns:
        raise InvalidRequestError("a chat needs at least one message that says something")
    if turns.system is not None:
        body["system"] = turns.system
    body["messages"] = turns.turns
    _choose(body, chat, names)
    _shape(body, chat)
    _sample(body, chat)
    if config.prompt_caching is not None:
        ttl = {} if config.prompt_caching == "5m" else {"ttl": config.prompt_caching}
        body["cache_control"] = {"type": "ephemeral", **ttl}
    _contain(body, options, turns.container)
    if isinstance(options.get("output_config"), Mapping):
        options["output_config"] = {**body.get("output_config", {}), **options["output_config"]}
    # Always said, as some servers stream where nothing is said.
    body["stream"] = stream
    omitted = {
        name for pattern, names in config.omit.items() if fnmatchcase(model, pattern) for name in names
    }
    if config.adapt and config.version >= _WITHOUT_SAMPLING:
        omitted |= set(SAMPLING)
    return {name: value for name, value in {**body, **options}.items() if name not in omitted and value != []}


def count_body(
    chat: Chat, model: str, config: AnthropicConfig, names: WireNames, known: Model | None = None
) -> dict[str, Any]:
    """The body that asks how many tokens a chat has."""
    body = chat_body(chat, model, False, config, names, known)
    return {name: value for name, value in body.items() if name not in _UNCOUNTED}


def _limits(body: dict[str, Any], chat: Chat, config: AnthropicConfig, known: Model | None) -> None:
    limit = config.max_tokens if chat.max_tokens is None else chat.max_tokens
    if chat.reasoning is not None:
        thinking, effort, limit = reasoning_fields(chat.reasoning, known, chat.max_tokens, config)
        if thinking:
            body["thinking"] = thinking
        if effort is not None:
            body["output_config"] = {"effort": effort}
    if limit < 1:
        raise InvalidRequestError(f"max_tokens is at least 1, not {limit}")
    if chat.max_tokens is None and known is not None and known.output_tokens is not None:
        limit = min(limit, known.output_tokens)
    if "budget_tokens" in body.get("thinking", ()):
        body["thinking"]["budget_tokens"] = min(body["thinking"]["budget_tokens"], limit - 1)
    body["max_tokens"] = limit


def _tools(chat: Chat, own: Any, names: WireNames) -> list[Any]:
    """Our tools, then those of the vendor's own kinds that the options give."""
    if not isinstance(own, list | tuple):
        raise InvalidRequestError("option 'tools' is a list of tools of the vendor's own kinds")
    # Known first, so that no name of ours is encoded into theirs.
    for tool in own:
        if isinstance(tool, Mapping) and isinstance(tool.get("name"), str):
            names.encode(tool["name"])
    written: list[Any] = [_tool(tool, names) for tool in chat.tools]
    return [*written, *own]


def _tool(tool: Tool, names: WireNames) -> dict[str, Any]:
    schema = dict(tool.input_schema)
    if schema.setdefault("type", "object") != "object":
        raise InvalidRequestError(
            f"the arguments of tool {tool.name!r} are an object, not {schema['type']!r}",
            hint="wrap them in an object",
        )
    written: dict[str, Any] = {"name": names.encode(tool.name)}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = schema
    extras = tool.metadata.get(PLUGIN)
    if isinstance(extras, Mapping):  # cache_control, strict, defer_loading and the like
        written.update({key: value for key, value in extras.items() if key not in written})
    return written


def _choose(body: dict[str, Any], chat: Chat, names: WireNames) -> None:
    choice = wanted_tool(chat, [tool.get("name") for tool in body["tools"][len(chat.tools) :]])
    written: dict[str, Any] | None = None
    if choice in ("none", "required"):
        written = {"type": "none" if choice == "none" else "any"}
    elif choice is not None:
        written = {"type": "tool", "name": names.encode(choice)}
    if chat.parallel_tool_calls is not None and body["tools"] and choice != "none":
        written = written or {"type": "auto"}
        written["disable_parallel_tool_use"] = not chat.parallel_tool_calls
    if written is not None:
        body["tool_choice"] = written


def _shape(body: dict[str, Any], chat: Chat) -> None:
    if chat.response_schema is not None:
        shape = {"type": "json_schema", "schema": dict(chat.response_schema.schema)}
        body["output_config"] = {**body.get("output_config", {}), "format": shape}


def _sample(body: dict[str, Any], chat: Chat) -> None:
    if chat.seed is not None:
        raise UnsupportedError("the Messages API takes no seed", hint="leave it out")
    for name in ("temperature", "top_p"):
        value = getattr(chat, name)
        if value is None:
            continue
        if not 0 <= value <= 1:
            raise InvalidRequestError(f"{name} is from 0 to 1 in the Messages API, not {value}")
        body[name] = value
    if chat.stop:
        if not all(text.strip() for text in chat.stop):
            raise InvalidRequestError(
                "a stop sequence that is blank is refused by the Messages API", hint="leave it out"
            )
        body["stop_sequences"] = list(chat.stop)


def _contain(body: dict[str, Any], options: dict[str, Any], container: str | None) -> None:
    """Go on in the container of the last answer, where the request names none itself."""
    if container is None:
        return
    given = options.get("container")
    if isinstance(given, Mapping):
        options["container"] = {"id": container, **given}
    elif given is None:
        body["container"] = container
