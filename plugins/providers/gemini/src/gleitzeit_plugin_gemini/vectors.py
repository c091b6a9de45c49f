"""Embeddings, by any of the three methods that the vendor has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gleitzeit.errors import GleitzeitError, InvalidRequestError
from gleitzeit.values import Embedding, Usage
from gleitzeit.wire.exchange import decoded
from gleitzeit.wire.options import given_options
from gleitzeit.wire.vectors import Batch, misfit, numbers
from gleitzeit_plugin_gemini.address import PLUGIN, full_name
from gleitzeit_plugin_gemini.bodies import OURS
from gleitzeit_plugin_gemini.config import EmbeddingApi, GeminiConfig

__all__ = ["embedding_bodies", "read_vectors"]


def embedding_bodies(
    embedding: Embedding, method: EmbeddingApi, model: str, config: GeminiConfig
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each request's number of inputs, and its body."""
    ours = OURS | {"content", "requests", "instances"}
    options = given_options(embedding.options, PLUGIN, ours)
    if embedding.dimensions is not None:
        options["outputDimensionality"] = embedding.dimensions
    if any(not text for text in embedding.inputs):
        raise InvalidRequestError("an empty text has no embedding")
    step = 1 if method == "embedContent" else config.embedding_batch
    for start in range(0, len(embedding.inputs), step):
        texts = embedding.inputs[start : start + step]
        if method == "predict":
            yield len(texts), _predict(texts, options)
        elif method == "embedContent":
            more = {} if config.vertex else {"model": full_name(model, config)}
            yield 1, {**more, **_one(texts[0], options)}
        else:
            name = full_name(model, config)
            yield len(texts), {"requests": [{"model": name, **_one(text, options)} for text in texts]}


def _one(text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, **options}


def _predict(texts: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Vertex AI's older method, which spells its options in another way."""
    own = {"taskType": "task_type", "title": "title"}
    beside = {own[name]: value for name, value in options.items() if name in own}
    parameters = {name: value for name, value in options.items() if name not in own}
    body: dict[str, Any] = {"instances": [{"content": text, **beside} for text in texts]}
    if parameters:
        body["parameters"] = parameters
    return body


def read_vectors(body: bytes, count: int, error: Callable[[object], GleitzeitError]) -> Batch:
    """The vectors of an answer in order, and the tokens that they cost where they are told.

    Raises `MalformedAnswerError` where there are not `count` vectors.
    """
    answer = decoded(body, "the answer")
    if not isinstance(answer, dict):
        answer = {}
    if answer.get("error") is not None:
        raise error(body)
    told = answer.get("usageMetadata")
    tokens = _count(told, "promptTokenCount")
    if isinstance(answer.get("predictions"), list):
        held = [_inner(item, "embeddings") for item in answer["predictions"]]
        counts = [_count(_inner(item, "statistics"), "token_count") for item in held]
        known = [one for one in counts if one is not None]
        tokens = sum(known) if known and len(known) == len(counts) else tokens
    elif isinstance(answer.get("embeddings"), list):
        held = answer["embeddings"]
    else:
        held = [answer["embedding"]] if "embedding" in answer else []
    vectors = [numbers(_inner(item, "values")) for item in held]
    if len(vectors) != count:
        raise misfit(f"{len(vectors)} embeddings came for {count} inputs")
    usage = None if tokens is None else Usage(input=tokens, raw=told if isinstance(told, dict) else None)
    return Batch(vectors, usage)


def _inner(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else None


def _count(item: Any, name: str) -> int | None:
    value = _inner(item, name)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None
