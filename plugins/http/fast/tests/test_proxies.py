"""Proxies: the operator's and the environment's, forwarding and tunnelling, with a password."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import httpx2
import pytest
from gleitzeit_plugin_http_fast.routes import Routes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AUTH = b"Proxy-Authorization: Basic " + b64encode(b"ada:s3cret") + b"\r\n"


async def answering(wire):
    while True:
        await wire.request()
        await wire.send(OK)


def tunnelling(target, refusal=None):
    """A proxy that leads every CONNECT to `target()`, whatever it asks for."""

    async def talk(wire):
        await wire.request()
        if refusal:
            await wire.send(refusal)
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", target())
        await wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
            finally:
                sink.close()

        try:
            await asyncio.gather(pump(wire.reader, writer), pump(reader, wire.writer))
        finally:
            writer.transport.abort()

    return talk


def with_password(proxy):
    return proxy.url.replace("://", "://ada:s3cret@")


async def test_http_goes_to_the_proxy_with_its_whole_address(serve, client):
    proxy = await serve(answering)
    one = client(proxy=with_password(proxy))
    for path in ("/x?y=1", "/z"):
        assert (await one.get(f"http://example.org{path}")).text == "ok"
    assert (await one.get("http://example.com:8080/")).text == "ok"
    first, second, third = proxy.heads
    assert first.startswith(b"GET http://example.org/x?y=1 HTTP/1.1\r\n")
    assert third.startswith(b"GET http://example.com:8080/ HTTP/1.1\r\n")
    assert AUTH in first
    assert AUTH in second
    assert b"Host: example.org\r\n" in first


async def test_https_goes_through_a_tunnel(serve, client, server_tls, ca_file):
    server = await serve(answering, server_tls)
    proxy = await serve(tunnelling(lambda: server.port))
    one = client(proxy=with_password(proxy), ca_file=ca_file)
    for _ in range(2):
        assert (await one.get("https://example.org/x")).text == "ok"
    assert len(proxy.heads) == 1
    assert proxy.heads[0].startswith(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n")
    assert AUTH in proxy.heads[0]
    assert server.heads[0].startswith(b"GET /x HTTP/1.1\r\n")
    assert b"Proxy-Authorization" not in server.heads[0]


async def test_the_certificate_behind_a_tunnel_is_checked(serve, client, server_tls, ca_file):
    server = await serve(answering, server_tls)
    proxy = await serve(tunnelling(lambda: server.port))
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate|mismatch"):
        await client(proxy=proxy.url, ca_file=ca_file).get("https://example.com/")
    assert server.heads == []


async def test_a_proxy_may_speak_tls_itself(serve, client, server_tls, ca_file):
    server = await serve(answering, server_tls)
    proxy = await serve(tunnelling(lambda: server.port), server_tls)
    one = client(proxy=proxy.url, ca_file=ca_file)
    if type(one._transport).__name__ != "FastTransport":
        pytest.skip("the stock transport does not give `ca_file` to its proxies")
    assert (await one.get("https://example.org/x")).text == "ok"
    assert server.heads[0].startswith(b"GET /x HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway"])
async def test_a_proxy_that_refuses_is_told(serve, client, status):
    proxy = await serve(tunnelling(None, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"))
    one = client(proxy=proxy.url, max_connections=1)
    for _ in range(2):  # the lease comes back
        with pytest.raises(httpx2.ProxyError, match=status.decode()):
            await one.get("https://example.org/")


async def test_a_proxy_that_is_not_there_cannot_be_connected_to(client):
    with pytest.raises(httpx2.ConnectError):
        await client(proxy="http://127.0.0.1:1").get("https://example.org/")


async def test_a_proxy_that_hangs_in_the_tunnel_is_given_up(serve, client):
    async def talk(wire):
        await wire.request()
        await wire.gone()

    proxy = await serve(talk)
    one = client(proxy=proxy.url, max_connections=1)
    for number in range(2):
        task = asyncio.create_task(one.get("https://example.org/"))
        while len(proxy.heads) <= number:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(proxy.wires[number].left.wait(), 30)


async def test_no_proxy_stands_before_loopback(serve, client, monkeypatch):
    server = await serve(answering)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await client().get(server.url)).text == "ok"
    assert (await client(proxy="http://127.0.0.1:1").get(server.url)).text == "ok"


async def test_a_proxy_of_the_environment_holds_for_the_rest(serve, client, monkeypatch):
    proxy = await serve(answering)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    assert (await client().get("http://example.org/")).text == "ok"
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    "no, url, direct",
    [
        ("example.org", "http://example.org", True),
        ("example.org", "http://www.example.org", True),
        ("example.org", "http://notexample.org", False),
        (".example.org", "http://www.example.org", True),
        (".example.org", "http://example.org", False),
        ("EXAMPLE.org , other", "http://example.org", True),
        ("*", "https://example.org", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("fd00::/8", "http://[fd00::1]", True),
        ("example.org:8080", "http://example.org:8080", True),
        ("example.org:8080", "http://example.org", False),
        ("", "http://example.org", False),
    ],
)
def test_exceptions_of_the_environment(no, url, direct):
    environment = {"http": "proxy.invalid:3128", "https": "http://proxy.invalid", "no": no}
    route = Routes(environment=lambda: environment).find(httpx2.URL(url))
    assert (route.proxy is None) == direct


def test_a_route_tells_no_password():
    route = Routes("http://ada:s3cret@proxy.invalid:1").find(httpx2.URL("http://example.org"))
    assert "s3cret" not in repr(route)
    assert "YWRh" not in repr(route)


def test_routes_do_not_grow_for_ever():
    routes = Routes(environment=dict)
    for number in range(3000):
        routes.find(httpx2.URL(f"http://host{number}.invalid"))
    assert len(routes._known) <= 1024
