"""Configuration: what is taken, what is refused, and what of it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_anthropic import Anthropic, AnthropicConfig
from pydantic import ValidationError

from gleitzeit.errors import InvalidRequestError
from gleitzeit.testing import FakeContext
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat, Stream

Make = Callable[..., Anthropic]
KEY = "sk-ant-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "ftp://x"},
        {"base_url": "https://key@host"},
        {"base_url": "https://host?key=1"},
        {"api_key": "line\nbreak-secret"},
        {"auth_token": "schlüssel-secret"},
        {"headers": {"X": "\u00e4-secret"}},
        {"headers": {"": "x"}},
        {"version": "a,b"},
        {"betas": ["ok", "no\n"]},
        {"max_tokens": 0},
        {"thinking_budgets": {"low": 100}},
        {"omit": {"*": ["max_tokens"]}},
        {"connect_timeout": 0},
        {"unknown": 1},
    ],
)
def test_what_does_not_hold_is_refused_without_showing_secrets(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        AnthropicConfig(**given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
async def test_addresses_with_and_without_version(make: Make, server: AnthropicServer, end: str) -> None:
    await make(base_url=server.url + end).call(Chat("x").to("scripted-echo"))
    assert server.requests[0].path == "/v1/messages"


@pytest.mark.parametrize(
    "url, official, local",
    [
        ("https://api.anthropic.com", True, False),
        ("https://acme.services.ai.azure.com/anthropic", True, False),
        ("https://api.anthropic.com.example", False, False),
        ("http://127.0.0.1:11434", False, True),
        ("http://localhost:1/v1", False, True),
    ],
)
def test_where_a_server_is(url: str, official: bool, local: bool) -> None:
    config = AnthropicConfig(base_url=url)
    assert (config.official, config.loopback) == (official, local)


async def test_headers(make: Make, server: AnthropicServer) -> None:
    provider = make(betas=["one"], version="2024-01-01", headers={"X-Team": "blue"})
    for betas in (["two", "one"], []):
        chat = Chat("x", options={"anthropic": {"betas": betas}})
        await provider.call(chat.to("scripted-echo"))
    first, second = (call.headers for call in server.requests)
    assert (first["anthropic-beta"], second["anthropic-beta"]) == ("one,two", "one")
    assert (first["anthropic-version"], first["x-team"], first["x-api-key"]) == ("2024-01-01", "blue", KEY)
    with pytest.raises(InvalidRequestError, match="betas"):
        await provider.call(Chat("x", options={"anthropic": {"betas": "one"}}).to("scripted-echo"))


@pytest.mark.feature("S004-09")
@pytest.mark.parametrize("stream", [False, True])
async def test_who_asks_is_told_and_a_refusal_has_a_reason_of_its_own(
    make: Make, server: AnthropicServer, stream: bool
) -> None:
    """What this API has of safety settings: an id to trace abuse with, and refusals with their category."""
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    server.answers.append(Answer("No.", stop_reason="refusal", told={"stop_details": details}))
    provider = make(options={"metadata": {"user_id": "u-1"}})
    answer = await provider.call(Chat("x").to("scripted-echo", stream=stream))
    reply = await answer.collect() if isinstance(answer, Stream) else answer
    assert server.requests[0].json["metadata"] == {"user_id": "u-1"}
    assert (reply.finish_reason, reply.data) == ("refusal", {"stop_details": details})


async def test_a_token_takes_the_place_of_a_key() -> None:
    async with AnthropicServer() as server, FakeContext("acme") as context:
        config = Anthropic.Config(base_url=server.url, api_key=KEY, auth_token="tok-123456")
        await Anthropic(config, context).call(Chat("x").to("scripted-echo"))
        headers = server.requests[0].headers
    assert (headers["authorization"], headers.get("x-api-key")) == ("Bearer tok-123456", None)
    assert "123456" not in repr(config)


async def test_a_client_of_its_own_is_closed(make: Make) -> None:
    provider = make(verify_ssl=False, connect_timeout=3, read_timeout=5)
    async with provider.lifespan():
        await provider.call(Chat("x").to("scripted-echo"))
        own = provider._own
        assert own is not None
    assert own.is_closed
    assert repr(provider).startswith("<Anthropic 'acme' at http://127.0.0.1")
