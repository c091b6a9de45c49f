"""Configuration: addresses, keys, times, and what is never shown."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama, OllamaConfig
from pydantic import ValidationError

from gleitzeit.errors import CannotConnectError, InvalidRequestError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.testing import FakeContext
from gleitzeit.testing.ollama_server import OllamaServer
from gleitzeit.values import Chat, Reply

KEY = "ollama-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "url, local",
    [
        ("http://127.0.0.1:11434", True),
        ("http://[::1]:11434/", True),
        ("http://localhost:11434", True),
        ("http://ollama.localhost", True),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1:11434", False),
        ("https://ollama.com", False),
    ],
)
async def test_where_a_server_is(url: str, local: bool, context: FakeContext) -> None:
    assert Ollama(OllamaConfig(base_url=url), context).local is local


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "127.0.0.1:11434"},
        {"base_url": "http://127.0.0.1:11434/v1"},
        {"base_url": "http://127.0.0.1:11434/api/"},
        {"base_url": "https://user:hunter2@example.org"},
        {"base_url": "https://example.org?key=hunter2"},
        {"api_key": "hunter2\n"},
        {"api_key": "hunter2ü"},
        {"headers": {"X-Key": "hunter2\r\n"}},
        {"keep_alive": "hunter2"},
        {"num_ctx": 0},
        {"pull": "sometimes"},
        {"think": "hunter2"},
        {"embedding_batch": 0},
        {"unknown_key": 1},
    ],
)
def test_what_cannot_hold_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        OllamaConfig(**values)
    if "keep_alive" not in values:
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given, sent",
    [(0, "0s"), (-1, "-1s"), ("-1", "-1s"), ("5m", "5m"), (1.5, "1.5s"), ("1h30m", "1h30m"), (True, None)],
)
async def test_times_are_sent_as_the_server_reads_them(
    make: Callable[..., Ollama],
    server: OllamaServer,
    ask: Callable[..., Awaitable[Reply]],
    given: Any,
    sent: Any,
) -> None:
    chat = Chat("x", options={"ollama": {"keep_alive": given}})
    if sent is None:
        with pytest.raises(InvalidRequestError):
            await ask(chat)
        return
    await ask("x", by=make(keep_alive=given))
    await ask(chat)
    assert [call.json["keep_alive"] for call in server.requests] == [sent, sent]


async def test_the_key_is_sent_and_never_shown(
    make: Callable[..., Ollama],
    server: OllamaServer,
    ask: Callable[..., Awaitable[Reply]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    provider = make(headers={"x-extra": "also-secret"})
    await ask("x", by=provider)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[0].headers["x-extra"] == "also-secret"
    shown = f"{provider!r} {provider.config!r} {vars(provider.config)} {caplog.text}"
    assert KEY not in shown
    assert "also-secret" not in shown


async def test_without_a_key_no_authorization_is_sent(
    make: Callable[..., Ollama], ask: Callable[..., Awaitable[Reply]]
) -> None:
    async with OllamaServer() as open_server:
        await ask("x", by=make(base_url=open_server.url, api_key=None))
        assert "authorization" not in open_server.requests[0].headers


async def test_an_instance_that_checks_no_certificates_has_a_client_of_its_own(
    make: Callable[..., Ollama], ask: Callable[..., Awaitable[Reply]]
) -> None:
    provider = make(verify_ssl=False)
    async with provider.lifespan():
        await ask("x", by=provider)
        assert provider._own is not None
        assert provider._own is not provider.context.http
        found: Any = provider._own
        assert found._transport._pool._ssl_context.verify_mode is ssl.CERT_NONE
    assert provider._own is None


async def test_timeouts_are_the_instances_own(make: Callable[..., Ollama]) -> None:
    provider = make(base_url="http://127.0.0.1:9", connect_timeout=0.5, read_timeout=3.0)
    assert provider.exchange._extensions == {
        "timeout": {"connect": 0.5, "read": 3.0, "write": None, "pool": None}
    }
    with pytest.raises(CannotConnectError):
        await provider.call(Chat("x").to("m"))


def test_the_hooks_fit(provider: Ollama) -> None:
    assert {"call", "provide_models", "health", "lifespan"} <= set(check_hooks(provider, "ollama"))
