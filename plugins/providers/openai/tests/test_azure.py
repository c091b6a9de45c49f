"""Azure: addresses, credentials, deployments and verdicts of filters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import AzureConfig, AzureOpenAI
from pydantic import ValidationError

from gleitzeit.errors import AuthenticationError, ConfigError, ContentRefusedError, UnknownModelError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.testing import FakeContext
from gleitzeit.testing.faulty import Answer, FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.values import Chat, Embedding, Reply, Stream

KEY = "azure-canary-0123456789"
WHOLE = {"id": "c", "model": "gpt-x", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


class AzureServer(FaultyServer[Answer]):
    """Answers from its queue, or with one word."""

    request_id = "apim-request-id"

    def respond(self, call: Call) -> Answer:
        return self.answers.popleft() if self.answers else Answer(body=WHOLE)


@pytest.fixture
async def azure() -> AsyncIterator[AzureServer]:
    async with AzureServer() as running:
        yield running


@pytest.fixture
async def build(azure: AzureServer) -> AsyncIterator[Callable[..., AzureOpenAI]]:
    async with FakeContext("az") as context:

        def made(**config: Any) -> AzureOpenAI:
            given = {"endpoint": azure.url, "api_key": KEY, **config}
            return AzureOpenAI(AzureOpenAI.Config(**given), context)

        yield made


@pytest.mark.parametrize(
    "config, url",
    [
        ({"resource": "acme"}, "https://acme.openai.azure.com/openai/v1"),
        ({"resource": "acme", "api_version": "2024-10-21"}, "https://acme.openai.azure.com/openai"),
        ({"endpoint": "https://x.services.ai.azure.com/"}, "https://x.services.ai.azure.com/openai/v1"),
        ({"endpoint": "https://x.openai.azure.com/openai/v1"}, "https://x.openai.azure.com/openai/v1"),
        ({"base_url": "https://gw.example.org/azure"}, "https://gw.example.org/azure"),
    ],
)
def test_addresses(config: dict[str, Any], url: str) -> None:
    made = AzureConfig(**config)
    assert (made.base_url, made.official) == (url, True)


@pytest.mark.parametrize(
    "config",
    [
        {"resource": "a", "endpoint": "https://x.openai.azure.com"},
        {"resource": "evil.example.org/"},
        {"resource": "a", "api_version": "2024?x=hunter2"},
        {"resource": "a", "token": "hunter2\n"},
    ],
)
def test_what_cannot_hold_is_refused_without_showing_it(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        AzureConfig(**config)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "config, path, query",
    [
        ({}, "/openai/v1/chat/completions", ""),
        ({"api": "responses"}, "/openai/v1/responses", ""),
        ({"api_version": "v-1"}, "/openai/deployments/prod/chat/completions", "api-version=v-1"),
        ({"api_version": "v", "api": "responses"}, "/openai/responses", "api-version=v"),
    ],
)  # fmt: skip
async def test_deployments_are_addressed_as_each_api_wants_it(
    azure: AzureServer, build: Callable[..., AzureOpenAI], config: dict[str, Any], path: str, query: str
) -> None:
    if "responses" in path:
        azure.answers.append(Answer(body={"id": "r", "status": "completed", "output": []}))
    await build(deployments={"gpt": "prod"}, **config).call(Chat("x").to("gpt"))
    (call,) = azure.requests
    assert (call.path, call.query, call.json["model"]) == (path, query, "prod")
    assert (call.headers["api-key"], "authorization" in call.headers) == (KEY, False)


async def test_auto_chooses_what_can_carry_the_request(
    azure: AzureServer, build: Callable[..., AzureOpenAI]
) -> None:
    azure.answers.append(Answer(body={"id": "r", "status": "completed", "output": []}))
    provider = build(api="auto")
    for chat in (Chat("x"), Chat("x", stop=("a",)), Chat("x", options={"openai": {"modalities": ["text"]}})):
        await provider.call(chat.to("m"))
    assert [call.path.rpartition("/v1")[2] for call in azure.requests] == [
        "/responses",
        "/chat/completions",
        "/chat/completions",
    ]


async def test_deployments_with_odd_names_and_embeddings(
    azure: AzureServer, build: Callable[..., AzureOpenAI]
) -> None:
    azure.answers.append(Answer(body={"data": [{"index": 0, "embedding": [1.0]}]}))
    reply = await build(api_version="v").call(Embedding("x").to("a b/c"))
    assert isinstance(reply, Reply)
    assert azure.requests[0].path == "/openai/deployments/a b/c/embeddings"
    assert reply.vectors == ((1.0,),)


async def test_a_token_stands_for_the_key(azure: AzureServer, build: Callable[..., AzureOpenAI]) -> None:
    provider = build(token="entra-canary-42")
    azure.answers.append(Answer(status=401, body={"error": {"message": "bad entra-canary-42"}}))
    with pytest.raises(AuthenticationError) as caught:
        await provider.call(Chat("x").to("m"))
    assert azure.requests[0].headers["authorization"] == "Bearer entra-canary-42"
    assert "api-key" not in azure.requests[0].headers
    assert "canary" not in f"{caught.value} {provider!r} {provider.config!r}"


async def test_an_instance_that_nobody_configured_says_so() -> None:
    async with FakeContext("az") as context:
        provider = AzureOpenAI(AzureConfig(), context)
        with pytest.raises(ConfigError, match="resource"):
            await provider.call(Chat("x").to("m"))
        assert (await provider.health()).status == "error"


async def test_without_a_credential_nothing_is_sent(
    azure: AzureServer, build: Callable[..., AzureOpenAI]
) -> None:
    with pytest.raises(AuthenticationError, match="AZURE_OPENAI_API_KEY"):
        await build(api_key=None).call(Chat("x").to("m"))
    assert not azure.requests


async def test_verdicts_of_filters_are_kept(azure: AzureServer, build: Callable[..., AzureOpenAI]) -> None:
    """The first chunk has no choices, and neither id nor model: the stream begins with the next."""
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    prompt = [{"prompt_index": 0, "content_filter_results": safe}]
    head = {"id": "c1", "model": "gpt-x", "object": "chat.completion.chunk"}
    azure.answers.append(Answer(frames=[
        {"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": prompt},
        {**head, "choices": [{"delta": {"role": "assistant", "content": ""}, "content_filter_results": {}}]},
        {**head, "choices": [{"delta": {"content": "hi"}, "content_filter_results": safe}]},
        {**head, "choices": [{"delta": {}, "finish_reason": "stop", "content_filter_results": {}}]},
        "[DONE]",
    ]))  # fmt: skip
    stream = await build().call(Chat("x").to("m", stream=True))
    assert isinstance(stream, Stream)
    reply = await stream.collect()
    assert (reply.text, reply.id, reply.model) == ("hi", "c1", "gpt-x")
    assert reply.data == {"prompt_filter_results": prompt, "content_filter_results": safe}


async def test_what_azure_refuses_has_its_kind(azure: AzureServer, build: Callable[..., AzureOpenAI]) -> None:
    filtered = {
        "message": "no",
        "code": "content_filter",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
    missing = {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}
    azure.answers.extend([
        Answer(status=400, body={"error": filtered}), Answer(status=404, body={"error": missing}),
    ])  # fmt: skip
    with pytest.raises(ContentRefusedError):
        await build().call(Chat("x").to("m"))
    with pytest.raises(UnknownModelError, match="named by its deployment") as caught:
        await build().call(Chat("x").to("m"))
    assert caught.value.request_id is not None


async def test_models_are_the_configured_deployments_or_the_live_list(
    azure: AzureServer, build: Callable[..., AzureOpenAI]
) -> None:
    models = await build(deployments={"gpt": "prod"}).provide_models()
    assert [(model.name, model.metadata) for model in models] == [("gpt", {"deployment": "prod"})]
    assert not azure.requests
    azure.answers.append(Answer(body={"data": [{"id": "gpt-x"}]}))
    assert [model.name for model in await build(api_version="v").provide_models()] == ["gpt-x"]
    assert (azure.requests[0].path, azure.requests[0].query) == ("/openai/models", "api-version=v")


def test_the_hooks_fit(build: Callable[..., AzureOpenAI]) -> None:
    assert {"call", "provide_models", "health", "lifespan"} <= set(check_hooks(build(), "azure-openai"))
