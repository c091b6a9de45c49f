"""How each provider reaches its server: by proxy, over TLS, with further headers, with fresh secrets."""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from attrs import frozen

from gleitzeit import Chat, Host
from gleitzeit.errors import AuthenticationError, CannotConnectError

KEY: Final = "key-canary-0123456789"


@frozen
class Vendor:
    """A plugin, the fake that it talks to, and how it is told apart in configuration and options."""

    plugin: str
    fake: tuple[str, str]
    path: str = ""
    options: str = ""
    #: What only this vendor has words for.
    given: tuple[str, object] = ("metadata", {"team": "blue"})
    model: str = "scripted-echo"
    key: str = "api_key"
    config: tuple[tuple[str, str], ...] = ()

    def server(self, **given: Any) -> Any:
        """The fake."""
        return getattr(importlib.import_module(f"gleitzeit.testing.{self.fake[0]}"), self.fake[1])(**given)

    def host(self, address: str, **config: Any) -> Host:
        """A host with one instance of the plugin, which has the key unless it is given another."""
        entry = {"plugin": self.plugin, "base_url": address + self.path, self.key: KEY, **dict(self.config)}
        return Host(
            {"host": {"retry": {"max_retries": 0}}, "providers": {"one": {**entry, **config}}}, environ={}
        )


VENDORS: Final = {
    "openai": Vendor("openai", ("openai_server", "OpenAIServer"), "/v1", "openai"),
    "responses": Vendor(
        "openai", ("openai_server", "OpenAIServer"), "/v1", "openai", config=(("api", "responses"),)
    ),
    "azure": Vendor("azure-openai", ("openai_server", "OpenAIServer"), "/v1", "openai", key="token"),
    "anthropic": Vendor(
        "anthropic", ("anthropic_server", "AnthropicServer"), options="anthropic", given=("top_k", 5)
    ),
    "gemini": Vendor(
        "gemini", ("gemini_server", "GeminiServer"), options="gemini", given=("cachedContent", "c")
    ),
    "vertex": Vendor(
        "gemini",
        ("gemini_server", "GeminiServer"),
        options="gemini",
        given=("labels", {"team": "blue"}),
        key="access_token",
        config=(("project", "my-project"),),
    ),
    "ollama": Vendor(
        "ollama",
        ("ollama_server", "OllamaServer"),
        options="ollama",
        given=("keep_alive", "7m"),
        model="scripted",
    ),
}


async def said(host: Host, vendor: Vendor, stream: bool, **more: Any) -> str:
    """What the model answers."""
    request = Chat("hello", **more).to(f"one/{vendor.model}")
    return (await (host.stream(request).collect() if stream else host.call(request))).text


@pytest.fixture(params=sorted(VENDORS))
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found = VENDORS[request.param]
    pytest.importorskip(f"gleitzeit_plugin_{found.options}")
    return found


@pytest.fixture
async def server(vendor: Vendor) -> AsyncIterator[Any]:
    async with vendor.server(api_key=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.feature("S001-12")
async def test_certificates_are_checked_unless_somebody_says_otherwise(
    vendor: Vendor, authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    running = vendor.server(api_key=KEY)
    running._http.tls = context
    async with running:
        address = running._http.address
        assert address.startswith("https://")
        async with vendor.host(address) as host:
            with pytest.raises(CannotConnectError, match=r"(?i)certificate"):
                await said(host, vendor, False)
        assert not running.requests
        for config in ({"verify_ssl": False}, {"ca_file": str(trusted)}):
            async with vendor.host(address, **config) as host:
                assert await said(host, vendor, False)
                assert await said(host, vendor, True)


async def test_a_proxy_of_its_own_is_asked_for_every_address_but_loopback(
    vendor: Vendor, server: Any
) -> None:
    # A fake takes what a proxy takes: the whole address in the first line.
    proxy = server._http.address
    async with vendor.host("http://vendor.invalid", proxy=proxy) as host:
        assert await said(host, vendor, False)
        assert await said(host, vendor, True)
    assert {call.headers["host"] for call in server.requests} == {"vendor.invalid"}
    assert len(server.requests) == 2
    async with vendor.host(server._http.address, proxy="http://127.0.0.1:9") as host:
        assert await said(host, vendor, False)


@pytest.mark.feature("S001-11", "S002-13")
async def test_further_headers_and_options_of_the_vendors_go_as_they_are(vendor: Vendor) -> None:
    async with vendor.server() as server:
        config = {vendor.key: None, "headers": {"X-Team": "blue", "Authorization": f"Bearer {KEY}"}}
        name, value = vendor.given
        async with vendor.host(server._http.address, **config) as host:
            for stream in (False, True):
                await said(host, vendor, stream, options={vendor.options: {name: value}})
        for call in server.requests:
            assert (call.headers["x-team"], call.headers["authorization"]) == ("blue", f"Bearer {KEY}")
            assert call.json[name] == value
        assert len(server.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_secret_that_is_refused_is_read_anew_once(
    vendor: Vendor, server: Any, stream: bool, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(KEY)

    async with vendor.host(server._http.address, **{vendor.key: f"secret://file{secret}"}) as host:
        assert await said(host, vendor, stream)
        server._api_key = "key-of-tomorrow"
        secret.write_text("key-of-tomorrow")
        assert await said(host, vendor, stream)
        assert await said(host, vendor, stream)
        assert len(server.requests) == 4  # the second was refused, and sent again
        server._api_key = "key-of-somebody-else"
        with pytest.raises(AuthenticationError) as refused:
            await said(host, vendor, stream)
        assert "tomorrow" not in str(refused.value)
        assert len(server.requests) == 5  # a secret that has not changed is not sent again
