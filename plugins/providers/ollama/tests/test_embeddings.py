"""Embeddings: in order, in batches, never cut without a word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import MalformedAnswerError, ServerFaultError, TooLongError
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import Embedding, Reply


async def test_vectors_come_in_the_order_of_their_texts(
    ask: Callable[..., Awaitable[Reply]], server: OllamaServer, make: Callable[..., Ollama]
) -> None:
    texts = [f"text {number}" for number in range(7)]
    whole = await ask(Embedding(texts), "embed")
    split = await ask(Embedding(texts), "embed", by=make(embedding_batch=3))
    assert whole.vectors == split.vectors
    assert whole.vectors is not None
    assert len(set(whole.vectors)) == 7
    assert whole.usage == split.usage
    assert whole.usage is not None
    assert whole.usage.input == sum(map(len, texts))
    assert [len(call.json["input"]) for call in server.requests] == [7, 3, 3, 1]
    assert whole.model == "embed"


async def test_what_is_sent(ask: Callable[..., Awaitable[Reply]], server: OllamaServer, make: Any) -> None:
    await ask(Embedding("x"), "embed")
    assert server.requests[-1].json == {"model": "embed", "input": ["x"], "truncate": False}
    chosen = make(truncate=True, keep_alive=-1, num_ctx=99)
    reply = await ask(
        Embedding("x", dimensions=3, options={"ollama": {"options": {"num_gpu": 0}}}), "embed", by=chosen
    )
    assert server.requests[-1].json == {
        "model": "embed",
        "input": ["x"],
        "truncate": True,
        "dimensions": 3,
        "keep_alive": "-1s",
        "options": {"num_ctx": 99, "num_gpu": 0},
    }
    assert reply.vectors is not None
    assert len(reply.vectors[0]) == 3


async def test_nothing_to_embed_asks_nothing(
    ask: Callable[..., Awaitable[Reply]], server: OllamaServer
) -> None:
    assert (await ask(Embedding(()), "embed")).vectors == ()
    assert not server.requests


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"embeddings": []},
        {"embeddings": [[1.0], [2.0]]},
        {"embeddings": [[[1.0]]]},
        {"embeddings": ["x"]},
        {"embeddings": [None]},
        {"embeddings": 3},
        [],
        "not json",
    ],
)
async def test_what_is_no_vector_for_each_text_is_malformed(
    play: Callable[..., Awaitable[Reply]], body: Any
) -> None:
    with pytest.raises(MalformedAnswerError):
        await play(Answer(body=body), Embedding("x"))


async def test_errors_are_errors(play: Callable[..., Awaitable[Reply]]) -> None:
    with pytest.raises(TooLongError):
        await play(Answer.error(400, "the input length exceeds the context length"), Embedding("x"))
    with pytest.raises(ServerFaultError):
        await play(Answer(body={"error": "failed"}), Embedding("x"))
