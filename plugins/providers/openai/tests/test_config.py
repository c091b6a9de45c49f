"""Configuration: addresses, keys, and what is never shown."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from gleitzeit_plugin_openai import OpenAI, OpenAIConfig
from pydantic import ValidationError

from gleitzeit.errors import CannotConnectError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.testing import FakeContext
from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.values import Chat, Reply
from gleitzeit.wire.client import make_client

KEY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "url, local, official",
    [
        ("https://api.openai.com/v1", False, True),
        ("https://acme.openai.azure.com/openai/v1/", False, True),
        ("https://openrouter.ai/api/v1", False, False),
        ("http://127.0.0.1:8000/v1", True, False),
        ("http://127.1.2.3/v1", True, False),
        ("http://[::1]:8000/v1", True, False),
        ("http://localhost/v1", True, False),
        ("http://models.localhost/v1", True, False),
        ("http://localhost.example.org/v1", False, False),
        ("http://10.0.0.1/v1", False, False),
    ],
)
async def test_where_a_server_is(url: str, local: bool, official: bool) -> None:
    async with FakeContext("x") as context:
        assert OpenAI(OpenAIConfig(base_url=url), context).local is local
    assert OpenAIConfig(base_url=url).official is official


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "api.openai.com"},
        {"base_url": "ftp://example.org"},
        {"base_url": "https://user:hunter2@example.org/v1"},
        {"base_url": "https://example.org/v1?key=hunter2"},
        {"api_key": "hunter2\n"},
        {"api_key": "hunter2ü"},
        {"headers": {"X-Key": "hunter2\r\n"}},
        {"connect_timeout": 0},
        {"embedding_batch": 0},
        {"max_tokens_field": "tokens"},
        {"unknown_key": 1},
    ],
)
def test_what_cannot_hold_is_refused_without_showing_it(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAIConfig(**values)
    assert "hunter2" not in str(caught.value)


def test_a_trailing_slash_does_no_harm() -> None:
    assert OpenAIConfig(base_url="http://localhost/v1/").base_url == "http://localhost/v1"


async def test_the_key_is_sent_and_never_shown(
    make: Callable[..., OpenAI], server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    provider = make()
    await provider.call(Chat("x").to("scripted-echo"))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{provider!r} {provider.config!r} {vars(provider.config)} {caplog.text}"


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_no_authorization_is_sent(make: Callable[..., OpenAI], key: str | None) -> None:
    async with OpenAIServer() as open_server:
        await make(base_url=open_server.url, api_key=key).call(Chat("x").to("scripted-echo"))
        assert "authorization" not in open_server.requests[0].headers


async def test_own_headers_may_carry_the_credential(make: Callable[..., OpenAI]) -> None:
    async with OpenAIServer() as open_server:
        provider = make(base_url=open_server.url, api_key=None, headers={"api-key": "azure-style"})
        await provider.call(Chat("x").to("scripted-echo"))
        assert open_server.requests[0].headers["api-key"] == "azure-style"


async def test_an_instance_that_checks_no_certificates_has_a_client_of_its_own(
    make: Callable[..., OpenAI], server: OpenAIServer
) -> None:
    provider = make(verify_ssl=False)
    async with provider.lifespan():
        reply = await provider.call(Chat("x").to("scripted-echo"))
        assert isinstance(reply, Reply)
        assert provider._own is not None
        assert provider._own is not provider.context.http
        assert _context(provider._own).verify_mode is ssl.CERT_NONE
        assert _context(provider.context.http).verify_mode is ssl.CERT_REQUIRED
    assert provider._own is None


def _context(client: Any) -> ssl.SSLContext:
    found: ssl.SSLContext = client._transport._pool._ssl_context
    return found


async def test_without_a_word_of_its_own_an_instance_connects_as_the_host_says() -> None:
    async with make_client({"connect_timeout": 0.25}) as client, FakeContext("acme", http=client) as context:
        asked: list[httpx2.Request] = []

        async def note(request: httpx2.Request) -> None:
            asked.append(request)

        client.event_hooks = {"request": [note]}
        for config, timeout in (({}, (0.25, None)), ({"read_timeout": 3.0}, (0.25, 3.0))):
            provider = OpenAI(OpenAI.Config(base_url="http://127.0.0.1:9/v1", **config), context)
            with pytest.raises(CannotConnectError):
                await provider.call(Chat("x").to("m"))
            sent = asked.pop().extensions["timeout"]
            assert (sent["connect"], sent["read"]) == timeout
        careless = OpenAI(OpenAI.Config(base_url="http://127.0.0.1:9/v1", verify_ssl=False), context)
        async with careless.lifespan():
            assert careless._client().timeout.connect == 0.25


async def test_the_connect_timeout_is_the_instances_own(make: Callable[..., OpenAI]) -> None:
    provider = make(base_url="http://127.0.0.1:9/v1", connect_timeout=0.5, read_timeout=3.0)
    assert provider.exchange._extensions == {
        "timeout": {"connect": 0.5, "read": 3.0, "write": None, "pool": None}
    }
    with pytest.raises(CannotConnectError):
        await provider.call(Chat("x").to("m"))


def test_the_hooks_fit(make: Callable[..., OpenAI]) -> None:
    assert {"call", "provide_models", "health", "lifespan"} <= set(check_hooks(make(), "openai"))
