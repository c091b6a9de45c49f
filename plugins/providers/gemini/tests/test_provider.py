"""Lists, health, embeddings, counts, Vertex AI, adapting, configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_gemini import Gemini, GeminiConfig
from pydantic import ValidationError

from gleitzeit.errors import InvalidRequestError, MalformedAnswerError, RateLimitedError, UnsupportedError
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat, Embedding, Invoke, Message, Model, Reply, Tool, Usage
from gleitzeit.wire.codec import to_json

Make = Callable[..., Gemini]
VERTEX = {"project": "my-project", "location": "europe-west4"}
BELOW = "/v1beta1/projects/my-project/locations/europe-west4/publishers/google/models"


async def asked(provider: Gemini, operation: Any, name: str = "gemini-x") -> Reply:
    reply = await provider.call(operation.to(name))
    assert isinstance(reply, Reply)
    return reply


# --- models and health


async def test_the_list_of_models_is_read_page_by_page(server: GeminiServer, provider: Gemini) -> None:
    server.models.update({f"gemini-{n}": Answer("x") for n in range(5)})
    models = await provider.provide_models()
    assert [model.name for model in models] == [f"gemini-{n}" for n in range(5)]
    assert [call.query for call in server.requests] == [
        "pageSize=1000",
        "pageSize=1000&pageToken=2",
        "pageSize=1000&pageToken=4",
    ]
    first = models[0]
    assert isinstance(first, Model)
    assert first.operations == {"chat", "completion", "embedding"}
    assert first.capabilities == {"count_tokens"}
    assert (first.context_tokens, first.output_tokens) == (1000, 100)


@pytest.mark.parametrize("row", [None, 5, {}, {"name": ""}, {"name": "models/"}])
async def test_rows_that_are_no_model_are_passed_over(
    server: GeminiServer, provider: Gemini, row: Any
) -> None:
    server.faults["/v1beta/models"] = Answer(
        body={"models": [row, {"name": "models/a", "inputTokenLimit": "x"}]}
    )
    assert [model.name for model in await provider.provide_models()] == ["a"]


@pytest.mark.parametrize("body", ["nonsense", [1]])
async def test_a_broken_list_is_malformed(server: GeminiServer, provider: Gemini, body: Any) -> None:
    server.faults["/v1beta/models"] = Answer(body=body)
    with pytest.raises(MalformedAnswerError):
        await provider.provide_models()


async def test_health_asks_for_the_list_and_for_nothing_that_costs(
    server: GeminiServer, provider: Gemini
) -> None:
    health = await provider.health()
    assert health.status == "ok"
    assert [(call.method, call.query) for call in server.requests] == [("GET", "pageSize=1")]
    await asked(provider, Chat("hi"))
    assert (await provider.health()).detail == "the last call went well"
    assert len(server.requests) == 2


async def test_a_server_without_a_list_is_healthy_as_long_as_calls_go_well(
    server: GeminiServer, provider: Gemini
) -> None:
    server.faults["/v1beta/models"] = Answer.error(404, "no", word="NOT_FOUND")
    assert (await provider.health()).status == "unknown"
    await asked(provider, Chat("hi"))
    assert (await provider.health(deep=True)).status == "ok"
    server.answers.append(Answer.error(429, "later", word="RESOURCE_EXHAUSTED"))
    with pytest.raises(RateLimitedError):
        await asked(provider, Chat("hi"))
    assert (await provider.health(deep=True)).status == "error"


async def test_a_wrong_key_is_no_health(make: Make) -> None:
    health = await make(api_key="wrong-key-123").health()
    assert health.status == "error"
    assert "wrong-key" not in health.detail


# --- embeddings and counts


@pytest.mark.feature("S004-12")
@pytest.mark.parametrize(
    "config, method, times",
    [
        ({}, "batchEmbedContents", 2),
        ({"embedding_api": "embedContent"}, "embedContent", 3),
        (VERTEX, "predict", 2),
    ],
)
async def test_embeddings_in_batches(
    server: GeminiServer, make: Make, config: Any, method: str, times: int
) -> None:
    options = {"gemini": {"taskType": "RETRIEVAL_QUERY"}}
    texts = ["one", "two", "drei"]
    reply = await asked(make(embedding_batch=2, **config), Embedding(texts, dimensions=4, options=options))
    assert reply.vectors is not None
    assert [len(vector) for vector in reply.vectors] == [4, 4, 4]
    assert len(set(reply.vectors)) == 3
    assert [call.path.rpartition(":")[2] for call in server.requests] == [method] * times
    assert reply.usage is not None
    singles = [await asked(make(**config), Embedding(text, dimensions=4, options=options)) for text in texts]
    assert tuple(one.vectors[0] for one in singles if one.vectors) == reply.vectors


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [{"values": [1.0]}]},
        {"embeddings": [{"values": [1.0]}, {"values": ["x"]}]},
        {"embeddings": [{"values": [1.0]}, {}]},
        {},
        "nonsense",
    ],
)
async def test_embeddings_that_do_not_fit_are_malformed(
    server: GeminiServer, provider: Gemini, body: Any
) -> None:
    server.answers.append(Answer(body=body))
    with pytest.raises(MalformedAnswerError):
        await asked(provider, Embedding(["a", "b"]))


@pytest.mark.feature("S004-12")
async def test_an_empty_text_has_no_embedding(provider: Gemini) -> None:
    with pytest.raises(InvalidRequestError, match="empty text"):
        await asked(provider, Embedding(["a", ""]))


async def test_usage_of_embeddings_is_none_where_it_is_not_told(
    server: GeminiServer, provider: Gemini
) -> None:
    server.answers.append(Answer(body={"embeddings": [{"values": [1, 2.5]}]}))
    reply = await asked(provider, Embedding("a"))
    assert (reply.vectors, reply.usage) == (((1.0, 2.5),), None)
    told = {"predictions": [{"embeddings": {"values": [1], "statistics": {"token_count": 4.0}}}]}
    server.answers.append(Answer(body=told))
    assert (await asked(provider, Embedding("a"))).usage == Usage(input=4)


@pytest.mark.parametrize("config", [{}, VERTEX])
async def test_tokens_are_counted_as_they_would_be_sent(
    server: GeminiServer, make: Make, config: Any
) -> None:
    messages = [Message.system("be brief"), Message.user("how many tokens is this?")]
    arguments = {"model": "gemini-x", "messages": messages, "tools": [Tool("f")]}
    reply = await asked(make(**config), Invoke("count_tokens", arguments=arguments), "acme")
    assert reply.data["input_tokens"] == reply.data["totalTokens"] > 0
    sent = server.requests[0].json
    inner = sent.get("generateContentRequest", sent)
    assert {"contents", "systemInstruction", "tools"} <= set(inner)
    as_json = {
        **arguments,
        "messages": [to_json(message) for message in messages],
        "tools": [to_json(Tool("f"))],
    }
    again = await asked(make(**config), Invoke("count_tokens", arguments=as_json), "acme")
    assert again.data == reply.data
    assert server.requests[1].json == sent


@pytest.mark.parametrize(
    "arguments",
    [{}, {"model": "m"}, {"model": "m", "messages": [5]}, {"model": "m", "messages": "x", "more": 1}],
)
async def test_counts_want_their_arguments(provider: Gemini, arguments: Any) -> None:
    with pytest.raises(InvalidRequestError):
        await asked(provider, Invoke("count_tokens", arguments=arguments), "acme")


async def test_other_methods_are_unsupported(provider: Gemini) -> None:
    with pytest.raises(UnsupportedError, match="dance"):
        await asked(provider, Invoke("dance"), "acme")


# --- Vertex AI


async def test_vertex_has_its_own_paths_and_takes_a_token(server: GeminiServer, make: Make) -> None:
    key = server._api_key
    provider = make(api_key=None, access_token=key, **VERTEX)
    assert (await asked(provider, Chat("hi"))).text.endswith("hi")
    call = server.requests[0]
    assert call.path == f"{BELOW}/gemini-x:generateContent"
    assert call.headers["authorization"] == f"Bearer {key}"
    assert "x-goog-api-key" not in call.headers
    assert [model.name for model in await provider.provide_models()] == [
        "scripted-echo",
        "scripted-embedding",
    ]
    assert server.requests[-1].path == "/v1beta1/publishers/google/models"


def test_addresses_of_regions() -> None:
    assert GeminiConfig().root == "https://generativelanguage.googleapis.com/v1beta"
    assert GeminiConfig(project="p").root == "https://aiplatform.googleapis.com/v1beta1"
    config = GeminiConfig(project="p", location="us-east5", api_version="v1")
    assert config.root == "https://us-east5-aiplatform.googleapis.com/v1"


# --- adapting


REFUSED = (
    "Invalid JSON payload received. Unknown name \"thinkingLevel\" at 'generation_config.thinking_config'"
)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_field_is_left_out_once_and_for_all(
    server: GeminiServer, make: Make, stream: bool
) -> None:
    provider = make(adapt=True)
    server.answers.append(Answer.error(400, REFUSED))
    server.answers.append(Answer.error(400, "temperature is not supported by this model"))
    server.answers.append(Answer("fine"))
    answer = await provider.call(Chat("hi", reasoning="low", temperature=1).to("gemini-x", stream=stream))
    reply = answer if isinstance(answer, Reply) else await answer.collect()
    assert reply.text == "fine"
    await asked(provider, Chat("hi", reasoning="low", temperature=1, max_tokens=5))
    assert [call.json.get("generationConfig") for call in server.requests] == [
        {"temperature": 1, "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
        {"temperature": 1, "thinkingConfig": {"includeThoughts": True}},
        {"thinkingConfig": {"includeThoughts": True}},
        {"maxOutputTokens": 5, "thinkingConfig": {"includeThoughts": True}},
    ]
    await asked(provider, Chat("hi", temperature=1), "gemini-y")
    assert server.requests[-1].json["generationConfig"] == {"temperature": 1}


async def test_without_adapting_a_refusal_is_a_refusal(server: GeminiServer, provider: Gemini) -> None:
    server.answers.append(Answer.error(400, REFUSED))
    with pytest.raises(InvalidRequestError):
        await asked(provider, Chat("hi", reasoning="low"))
    assert len(server.requests) == 1


async def test_what_the_caller_relies_on_is_never_left_out(server: GeminiServer, make: Make) -> None:
    server.answers.append(Answer.error(400, "maxOutputTokens is too large"))
    with pytest.raises(InvalidRequestError):
        await asked(make(adapt=True), Chat("hi", max_tokens=5, temperature=1))
    assert len(server.requests) == 1


# --- configuration


@pytest.mark.parametrize(
    "config",
    [
        {"base_url": "ftp://x"},
        {"base_url": "https://user:pw@x.example"},
        {"base_url": "https://x.example?key=abc"},
        {"project": "a/b"},
        {"location": "x.example/"},
        {"api_version": "../v1"},
        {"api_key": "line\nbreak"},
        {"access_token": "é"},
        {"headers": {"x": "a\nb"}},
        {"embedding_batch": 0},
        {"unknown": 1},
    ],
)
def test_what_is_wrong_in_a_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GeminiConfig(**config)


def test_a_secret_is_not_in_the_repr(make: Make) -> None:
    provider = make(access_token="ya29-canary")
    assert "canary" not in f"{provider!r} {provider.config!r}"


@pytest.mark.parametrize(
    "url, local",
    [("http://127.0.0.1:1", True), ("http://localhost", True), ("https://x.example", False), (None, False)],
)
def test_a_server_on_loopback_is_local(make: Make, url: str | None, local: bool) -> None:
    assert make(base_url=url).local is local


async def test_headers_are_sent(server: GeminiServer, make: Make) -> None:
    await make(headers={"x-goog-user-project": "p1"}).call(Chat("hi").to("gemini-x", idempotency_key="k1"))
    assert server.requests[0].headers["x-goog-user-project"] == "p1"
    assert server.requests[0].headers["idempotency-key"] == "k1"
