"""The live list, health that costs nothing, and counting tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.errors import GleitzeitError, InvalidRequestError, MalformedAnswerError
from gleitzeit.host import Host
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat, Invoke, Message, Reply, Stream, Tool
from gleitzeit.wire import codec

Make = Callable[..., Anthropic]
KEY = "sk-ant-canary-0123456789abcdef"


async def test_pages_are_followed(provider: Anthropic, server: AnthropicServer) -> None:
    server.models = {f"m{n}": Answer("x") for n in range(5)}
    server.page = 2
    assert [model.name for model in await provider.provide_models()] == ["m0", "m1", "m2", "m3", "m4"]
    assert [call.query for call in server.requests] == [
        "limit=1000",
        "limit=1000&after_id=m1",
        "limit=1000&after_id=m3",
    ]


async def test_what_the_list_says_of_models(provider: Anthropic, server: AnthropicServer) -> None:
    server.models = {"new": Answer("x"), "old": Answer("x")}
    yes = {"supported": True}
    server.described["new"] = {
        "max_input_tokens": 1_000_000,
        "max_tokens": 64_000,
        "capabilities": {"image_input": yes, "pdf_input": {"supported": False}, "thinking": yes},
    }
    server.described["old"] = {"lifecycle": "retired"}
    (model,) = await provider.provide_models()
    assert (model.context_tokens, model.output_tokens, model.description) == (
        1_000_000,
        64_000,
        "Scripted fake new",
    )
    assert model.capabilities == {"vision", "thinking", "tools", "streaming"}
    assert model.operations == {"chat", "completion"}


async def test_what_was_learned_decides_how_reasoning_is_sent(
    provider: Anthropic, server: AnthropicServer
) -> None:
    types = {"adaptive": {"supported": False}, "enabled": {"supported": True}}
    server.described["scripted-echo"] = {"capabilities": {"thinking": {"supported": True, "types": types}}}
    request = Chat("x", reasoning="low").to("scripted-echo")
    await provider.call(request)
    await provider.provide_models()
    await provider.call(request)
    sent = [call.json["thinking"] for call in server.requests if call.method == "POST"]
    assert sent == [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2048}]


@pytest.mark.parametrize("body", [b"{", b"3", b'{"data": 3}', b"<html>", b"[" * 10_000])
async def test_what_is_no_list_is_malformed(
    provider: Anthropic, server: AnthropicServer, body: bytes
) -> None:
    server.faults["/v1/models"] = Answer(body=body)
    with pytest.raises(MalformedAnswerError):
        await provider.provide_models()


async def test_odd_rows_are_passed_over(provider: Anthropic, server: AnthropicServer) -> None:
    rows: Any = [{"id": "a", "capabilities": 3}, {"no": "id"}, 3, {"id": ""}, {"id": "a"}]
    server.faults["/v1/models"] = Answer(body={"data": rows, "has_more": True, "last_id": None})
    assert [model.name for model in await provider.provide_models()] == ["a"]


async def test_health_is_free_and_read_off_the_list(provider: Anthropic, server: AnthropicServer) -> None:
    health = await provider.health()
    assert (health.status, health.detail) == ("ok", "1 models")
    assert [call.path for call in server.requests] == ["/v1/models"]
    await provider.call(Chat("x").to("scripted-echo"))
    server.faults["/v1/models"] = Answer(status=500, body=b"")
    assert (await provider.health()).detail == "the last call went well"
    assert (await provider.health(deep=True)).status == "ok"
    assert len(server.requests) == 3


async def test_a_broken_list_alone_is_no_illness(provider: Anthropic, server: AnthropicServer) -> None:
    server.faults["/v1/models"] = Answer(status=500, body=b"")
    assert (await provider.health()).status == "unknown"
    server.answers.append(Answer(status=500, body=b""))
    with pytest.raises(GleitzeitError):
        await provider.call(Chat("x").to("scripted-echo"))
    assert (await provider.health()).status == "error"


async def test_a_wrong_key_and_a_dead_server_are_errors(make: Make) -> None:
    health = await make(api_key="sk-ant-wrong-0123456789").health()
    assert health.status == "error"
    assert "0123456789" not in health.detail
    assert (await make(base_url="http://127.0.0.1:9").health()).status == "error"


async def test_calls_that_are_refused_outweigh_a_good_list(
    provider: Anthropic, server: AnthropicServer
) -> None:
    server.answers.append(Answer.error(403, "not you", type="permission_error"))
    with pytest.raises(GleitzeitError):
        await provider.call(Chat("x").to("scripted-echo"))
    assert (await provider.health()).status == "error"


CHAT = Chat(
    [Message.system("be brief"), Message.user("hi")],
    tools=[Tool("git/log")],
    max_tokens=7,
    temperature=0.5,
    stop=["."],
    options={"anthropic": {"betas": ["token-counting-9"], "top_k": 3, "service_tier": "auto"}},
)


@pytest.mark.parametrize("chat", ["hi", CHAT, codec.to_json(CHAT)])
async def test_tokens_are_counted(provider: Anthropic, server: AnthropicServer, chat: Any) -> None:
    arguments = {"model": "scripted-echo", "chat": chat}
    reply = await provider.call(Invoke("count_tokens", arguments=arguments).to("acme"))
    assert isinstance(reply, Reply)
    assert reply.data["input_tokens"] == int(reply.text) > 0
    assert reply.usage is None
    sent = server.requests[0]
    assert sent.path == "/v1/messages/count_tokens"
    assert sent.json.keys() <= {"model", "messages", "system", "tools"}
    assert sent.headers.get("anthropic-beta") == (None if chat == "hi" else "token-counting-9")


async def test_tokens_are_counted_through_a_host() -> None:
    async with AnthropicServer(api_key=KEY) as server:
        acme = {"plugin": "anthropic", "base_url": server.url, "api_key": KEY}
        async with Host({"providers": {"acme": acme}}) as host:
            reply = await host.call(Invoke("count_tokens", args=("scripted-echo", "hi")).to("acme"))
            assert reply.data["input_tokens"] > 0


async def test_a_count_can_be_asked_for_as_a_stream(provider: Anthropic) -> None:
    stream = await provider.call(Invoke("count_tokens", args=("m", "hi")).to("acme", stream=True))
    assert isinstance(stream, Stream)
    assert (await stream.collect()).data["input_tokens"] > 0


@pytest.mark.parametrize(
    "arguments", [{}, {"model": "m"}, {"model": 3, "chat": "x"}, {"model": "m", "chat": "x", "more": 1}]
)
async def test_counts_that_are_asked_wrongly(
    provider: Anthropic, server: AnthropicServer, arguments: Any
) -> None:
    with pytest.raises(InvalidRequestError, match="count_tokens takes"):
        await provider.call(Invoke("count_tokens", arguments=arguments).to("acme"))
    assert server.requests == []


async def test_a_count_that_is_none_is_malformed(provider: Anthropic, server: AnthropicServer) -> None:
    server.faults["/v1/messages/count_tokens"] = Answer(body={"input_tokens": "5"})
    with pytest.raises(MalformedAnswerError):
        await provider.call(Invoke("count_tokens", args=("m", "hi")).to("acme"))
