"""A host with `[http.fast]`, and the OpenAI provider over it."""

from __future__ import annotations

import json

import pytest
from gleitzeit_plugin_http_fast import Fast

from gleitzeit import Chat, Finished, Host
from gleitzeit.discovery import Index
from gleitzeit.errors import (
    CannotConnectError,
    ConfigError,
    GleitzeitError,
    MalformedAnswerError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TruncatedStreamError,
)
from gleitzeit.testing.openai_server import Answer, OpenAIServer

OpenAI = pytest.importorskip("gleitzeit_plugin_openai").OpenAI


@pytest.fixture
async def server():
    async with OpenAIServer() as running:
        yield running


def host(url, **more):
    provider = {"plugin": "openai", "base_url": url, "api_key": "none", "models": ["scripted-echo"]}
    alone = {"retry": {"max_retries": 0}, "circuit_breaker": {"enabled": False}}
    config = {"providers": {"local": {**provider, **alone}}, "http": {"fast": {}}, **more}
    return Host(config, plugins={"openai": OpenAI, "fast": Fast}, environ={}, index=Index())


CHAT = Chat("one two three").to("local/scripted-echo")


async def test_a_call_and_a_stream_go_over_it(server):
    async with host(server.url) as h:
        whole = await h.call(CHAT)
        async with h.stream(CHAT) as stream:
            events = [event async for event in stream]
        assert type(h._http._transport).__name__ == "FastTransport"
    assert stream.reply.text == whole.text
    assert whole.text
    assert type(events[-1]) is Finished


@pytest.mark.parametrize(
    "answer, error",
    [
        ({"fault": "reset"}, ResetError),
        ({"fault": "close"}, ResetError),
        ({"fault": "garbage"}, GleitzeitError),
        ({"status": 500, "body": {"error": {"message": "broken"}}}, ServerFaultError),
        ({"status": 429, "body": {"error": {"message": "slow down"}}}, RateLimitedError),
        ({"body": "<html>"}, MalformedAnswerError),
    ],
)
async def test_faults_of_whole_answers(server, answer, error):
    async with host(server.url) as h:
        server.answers.append(Answer(**answer))
        with pytest.raises(error):
            await h.call(CHAT)
        assert (await h.call(CHAT)).text


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("fault, error", [("reset", ResetError), ("cut", (ResetError, TruncatedStreamError))])
async def test_faults_of_streams(server, fault, after, error):
    async with host(server.url) as h:
        server.answers.append(Answer(text="one two three four", fault=fault, after=after))
        with pytest.raises(error):
            await h.stream(CHAT).collect()


async def test_leaving_a_stream_closes_its_connection_and_no_other(server):
    async with host(server.url) as h:
        server.answers.append(Answer(text="one two three", fault="stall", after=2))
        async with h.stream(CHAT) as stream:
            async for _ in stream:
                break
        assert (await h.call(CHAT)).text
        assert h._http._transport._pool._leases == 0


async def test_where_nobody_listens():
    async with host("http://127.0.0.1:1/v1") as h:
        with pytest.raises(CannotConnectError) as caught:
            await h.call(CHAT)
    assert caught.value.sent is False


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"proxy": "socks5://127.0.0.1:1"}, "proxy cannot be used"),
    ],
)
async def test_settings_that_it_cannot_keep_are_told(server, settings, words):
    async with host(server.url, host={"http": settings}) as h:
        with pytest.raises(ConfigError, match=words):
            await h.call(CHAT)


async def test_the_operators_limit_reaches_it(server):
    async with host(server.url, host={"http": {"max_connections": 3}}, http={"fast": {"keepalive": 7}}) as h:
        await h.call(CHAT)
        pool = h._http._transport._pool
        assert (pool._limit, pool._keepalive) == (3, 7.0)


def test_the_manifest_is_what_the_code_says():
    from importlib.resources import files

    manifest = json.loads(files("gleitzeit_plugin_http_fast").joinpath("gleitzeit.json").read_text())
    assert (manifest["name"], manifest["kind"]) == ("fast", "http")
    assert manifest["config_schema"] == Fast.Config.model_json_schema()
