"""The one HTTP client, and what its exceptions mean."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx2
import pytest

from gleitzeit.errors import (
    CannotConnectError,
    ConfigError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    ResetError,
)
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.wire.client import make_client, map_http_error

REQUEST = httpx2.Request("GET", "https://user:pw@example.org/v1/secret?key=k")


@pytest.mark.parametrize(
    "error, expected, sent",
    [
        (httpx2.ConnectError("refused"), CannotConnectError, False),
        (httpx2.ConnectTimeout(""), CannotConnectError, False),
        (httpx2.PoolTimeout(""), CannotConnectError, False),
        (httpx2.ProxyError(""), CannotConnectError, False),
        (httpx2.ReadTimeout(""), DeadlineError, True),
        (httpx2.WriteTimeout(""), DeadlineError, True),
        (httpx2.ReadError(""), ResetError, True),
        (httpx2.WriteError(""), ResetError, True),
        (httpx2.CloseError(""), ResetError, True),
        (httpx2.RemoteProtocolError(""), ResetError, True),
        (httpx2.DecodingError(""), MalformedAnswerError, True),
        (httpx2.LocalProtocolError(""), InvalidRequestError, False),
        (httpx2.UnsupportedProtocol(""), InvalidRequestError, False),
        (httpx2.InvalidURL(""), InvalidRequestError, False),
        (ConnectionResetError(), ResetError, True),
    ],
)
def test_exceptions_become_ours(error: Exception, expected: type[GleitzeitError], sent: bool) -> None:
    mapped = map_http_error(error, provider="p")
    assert type(mapped) is expected
    assert (mapped.sent, mapped.provider) == (sent, "p")


def test_a_failed_connection_says_where_and_why_but_no_credentials() -> None:
    error = map_http_error(httpx2.ConnectError("Name or service not known"), provider="p", url=REQUEST.url)
    assert str(error).startswith("p at https://example.org: cannot connect: Name or service not known (check")
    assert "pw" not in str(error)
    assert "key" not in str(error)


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    error = map_http_error(httpx2.LocalProtocolError("Illegal header value b'Bearer sk-secret'"))
    assert "sk-secret" not in str(error)


async def test_no_cookies_are_kept() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {"set-cookie": "a=1; Path=/"}, b"")

    async with LoopbackServer(handler) as server, make_client() as client:
        await client.get(server.address)
        await client.get(server.address)
    assert "cookie" not in server.requests[1].headers


async def test_connections_are_used_again() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, b"ok")

    async with LoopbackServer(handler) as server, make_client() as client:
        for _ in range(5):
            await client.get(server.address)
    assert server.connections == 1


async def test_redirects_are_not_followed() -> None:
    async def handler(call: Call) -> None:
        await call.send(302, {"location": "/elsewhere"}, b"")

    async with LoopbackServer(handler) as server, make_client() as client:
        response = await client.get(server.address)
    assert response.status_code == 302
    assert len(server.requests) == 1


async def test_nothing_is_tried_twice() -> None:
    async def handler(call: Call) -> None:
        call.reset()

    async with LoopbackServer(handler) as server, make_client() as client:
        with pytest.raises(httpx2.HTTPError):
            await client.get(server.address)
    assert len(server.requests) == 1


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, b"direct")

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with LoopbackServer(handler) as server, make_client() as client:
        assert (await client.get(server.address)).text == "direct"
        assert (await client.get(server.address.replace("127.0.0.1", "localhost"))).text == "direct"


async def test_a_configured_proxy_is_used() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, b"by proxy")

    async with LoopbackServer(handler) as proxy, make_client({"proxy": proxy.address}) as client:
        assert (await client.get("http://example.org/x")).text == "by proxy"
    assert proxy.requests[0].headers["host"] == "example.org"


async def test_a_transport_of_a_plugin_carries_everything() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=str(request.url))

    async with make_client(None, httpx2.MockTransport(answer)) as client:
        assert (await client.get("http://127.0.0.1:9/x")).text == "http://127.0.0.1:9/x"


def test_settings_that_cannot_hold_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        make_client({"ca_file": str(tmp_path / "absent.pem")})
    with pytest.raises(ConfigError, match="proxy"):
        make_client({"proxy": "ftp://proxy"})


async def test_settings_may_be_an_object() -> None:
    class Settings:
        verify_ssl = False
        max_connections = 3

    async with make_client(Settings()) as client:
        assert client.timeout.connect == 5.0
        assert client.timeout.read is None


async def test_the_time_to_connect_may_be_set() -> None:
    async with make_client({"connect_timeout": 0.5}) as client:
        assert (client.timeout.connect, client.timeout.read) == (0.5, None)


async def test_a_closed_port_cannot_be_connected_to() -> None:
    with socket.socket() as held:  # bound, so that nobody gets it meanwhile, and nobody listens
        held.bind(("127.0.0.1", 0))
        async with make_client() as client:
            with pytest.raises(httpx2.ConnectError) as caught:
                await client.get(f"http://127.0.0.1:{held.getsockname()[1]}")
    assert isinstance(map_http_error(caught.value), CannotConnectError)


async def test_waiting_for_an_answer_ends_with_the_callers_deadline() -> None:
    async def handler(call: Call) -> None:
        await call.stall()

    async with LoopbackServer(handler) as server, make_client() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get(server.address)
        await asyncio.wait_for(server.requests[0].closed.wait(), 30)
