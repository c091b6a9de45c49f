"""Operations as jobs of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Classification, Completion, Embedding
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import given_options, wanted_tool
from gleitzeit_plugin_huggingface.config import HuggingFaceConfig
from gleitzeit_plugin_huggingface.messages import MessageWriter

__all__ = ["PLUGIN", "chat_job", "classification_job", "completion_job", "embedding_job", "state_owner"]

#: The key of our options in `Chat.options`.
PLUGIN: Final = "huggingface"
_SWITCHES: Final[Mapping[str, bool]] = {"none": False, "off": False, "on": True}
_TEXT: Final = frozenset({"generation", "min_p", "top_k"})
_CHAT: Final = _TEXT | {"template"}
_EMBEDDING: Final = frozenset({"normalize", "prompt_name"})
_CLASSIFICATION: Final = frozenset({"hypothesis", "multi_label"})
#: Settings of transformers' generation that the request itself makes, or that would break the answer.
_OURS: Final = frozenset(
    {
        "do_sample",
        "max_length",
        "max_new_tokens",
        "num_beams",
        "num_return_sequences",
        "return_dict_in_generate",
        "stop_strings",
        "streamer",
        "temperature",
        "top_p",
    }
)


def state_owner(model: str) -> str:
    """The tag of thinking: it belongs to one model."""
    return f"{PLUGIN}:{model}"


def chat_job(chat: Chat, model: str, config: HuggingFaceConfig, names: WireNames) -> dict[str, Any]:
    """A chat; `names` learns the names it sends."""
    if not chat.messages:
        raise InvalidRequestError("a chat needs at least one message", sent=False)
    if chat.response_schema is not None:
        raise UnsupportedError(
            "models here cannot be held to a schema",
            hint="ask for JSON in the prompt, or take a server that can",
            sent=False,
        )
    writer = MessageWriter(names, state_owner(model) if config.return_thinking else None)
    job = {"messages": writer.write(chat.messages), "tools": writer.tools(_offered(chat))}
    given = _options(chat.options, _CHAT)
    template = dict(given.get("template") or {})
    if chat.reasoning is not None:
        if chat.reasoning not in _SWITCHES:
            raise UnsupportedError(
                f"templates know no reasoning {chat.reasoning!r}",
                hint=f"take one of {', '.join(_SWITCHES)}, or the `template` of the options",
                sent=False,
            )
        template.setdefault("enable_thinking", _SWITCHES[chat.reasoning])
    if template.keys() & {"tools", "tokenize", "add_generation_prompt", "return_dict", "chat_template"}:
        raise InvalidRequestError("option 'template': variables of the model's template only", sent=False)
    return {**job, "template": template, **_sampling(chat, given, config)}


def completion_job(completion: Completion, config: HuggingFaceConfig) -> dict[str, Any]:
    """A completion."""
    given = _options(completion.options, _TEXT)
    return {"prompt": completion.prompt, **_sampling(completion, given, config)}


def embedding_job(embedding: Embedding, config: HuggingFaceConfig) -> dict[str, Any]:
    """Texts to embed."""
    _needed(embedding.inputs)
    return {
        "inputs": list(embedding.inputs),
        "dimensions": embedding.dimensions,
        "batch": config.embedding_batch,
        "truncate": config.truncate,
        **_options(embedding.options, _EMBEDDING),
    }


def classification_job(classification: Classification) -> dict[str, Any]:
    """Texts to label."""
    _needed(classification.inputs)
    given = _options(classification.options, _CLASSIFICATION)
    if "{}" not in given.get("hypothesis", "{}"):
        raise InvalidRequestError("option 'hypothesis' has no {} for the label", sent=False)
    return {"inputs": list(classification.inputs), "labels": list(classification.labels), **given}


def _offered(chat: Chat) -> tuple[Any, ...]:
    choice = wanted_tool(chat)
    if choice == "none":
        return ()
    if choice is not None:
        raise UnsupportedError(
            f"models here cannot be made to call a tool: tool_choice is {choice!r}",
            hint="use 'auto', and offer only the tool that is wanted",
            sent=False,
        )
    if chat.tools and chat.parallel_tool_calls is False:
        raise UnsupportedError(
            "models here cannot be kept from calling several tools at once",
            hint="leave out parallel_tool_calls",
            sent=False,
        )
    return chat.tools


def _sampling(
    operation: Chat | Completion, given: Mapping[str, Any], config: HuggingFaceConfig
) -> dict[str, Any]:
    generation = dict(given.get("generation") or {})
    clash = sorted(generation.keys() & _OURS)
    if clash:
        raise InvalidRequestError(
            f"option 'generation': {clash[0]!r} is set by the request itself", hint="leave it out", sent=False
        )
    for name, value, least in (
        ("temperature", operation.temperature, 0.0),
        ("top_p", operation.top_p, 0.0),
        ("max_tokens", operation.max_tokens, 1),
    ):
        if value is not None and value < least:
            raise InvalidRequestError(f"{name} is {value}; the least is {least:g}", sent=False)
    return {
        "max_tokens": operation.max_tokens or config.max_tokens,
        "temperature": operation.temperature,
        "top_p": operation.top_p,
        "seed": None if operation.seed is None else operation.seed % 2**63,
        "stop": list(operation.stop),
        "generation": generation,
        **{name: given[name] for name in ("min_p", "top_k") if name in given},
    }


def _options(options: Mapping[str, Mapping[str, Any]], known: frozenset[str]) -> dict[str, Any]:
    given = given_options(options, PLUGIN)
    for name in given:
        if name in ("logprobs", "top_logprobs"):
            raise UnsupportedError(
                "log probabilities are not given here", hint="leave the option out", sent=False
            )
        if name not in known:
            raise InvalidRequestError(
                f"there is no option {name!r}", hint=f"take one of {', '.join(sorted(known))}", sent=False
            )
    return given


def _needed(inputs: tuple[str, ...]) -> None:
    if not inputs:
        raise InvalidRequestError("there is no text: `inputs` is empty", sent=False)
