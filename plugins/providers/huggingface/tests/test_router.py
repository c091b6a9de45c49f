"""The router: whom it asks, who pays, and what its own ways are. Its errors are as users report them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gleitzeit_plugin_huggingface import HuggingFaceRouter, RouterConfig
from pydantic import ValidationError

from gleitzeit.errors import (
    AuthenticationError,
    GleitzeitError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.testing import FakeContext, ProviderCase, ProviderContract
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from gleitzeit.values import Chat, Completion, Embedding, Reply, Stream, Usage

TOKEN = "hf_canary0123456789abcdef"
Make = Callable[..., HuggingFaceRouter]


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(api_key=TOKEN) as running:
        yield running


@pytest.fixture
async def make(server: OpenAIServer) -> AsyncIterator[Make]:
    async with FakeContext("hub") as context:

        def build(**config: Any) -> HuggingFaceRouter:
            given = {"base_url": server.url, "api_key": TOKEN, **config}
            return HuggingFaceRouter(HuggingFaceRouter.Config(**given), context)

        yield build


async def collected(answer: Reply | Stream) -> Reply:
    return answer if isinstance(answer, Reply) else await answer.collect()


FIRST = {"id": "c", "choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}]}
FAULT = {"error": {"message": "overloaded", "type": "server_error", "code": "server_is_overloaded"}}
SCRIPT = Script(
    {
        "good": (Rule(Answer("pong, {user}")),),
        "silent": (Rule(Answer("never", fault="stall")),),
        "halting": (Rule(Answer("one two three", fault="stall", after=3)),),
        "truncated": (Rule(Answer("one two three", fault="cut", after=3)),),
        "failing": (Rule(Answer.error(429, "slow down", headers={"retry-after": "7"})),),
        "breaking": (Rule(Answer(frames=(FIRST, FAULT), done=False)),),
        "ragged": (Rule(Answer("pong, {user}", newline="\r\n", chunk=3)),),
        "strange": (Rule(Answer("pong, {user}", beside={"news": {"x": ["unheard of"]}})),),
    }
)


@pytest.mark.feature("S002-21")
class TestRouter(ProviderContract):
    thorough = True

    @pytest.fixture
    async def case(self) -> AsyncIterator[ProviderCase]:
        async with OpenAIServer(SCRIPT, api_key=TOKEN) as server:
            yield ProviderCase(
                HuggingFaceRouter,
                config={"base_url": server.url, "api_key": TOKEN},
                request=Chat("ping").to("good"),
                text="pong, ping",
                silent=Chat("x").to("silent"),
                halting=Chat("x").to("halting"),
                truncated=Chat("x").to("truncated"),
                failing=Chat("x").to("failing"),
                failure=RateLimitedError,
                retry_after=7,
                breaking=Chat("x").to("breaking"),
                broken=OverloadedError,
                ragged=Chat("ping").to("ragged"),
                strange=Chat("ping").to("strange"),
                strange_text="unheard of",
                connections=lambda _: server.connections,
                sent=lambda _: len(server.requests),
                left=lambda _: sum(call.closed.is_set() for call in server.requests),
                secret=TOKEN,
            )


def test_the_address_is_the_routers_where_nobody_says_another() -> None:
    assert RouterConfig().base_url == "https://router.huggingface.co/v1"
    assert RouterConfig().loopback is False


@pytest.mark.parametrize("provider", ["Together", "a/b", "x:y", ""])
def test_a_vendor_is_a_plain_name(provider: str) -> None:
    with pytest.raises(ValidationError):
        RouterConfig(provider=provider)


@pytest.mark.parametrize(
    "provider,name,sent",
    [
        (None, "org/m", "org/m"),
        ("cheapest", "org/m", "org/m:cheapest"),
        ("together", "org/m:groq", "org/m:groq"),
    ],
)
async def test_the_vendor_stands_behind_the_model(
    make: Make, server: OpenAIServer, provider: str | None, name: str, sent: str
) -> None:
    server.answers.append(Answer("hi"))
    reply = await collected(
        await make(provider=provider, bill_to="acme").call(Chat("x", max_tokens=9).to(name))
    )
    assert reply.text == "hi"
    (call,) = server.requests
    assert call.json["model"] == sent
    assert call.json["max_tokens"] == 9
    assert call.headers["x-hf-bill-to"] == "acme"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_taken_out_of_tags_and_out_of_fields(
    make: Make, server: OpenAIServer, stream: bool
) -> None:
    server.answers.append(Answer("<think>\nhm, hm\n</think>\n\n42"))
    reply = await collected(await make().call(Chat("x").to("org/m", stream=stream)))
    assert (reply.thinking, reply.text) == ("hm, hm", "42")
    message = {"role": "assistant", "content": "42", "reasoning_content": "hm"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    server.answers.append(Answer(body={"id": "c", "model": "m", "choices": [choice]}))
    reply = await collected(await make().call(Chat("x").to("org/m")))
    assert (reply.thinking, reply.text) == ("hm", "42")


async def test_usage_on_a_chunk_without_choices_counts(make: Make, server: OpenAIServer) -> None:
    delta = {
        "id": "c",
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}],
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    server.answers.append(
        Answer(frames=(delta, {"id": "c", "model": "m", "choices": [], "usage": usage}, "[DONE]"))
    )
    reply = await collected(await make().call(Chat("x").to("org/m", stream=True)))
    assert reply.usage is not None
    assert reply.usage == Usage(input=3, output=1)


async def test_what_vendors_say_of_a_model_is_listed(make: Make, server: OpenAIServer) -> None:
    def vendor(name: str, window: int, tools: bool, status: str = "live") -> dict[str, Any]:
        return {"provider": name, "status": status, "context_length": window, "supports_tools": tools}

    rows = [
        {
            "id": "org/m",
            "architecture": {"input_modalities": ["text", "image"]},
            "providers": [vendor("a", 100, True), vendor("b", 50, True), vendor("c", 1, False, "staging")],
        },
        {"id": "org/odd", "providers": "none", "architecture": 3},
    ]
    server.faults["/v1/models"] = Answer(body={"object": "list", "data": rows})
    first, odd = await make().provide_models()
    assert (first.name, first.context_tokens) == ("org/m", 50)
    assert first.capabilities == {"streaming", "tools", "vision"}
    assert odd.context_tokens is None
    assert (await make(provider="a").provide_models())[0].context_tokens == 100


async def test_completions_go_as_chats_and_vectors_are_refused(make: Make, server: OpenAIServer) -> None:
    server.answers.append(Answer("and so on"))
    assert (await collected(await make().call(Completion("once").to("org/m")))).text == "and so on"
    with pytest.raises(UnsupportedError) as caught:
        await make().call(Embedding("x").to("org/m"))
    assert caught.value.sent is False
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "status,body,kind",
    [
        (
            400,
            {
                "error": {
                    "message": "The requested model 'm' is not supported by any provider you have enabled.",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_supported",
                }
            },
            UnknownModelError,
        ),
        (401, {"error": "Invalid credentials in Authorization header"}, AuthenticationError),
        (
            402,
            {"error": "You have exceeded your monthly included credits for Inference Providers."},
            QuotaExhaustedError,
        ),
        (429, {"error": "Too many requests"}, RateLimitedError),
    ],
)
async def test_errors_of_the_router(
    make: Make, server: OpenAIServer, status: int, body: Any, kind: type[GleitzeitError]
) -> None:
    server.answers.append(Answer(body=body, status=status))
    with pytest.raises(kind) as caught:
        await collected(await make().call(Chat("x").to("org/m")))
    assert (caught.value.status, caught.value.provider) == (status, "hub")
    assert caught.value.hint


async def test_the_router_is_not_asked_without_a_token() -> None:
    async with FakeContext("hub") as context:
        provider = HuggingFaceRouter(RouterConfig(), context)
        with pytest.raises(AuthenticationError, match="HF_TOKEN") as caught:
            await provider.call(Chat("x").to("org/m"))
    assert caught.value.sent is False
