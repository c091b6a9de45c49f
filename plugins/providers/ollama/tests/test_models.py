"""The list of models, the methods, health, and what is private."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit import Host
from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    InvalidRequestError,
    MalformedAnswerError,
    SecurityDeniedError,
    ServerFaultError,
    UnsupportedError,
)
from gleitzeit.testing.ollama_server import Answer, Card, OllamaServer
from gleitzeit.values import Chat, Embedding, Invoke, Reply

KEY = "ollama-canary-0123456789abcdef"


async def test_models_have_what_the_server_shows(provider: Ollama, server: OllamaServer) -> None:
    server.models["ns/seeing:7b"] = Card(capabilities=("completion", "vision", "thinking", "new"), context=99)
    server.models["far:cloud"] = Card(remote="https://ollama.com")
    found = {model.name: model for model in await provider.provide_models()}
    assert list(found) == ["scripted", "embed", "ns/seeing:7b", "far:cloud"]
    assert found["scripted"].operations == {"chat", "completion"}
    assert found["embed"].operations == {"embedding"}
    assert found["embed"].metadata["embedding_length"] == 8
    seeing = found["ns/seeing:7b"]
    assert seeing.capabilities == {"vision", "thinking", "new"}
    assert seeing.context_tokens == 99
    assert "remote" in found["far:cloud"].capabilities
    assert seeing.version
    assert seeing.description == "fake 1K F16"


async def test_details_are_asked_once_for_each_digest(provider: Ollama, server: OllamaServer) -> None:
    await provider.provide_models()
    first = len(server.requests)
    await provider.provide_models()
    assert [call.path for call in server.requests[first:]] == ["/api/tags"]
    del server.models["embed:latest"]
    await provider.provide_models()
    assert len(provider._shown) == 1


async def test_a_list_is_worth_having_without_details(
    make: Callable[..., Ollama], server: OllamaServer
) -> None:
    server.faults["/api/show"] = Answer.error(500, "broken")
    for provider in (make(), make(show=False)):
        models = await provider.provide_models()
        assert [(model.name, model.operations) for model in models] == [
            ("scripted", frozenset()),
            ("embed", frozenset()),
        ]
    assert [call.path for call in server.requests].count("/api/show") == 2


@pytest.mark.parametrize(
    "shown",
    [{}, {"capabilities": None}, {"capabilities": [3]}, {"model_info": 3}, {"model_info": {"x": 1}}, []],
)
async def test_odd_details_do_no_harm(provider: Ollama, server: OllamaServer, shown: Any) -> None:
    server.faults["/api/show"] = Answer(body=shown)
    assert len(await provider.provide_models()) == 2


@pytest.mark.parametrize("body, count", [({"models": None}, 0), ({"models": [3, {}, {"model": "a"}]}, 1)])
async def test_odd_rows_are_left_out(provider: Ollama, server: OllamaServer, body: Any, count: int) -> None:
    server.faults["/api/tags"] = Answer(body=body)
    assert len(await provider.provide_models()) == count


@pytest.mark.parametrize("body", ["x", [], {"models": 3}])
async def test_a_list_that_is_none_is_malformed(provider: Ollama, server: OllamaServer, body: Any) -> None:
    server.faults["/api/tags"] = Answer(body=body)
    with pytest.raises(MalformedAnswerError):
        await provider.provide_models()


# --- methods


async def test_models_are_loaded_and_unloaded(
    ask: Callable[..., Awaitable[Reply]], server: OllamaServer
) -> None:
    loaded = await ask(Invoke("load", arguments={"model": "scripted", "keep_alive": 60}), "local")
    assert loaded.data["done_reason"] == "load"
    assert server.loaded == {"scripted:latest": "60s"}
    running = await ask(Invoke("ps"), "local")
    assert [row["name"] for row in running.data["models"]] == ["scripted:latest"]
    assert (await ask(Invoke("unload", args=["scripted"]), "local")).data["done_reason"] == "unload"
    assert server.loaded == {}


async def test_a_server_says_what_it_is_and_has(ask: Callable[..., Awaitable[Reply]]) -> None:
    assert (await ask(Invoke("version"), "local")).data == {"version": "0.0.0-scripted"}
    assert (await ask(Invoke("show", args=["scripted"]), "local")).data["capabilities"]


@pytest.mark.parametrize(
    "operation, error",
    [
        (Invoke("delete", args=["scripted"]), UnsupportedError),
        (Invoke("ps", args=["scripted"]), InvalidRequestError),
        (Invoke("show"), InvalidRequestError),
        (Invoke("pull", arguments={"model": ""}), InvalidRequestError),
        (Invoke("pull", arguments={"model": "x", "insecure": True}), InvalidRequestError),
        (Invoke("load", arguments={"model": "x", "keep_alive": "soon"}), InvalidRequestError),
    ],
)
async def test_what_is_no_method_is_refused_unsent(
    ask: Callable[..., Awaitable[Reply]], server: OllamaServer, operation: Invoke, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await ask(operation, "local")
    assert not server.requests


# --- health


async def test_health_is_free_of_charge(
    provider: Ollama, server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    health = await provider.health()
    assert (health.status, health.data) == ("ok", {"version": "0.0.0-scripted"})
    assert (await provider.health(deep=True)).data == {"version": "0.0.0-scripted", "models": 2}
    await ask("hi")
    asked = len(server.requests)
    assert (await provider.health()).status == "ok"
    assert len(server.requests) == asked
    assert {call.path for call in server.requests} == {"/api/version", "/api/tags", "/api/chat"}


async def test_health_tells_of_a_server_that_is_gone_broken_or_closed(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    assert (await make(base_url="http://127.0.0.1:9").health()).status == "error"
    assert (await make(api_key="wrong").health()).status == "error"
    server.faults["/api/version"] = Answer(body="hello")
    assert (await make().health()).status == "error"
    del server.faults["/api/version"]
    provider = make()
    server.faults["/api/chat"] = Answer.error(401, "unauthorized")
    with pytest.raises(AuthenticationError):
        await ask("hi", by=provider)
    assert (await provider.health()).status == "error"


# --- private requests


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_private_never_goes_to_a_cloud_model(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]], stream: bool
) -> None:
    server.models["far:cloud"] = Card(capabilities=("completion", "embedding"), remote="https://ollama.com")
    provider = make()
    assert provider.local
    for operation in (Chat("hi"), Embedding("hi")):
        with pytest.raises(SecurityDeniedError) as caught:
            await ask(operation, "far:cloud", by=provider, data_class="private", stream=stream)
        assert caught.value.sent is False
    assert {call.path for call in server.requests} == {"/api/show"}
    assert (await ask("hi", "scripted", by=provider, data_class="private", stream=stream)).text
    assert (await ask("hi", "far:cloud", by=provider, stream=stream)).text


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_private_waits_for_a_download_and_is_judged_again_after_it(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]], stream: bool
) -> None:
    server.library["tiny:latest"] = 10
    provider = make(pull="always")
    assert (await ask("hi", "tiny", by=provider, data_class="private", stream=stream)).text
    paths = [call.path for call in server.requests]
    assert paths == ["/api/show", "/api/pull", "/api/show", "/api/chat"]
    server.library["far:cloud"] = 10
    server.pulled = Card(remote="https://ollama.com")
    with pytest.raises(SecurityDeniedError):
        await ask("hi", "far:cloud", by=provider, data_class="private", stream=stream)
    assert server.requests[-1].path == "/api/show"


# --- through a host


@pytest.mark.feature("S002-06")
async def test_a_host_finds_models_by_name_and_streams(server: OllamaServer) -> None:
    config = {"providers": {"local": {"plugin": "ollama", "base_url": server.url, "api_key": KEY}}}
    async with Host(config) as host:
        reply = await host.call(Chat("hi").to("local/scripted:latest"))
        async with host.stream(Chat("hi").to("local/scripted")) as stream:
            async for _ in stream:
                pass
        assert stream.reply.text == reply.text
        vectors = await host.call(Embedding(["a", "b"]).to("local/embed"))
        assert len(vectors.vectors or ()) == 2
        version = await host.call(Invoke("version").to("local"))
        assert version.data["version"]


@pytest.mark.feature("S002-08")
async def test_while_the_server_is_down_another_answers_and_a_restart_heals() -> None:
    async with AsyncExitStack() as running, OllamaServer() as other:
        first = await running.enter_async_context(OllamaServer())
        config = {
            "providers": {
                "one": {"plugin": "ollama", "base_url": first.url, "retry": {"max_retries": 0}},
                "two": {"plugin": "ollama", "base_url": other.url},
            },
            "routes": {"any": {"targets": ["one/scripted", "two/scripted"]}},
        }
        async with Host(config) as host:
            assert str((await host.call(Chat("hi").to("any"))).target) == "one/scripted"
            first.answers.append(Answer.error(500, "model runner has unexpectedly stopped"))
            with pytest.raises(ServerFaultError):
                await host.call(Chat("hi").to("one/scripted"))
            await running.aclose()
            assert str((await host.call(Chat("hi").to("any"))).target) == "two/scripted"
            with pytest.raises(CannotConnectError):
                await host.call(Chat("hi").to("one/scripted"))
            async with OllamaServer(port=int(first.url.rpartition(":")[2])):
                assert str((await host.call(Chat("hi").to("any"))).target) == "one/scripted"


@pytest.mark.feature("S002-07")
async def test_a_route_goes_on_where_the_library_lacks_the_name(server: OllamaServer) -> None:
    one = {"plugin": "ollama", "base_url": server.url, "api_key": KEY, "pull": "always"}
    config = {
        "providers": {"one": one},
        "routes": {"any": {"targets": ["one/no-such", "one/scripted"]}},
    }
    async with Host(config) as host:
        assert (await host.call(Chat("hi").to("any"))).text
        async with host.stream(Chat("hi").to("any")) as stream:
            async for _ in stream:
                pass
        assert str(stream.target) == "one/scripted"
