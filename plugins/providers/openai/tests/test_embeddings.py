"""Embeddings: batches, order, encodings, and what is refused."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, RateLimitedError
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Embedding, Limit, RateLimits, Reply, Usage

Make = Callable[..., OpenAI]
MODEL = "scripted-embedding"


async def embed(provider: OpenAI, *inputs: str, **fields: Any) -> Reply:
    reply = await provider.call(Embedding(inputs, **fields).to(MODEL))
    assert isinstance(reply, Reply)
    return reply


async def test_base64_and_numbers_give_the_same_vectors(make: Make, server: OpenAIServer) -> None:
    numbers = await embed(make(embedding_format="float"), "a", "b")
    packed = await embed(make(embedding_format="base64"), "a", "b")
    assert numbers.vectors == packed.vectors
    assert numbers.vectors is not None
    assert [len(vector) for vector in numbers.vectors] == [8, 8]
    assert [call.json["encoding_format"] for call in server.requests] == ["float", "base64"]
    assert (numbers.usage, numbers.model) == (Usage(input=2), MODEL)


async def test_other_servers_are_asked_for_numbers_unless_told(make: Make, server: OpenAIServer) -> None:
    await embed(make(), "a")
    assert server.requests[0].json["encoding_format"] == "float"


async def test_dimensions_are_asked_for(provider: OpenAI) -> None:
    reply = await embed(provider, "a", dimensions=3)
    assert reply.vectors is not None
    assert len(reply.vectors[0]) == 3


async def test_batches_are_split_and_rejoined_in_order(make: Make, server: OpenAIServer) -> None:
    texts = [f"text {number}" for number in range(7)]
    whole = await embed(make(), *texts)
    split = await embed(make(embedding_batch=3), *texts)
    assert split.vectors == whole.vectors
    assert split.usage == whole.usage == Usage(input=14)
    assert [len(call.json["input"]) for call in server.requests] == [7, 3, 3, 1]


async def test_no_inputs_are_no_vectors_and_no_request(provider: OpenAI, server: OpenAIServer) -> None:
    assert (await embed(provider)).vectors == ()
    assert server.requests == []


def item(index: Any, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


PACKED = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()


@pytest.mark.parametrize(
    "data",
    [
        [item(1, [3, 4]), item(0, [0.5, -2])],
        [item(1, [3, 4]), item(0, PACKED)],
        [{"embedding": [0.5, -2.0]}, {"embedding": [3.0, 4.0]}],
    ],
)
async def test_order_is_by_index(provider: OpenAI, server: OpenAIServer, data: list[Any]) -> None:
    server.answers.append(Answer(body={"data": data}))
    reply = await embed(provider, "a", "b")
    assert reply.vectors == ((0.5, -2.0), (3.0, 4.0))
    assert reply.usage is None


@pytest.mark.parametrize(
    "data, message",
    [
        ([item(0, [[1.0], [2.0]]), item(1, [[1.0]])], "one vector per token"),
        ([item(0, [1.0])], "1 embeddings came for 2 inputs"),
        ([item(0, [1.0]), item(0, [2.0])], "two embeddings have the index 0"),
        ([item(0, [1.0]), item(5, [2.0])], "foreign indexes"),
        ([item(0, "not base64!"), item(1, [1.0])], "not base64"),
        ([item(0, "AAA="), item(1, [1.0])], "not base64 of 32-bit numbers"),
        ([item(0, None), item(1, [1.0])], "neither a list of numbers nor base64"),
        ([item(0, ["1"]), item(1, [1.0])], "neither a list of numbers nor base64"),
    ],
)
async def test_wrong_vectors_are_refused(
    provider: OpenAI, server: OpenAIServer, data: list[Any], message: str
) -> None:
    server.answers.append(Answer(body={"data": data}))
    with pytest.raises(MalformedAnswerError, match=message) as caught:
        await embed(provider, "a", "b")
    assert (caught.value.retryable, caught.value.provider) == (False, "acme")


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"data": 3}', b"<html>"])
async def test_what_is_no_answer_is_malformed(provider: OpenAI, server: OpenAIServer, body: bytes) -> None:
    server.answers.append(Answer(body=body))
    with pytest.raises(MalformedAnswerError):
        await embed(provider, "a")


async def test_the_rate_limits_are_those_of_the_last_batch(make: Make, server: OpenAIServer) -> None:
    for left in ("8", "7"):
        vectors = {"data": [{"index": 0, "embedding": [1.0]}]}
        server.answers.append(Answer(body=vectors, headers={"x-ratelimit-remaining-requests": left}))
    reply = await embed(make(embedding_batch=1), "a", "b")
    assert reply.limits == RateLimits(requests=Limit(None, 7))


async def test_an_error_inside_a_good_status_is_an_error(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer(body={"error": {"message": "slow", "code": "rate_limit_exceeded"}}))
    with pytest.raises(RateLimitedError):
        await embed(provider, "a")


async def test_a_batch_that_fails_fails_the_call(make: Make, server: OpenAIServer) -> None:
    server.answers.extend([Answer(), Answer.error(503, "busy")])
    with pytest.raises(GleitzeitError):
        await embed(make(embedding_batch=1), "a", "b", "c")
    assert len(server.requests) == 2
