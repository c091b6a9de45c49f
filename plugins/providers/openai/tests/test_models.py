"""The live list of models, and health that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat

Make = Callable[..., OpenAI]


def listing(server: OpenAIServer, body: Any, **more: Any) -> None:
    server.faults["/v1/models"] = Answer(body=body, **more)


async def test_the_list_is_the_servers(provider: OpenAI) -> None:
    names = [model.name for model in await provider.provide_models()]
    assert "scripted-echo" in names
    assert provider.complete is False


@pytest.mark.parametrize(
    "body",
    [
        {"object": "list", "data": [{"id": "a"}, {"id": "b", "object": "model"}]},
        {"data": [{"id": "a", "created": None}, {"id": "b"}, {"no": "id"}, 3, {"id": ""}, {"id": 5}]},
        [{"id": "a"}, {"id": "b"}],
        {"models": [{"name": "a"}, {"name": "b"}]},
        {"data": ["a", "b", "a"]},
    ],
)
async def test_lists_of_every_make_are_read(provider: OpenAI, server: OpenAIServer, body: Any) -> None:
    listing(server, body)
    assert [model.name for model in await provider.provide_models()] == ["a", "b"]


async def test_what_servers_say_of_size_is_kept(provider: OpenAI, server: OpenAIServer) -> None:
    listing(
        server, {"data": [{"id": "a", "context_window": 8192, "max_completion_tokens": 100, "owned_by": "x"}]}
    )
    (model,) = await provider.provide_models()
    assert (model.context_tokens, model.output_tokens, model.metadata["owned_by"]) == (8192, 100, "x")


@pytest.mark.parametrize("body", [b"{", b"3", b'{"data": 3}', b"<html>", b"[" * 10_000])
async def test_what_is_no_list_is_malformed(provider: OpenAI, server: OpenAIServer, body: bytes) -> None:
    listing(server, body)
    with pytest.raises(MalformedAnswerError):
        await provider.provide_models()


async def test_pages_are_followed_to_a_limit(make: Make) -> None:
    async def handler(call: Call) -> None:
        page = int(call.query.removeprefix("after=m") or 0) if call.query else 0
        rows = b'{"data": [{"id": "m%d"}], "has_more": %s}' % (
            page + 1,
            b"true" if endless or page < 2 else b"false",
        )
        await call.send(200, {}, rows)

    async with LoopbackServer(handler) as pages:
        provider = make(base_url=pages.address)
        endless = False
        assert [model.name for model in await provider.provide_models()] == ["m1", "m2", "m3"]
        endless = True
        assert len(await provider.provide_models()) == 50


async def test_health_is_read_off_the_list_at_first(provider: OpenAI, server: OpenAIServer) -> None:
    health = await provider.health()
    assert (health.status, health.detail) == ("ok", "8 models")
    assert health.latency is not None
    assert [call.path for call in server.requests] == ["/v1/models"]


async def test_a_call_that_went_well_is_proof_enough(provider: OpenAI, server: OpenAIServer) -> None:
    await provider.call(Chat("x").to("scripted-echo"))
    listing(server, None, status=500)
    assert (await provider.health()).status == "ok"
    assert len(server.requests) == 1
    assert (await provider.health(deep=True)).status == "ok"


@pytest.mark.parametrize(
    "answer", [Answer(status=500, body=b""), Answer(status=404, body=b""), Answer(body=b"<html>")]
)
async def test_a_broken_list_alone_is_no_illness(
    provider: OpenAI, server: OpenAIServer, answer: Answer
) -> None:
    server.faults["/v1/models"] = answer
    health = await provider.health()
    assert health.status == "unknown"
    assert "lists no models" in health.detail


async def test_a_broken_list_and_broken_calls_are(provider: OpenAI, server: OpenAIServer) -> None:
    listing(server, b"", status=500)
    server.answers.append(Answer(status=500, body=b""))
    with pytest.raises(GleitzeitError):
        await provider.call(Chat("x").to("scripted-echo"))
    assert (await provider.health()).status == "error"


async def test_a_request_that_was_wrong_says_nothing_of_health(provider: OpenAI) -> None:
    await provider.call(Chat("x").to("scripted-echo"))
    with pytest.raises(GleitzeitError):
        await provider.call(Chat("x").to("no-such-model"))
    assert (await provider.health()).detail == "the last call went well"


async def test_a_wrong_key_is_an_error(make: Make) -> None:
    health = await make(api_key="sk-wrong-0123456789").health()
    assert health.status == "error"
    assert "OPENAI_API_KEY" in health.detail
    assert "sk-wrong" not in health.detail


async def test_a_dead_server_is_an_error(make: Make) -> None:
    assert (await make(base_url="http://127.0.0.1:9/v1").health()).status == "error"


async def test_calls_that_are_refused_outweigh_a_good_list(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer.error(403, "not you"))
    with pytest.raises(GleitzeitError):
        await provider.call(Chat("x").to("scripted-echo"))
    assert (await provider.health()).status == "error"
