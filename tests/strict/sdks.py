"""The second oracle: bodies of requests against the types that the vendors' own SDKs declare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pydantic
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai import types as genai
from ollama import _types as ollama
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from tests.strict import typed

__all__ = ["problems"]

#: Parameters that Anthropic's API takes from older models; the SDK has dropped them from its types.
_DROPPED = frozenset({"temperature", "top_p", "top_k"})


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", val_json_bytes="base64", defer_build=True)


class _Generate(_Strict):
    """The SDK writes these bodies out of arguments; the parts are its types."""

    model: str = ""
    contents: list[genai.Content]
    systemInstruction: genai.Content | None = None
    tools: list[genai.Tool] = []
    toolConfig: genai.ToolConfig | None = None
    safetySettings: list[genai.SafetySetting] = []
    generationConfig: genai.GenerationConfig | None = None
    cachedContent: str = ""
    labels: dict[str, str] = {}
    serviceTier: str = ""


class _Count(_Strict):
    contents: list[genai.Content] = []
    generateContentRequest: _Generate | None = None
    systemInstruction: genai.Content | None = None
    tools: list[genai.Tool] = []
    generationConfig: genai.GenerationConfig | None = None


class _Embed(_Strict):
    model: str = ""
    content: genai.Content
    taskType: str = ""
    title: str = ""
    outputDimensionality: int = 0


class _Batch(_Strict):
    requests: list[_Embed]


_DECLARED: Mapping[str, Any] = {
    "/v1/chat/completions": (
        chat_create_params.CompletionCreateParamsNonStreaming,
        chat_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/completions": (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/embeddings": (embedding_create_params.EmbeddingCreateParams,) * 2,
    "/v1/responses": (
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ),
    "/v1/messages/count_tokens": (MessageCountTokensParams,) * 2,
}
_MODELS: Mapping[str, type[pydantic.BaseModel]] = {
    "generateContent": _Generate,
    "streamGenerateContent": _Generate,
    "countTokens": _Count,
    "embedContent": _Embed,
    "batchEmbedContents": _Batch,
    "/api/chat": ollama.ChatRequest,
    "/api/generate": ollama.GenerateRequest,
    "/api/embed": ollama.EmbedRequest,
    "/api/show": ollama.ShowRequest,
    "/api/pull": ollama.PullRequest,
}


def problems(path: str, body: Any) -> list[str]:
    """What a body violates of the SDK's types for this path; [] also where the SDK has no such request."""
    if path == "/v1/messages":
        stream = {"stream"} if isinstance(body.get("stream"), bool) else set()
        rest = {name: value for name, value in body.items() if name not in _DROPPED | stream}
        return typed.problems(MessageCreateParamsNonStreaming, rest)
    if path in _DECLARED:
        return typed.problems(_DECLARED[path][bool(body.get("stream"))], body)
    model = _MODELS.get(path.rpartition(":")[2])
    return [] if model is None else _modelled(model, body)


def _modelled(model: type[pydantic.BaseModel], body: Any) -> list[str]:
    """By a model of pydantic. Unknown fields are those that are lost in it where it does not forbid them."""
    try:
        read = model.model_validate_json(json.dumps(body))
    except pydantic.ValidationError as error:
        return [f"{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    if issubclass(model, _Strict):
        return []
    return _lost(body, read, "")


def _lost(value: Any, read: Any, at: str) -> list[str]:
    if isinstance(read, pydantic.BaseModel) and isinstance(value, dict):
        names = {(field.alias or name): name for name, field in type(read).model_fields.items()}
        found = [f"{at}/{key}: unknown to {type(read).__name__}" for key in value if key not in names]
        for key in value.keys() & names.keys():
            found += _lost(value[key], getattr(read, names[key]), f"{at}/{key}")
        return found
    if isinstance(value, list) and isinstance(read, list | tuple):
        pairs = zip(value, read, strict=False)
        return [each for place, pair in enumerate(pairs) for each in _lost(*pair, f"{at}/{place}")]
    return []
