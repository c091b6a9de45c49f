"""Request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Tool
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_gemini.address import PLUGIN, full_name, state_owner
from gleitzeit_plugin_gemini.config import GeminiConfig
from gleitzeit_plugin_gemini.dialect import openapi_schema
from gleitzeit_plugin_gemini.parts import ContentWriter

__all__ = ["OURS", "chat_body", "count_body"]

#: Fields of a request that options may not set.
OURS: Final = frozenset({"model", "contents", "systemInstruction", "stream"})
_LEVELS: Final = {"none": 0, "off": 0, "dynamic": -1, "auto": -1}


def chat_body(chat: Chat, model: str, config: GeminiConfig, names: WireNames) -> dict[str, Any]:
    """The body of generateContent; `names` learns the names it sends."""
    writer = ContentWriter(names, state_owner(config, model), config)
    contents = writer.write(chat.messages)
    if not contents:
        raise InvalidRequestError("a chat needs at least one message that is no system turn")
    body: dict[str, Any] = {"contents": contents}
    if writer.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in writer.system]}
    if chat.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool, names, config) for tool in chat.tools]}]
        if chat.parallel_tool_calls is False:
            raise UnsupportedError(
                "this API cannot be told to call one tool at a time",
                hint="leave out parallel_tool_calls",
            )
    choice = _tool_choice(chat, names)
    if choice is not None:
        body["toolConfig"] = {"functionCallingConfig": choice}
    generation = _generation(chat, config)
    if generation:
        body["generationConfig"] = generation
    if config.safety:
        body["safetySettings"] = _safety(config.safety)
    return _with_options(body, given_options(chat.options, PLUGIN, OURS))


def count_body(body: dict[str, Any], model: str, config: GeminiConfig) -> dict[str, Any]:
    """The body of countTokens for what would be sent with `body`."""
    if config.vertex:
        counted = ("contents", "systemInstruction", "tools", "generationConfig")
        return {key: body[key] for key in counted if key in body}
    return {"generateContentRequest": {"model": full_name(model, config), **body}}


def _tool(tool: Tool, names: WireNames, config: GeminiConfig) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": names.encode(tool.name), "description": tool.description}
    if config.schemas == "json":
        declared["parametersJsonSchema"] = tool.input_schema
    else:
        schema = openapi_schema(tool.input_schema)
        if schema.get("properties"):  # an object without them is refused
            declared["parameters"] = schema
    return declared


def _tool_choice(chat: Chat, names: WireNames) -> dict[str, Any] | None:
    choice = wanted_tool(chat)
    if choice in ("none", "required"):
        return {"mode": "NONE" if choice == "none" else "ANY"}
    return None if choice is None else {"mode": "ANY", "allowedFunctionNames": [names.encode(choice)]}


def _generation(chat: Chat, config: GeminiConfig) -> dict[str, Any]:
    generation: dict[str, Any] = {}
    if chat.max_tokens is not None:
        generation["maxOutputTokens"] = chat.max_tokens
    if chat.temperature is not None:
        generation["temperature"] = chat.temperature
    if chat.top_p is not None:
        generation["topP"] = chat.top_p
    if chat.stop:
        if "" in chat.stop:
            raise InvalidRequestError("a stop sequence cannot be empty")
        generation["stopSequences"] = list(chat.stop)
    if chat.seed is not None:
        generation["seed"] = chat.seed
    if chat.response_schema is not None:
        generation["responseMimeType"] = "application/json"
        schema = chat.response_schema.schema
        if config.schemas == "json":
            generation["responseJsonSchema"] = schema
        else:
            generation["responseSchema"] = openapi_schema(schema)
    if chat.reasoning is not None:
        generation["thinkingConfig"] = _thinking(chat.reasoning, config)
    return generation


def _thinking(word: str, config: GeminiConfig) -> dict[str, Any]:
    """A level in the vendor's words, or a number of tokens."""
    word = word.strip().lower()
    budget = config.thinking_budgets.get(word, _LEVELS.get(word))
    if budget is None and word.isdecimal():
        budget = int(word)
    thinking: dict[str, Any] = {}
    if budget is not None:
        thinking["thinkingBudget"] = budget
    elif word in ("minimal", "low", "medium", "high"):
        thinking["thinkingLevel"] = word.upper()
    else:
        raise UnsupportedError(
            f"reasoning {word!r} is neither a level of this API nor a number of tokens",
            hint="say minimal, low, medium, high, none or a number, or name the word in `thinking_budgets`",
        )
    if config.thoughts and budget != 0:
        thinking["includeThoughts"] = True
    return thinking


def _safety(safety: Mapping[str, str]) -> list[dict[str, str]]:
    def category(name: str) -> str:
        name = name.upper()
        return name if name.startswith("HARM_CATEGORY_") else f"HARM_CATEGORY_{name}"

    return [
        {"category": category(name), "threshold": threshold.upper()} for name, threshold in safety.items()
    ]


def _with_options(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The body with options in it: lists grow, objects are joined, and nothing of ours is replaced."""
    generation = given.get("generationConfig") or {}
    if not isinstance(generation, Mapping):
        raise InvalidRequestError("option 'generationConfig' is not an object")
    if generation.get("candidateCount") not in (None, 1):
        raise UnsupportedError("a reply holds one answer: candidateCount is 1", hint="ask several times")
    calling = (given.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if calling.get("streamFunctionCallArguments"):
        raise UnsupportedError("calls come whole here", hint="leave out streamFunctionCallArguments")
    for name, value in given.items():
        ours = body.get(name)
        if name == "tools":
            body["tools"] = [*body.get("tools", ()), *_built_in(value)]
        elif (
            name in ("generationConfig", "toolConfig")
            and isinstance(ours, dict)
            and isinstance(value, Mapping)
        ):
            body[name] = _joined(name, ours, value)
        else:
            body[name] = value
    return body


def _joined(where: str, ours: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(ours)
    for name, value in given.items():
        if isinstance(joined.get(name), dict) and isinstance(value, Mapping):
            joined[name] = _joined(f"{where}.{name}", joined[name], value)
        elif name in joined:
            raise InvalidRequestError(
                f"option '{where}.{name}' is set by the request itself",
                hint="leave one of them out",
            )
        else:
            joined[name] = value
    return joined


def _built_in(tools: Any) -> list[Any]:
    """The vendor's own tools, as `{"googleSearch": {}}`; functions are in `Chat.tools`."""
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise InvalidRequestError("option 'tools' is not a list of objects")
    if any("functionDeclarations" in tool for tool in tools):
        raise InvalidRequestError(
            "option 'tools' is for the vendor's own tools", hint="offer functions in `Chat.tools`"
        )
    return list(tools)
