"""What goes wrong is told in the same words by the stock transport and by ours, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import socket

import httpx2
import pytest

OPEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def then(data, end):
    """Answer the first request with these bytes, and end: `fin`, `rst` or `stall`."""

    async def talk(wire):
        await wire.request()
        if data:
            await wire.send(data)
        if end == "rst":
            wire.reset()
        elif end == "stall":
            await wire.gone()

    return talk


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "data, end, error, words",
    [
        (b"", "fin", httpx2.RemoteProtocolError, "without sending"),
        (b"HTTP/1.1 200 O", "fin", httpx2.RemoteProtocolError, "without sending"),
        (b"", "rst", httpx2.ReadError, None),
        (b"HTTP/1.1 200 OK\r\nX-", "rst", httpx2.ReadError, None),
        (OPEN + b"half", "fin", httpx2.RemoteProtocolError, "without sending complete message body"),
        (OPEN + b"half", "rst", httpx2.ReadError, None),
        (CHUNKED + b"4\r\nhalf\r\n", "fin", httpx2.RemoteProtocolError, "incomplete chunked read"),
        (CHUNKED + b"9\r\nhalf", "fin", httpx2.RemoteProtocolError, "incomplete chunked read"),
        (CHUNKED + b"4\r\nhalf\r\n0\r\n", "fin", httpx2.RemoteProtocolError, "incomplete chunked read"),
        (CHUNKED + b"xyz\r\n", "stall", httpx2.RemoteProtocolError, None),
        (CHUNKED + b"4\r\nhalfx", "stall", httpx2.RemoteProtocolError, None),
        (b"nonsense\r\n\r\n", "stall", httpx2.RemoteProtocolError, None),
        (b"HTTP/1.1 abc OK\r\n\r\n", "stall", httpx2.RemoteProtocolError, None),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "stall", httpx2.RemoteProtocolError, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "stall", httpx2.RemoteProtocolError, None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_100_000, "stall", httpx2.RemoteProtocolError, None),
        (CHUNKED + b"0\r\nX: " + b"y" * 1_100_000, "stall", httpx2.RemoteProtocolError, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000, "stall", httpx2.RemoteProtocolError, None),
    ],
)
async def test_a_broken_answer(request, serve, client, method, data, end, error, words):
    stock = "stock" in request.node.callspec.id
    if stock and data.startswith(b"HTTP/1.1 100"):
        pytest.skip("the stock transport reads these for ever")
    server = await serve(then(data, end))
    with pytest.raises(error, match=words) as caught:
        await client().request(method, server.url, content=b"" if method == "GET" else b"body")
    assert type(caught.value) is error
    assert len(server.heads) == 1


async def test_what_came_before_the_break_is_read_first(serve, client):
    server = await serve(then(OPEN + b"half", "fin"))
    async with client().stream("GET", server.url) as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"half"
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(pieces)


async def test_a_closed_port_and_an_unknown_name_cannot_be_connected_to(client, monkeypatch):
    with socket.socket() as held:  # bound, so that nobody gets it meanwhile, and nobody listens
        held.bind(("127.0.0.1", 0))
        with pytest.raises(httpx2.ConnectError):
            await client().post(f"http://127.0.0.1:{held.getsockname()[1]}", content=b"x")

    async def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(httpx2.ConnectError, match="not known"):
        await client().get("http://unknown.invalid/")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/", "http://"])
async def test_only_http_is_spoken(client, url):
    with pytest.raises(httpx2.UnsupportedProtocol):
        await client().get(url)


@pytest.mark.parametrize(
    "name, value",
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X Y", "a"), ("X:", "a"), ("X\r\nY", "a"), ("X", "\0")],
)
async def test_what_would_be_no_http_is_not_sent(serve, client, name, value):
    server = await serve(then(OK, "fin"))
    with pytest.raises(httpx2.LocalProtocolError):
        await client().get(server.url, headers={name: value})
    assert server.heads == []


async def test_reading_takes_no_longer_than_it_may(serve, client):
    silent, halting = await serve(then(b"", "stall")), await serve(then(OPEN + b"half", "stall"))
    one = client()
    for server in (silent, halting):
        with pytest.raises(httpx2.ReadTimeout):
            await one.get(server.url, timeout=httpx2.Timeout(5, read=0.05))
        await asyncio.wait_for(server.wires[0].left.wait(), 30)


async def test_writing_takes_no_longer_than_it_may(serve, client):
    async def talk(wire):
        await asyncio.Event().wait()

    server = await serve(talk)
    with pytest.raises(httpx2.WriteTimeout):
        await client().post(server.url, content=bytes(64 << 20), timeout=httpx2.Timeout(5, write=0.05))


async def test_waiting_for_a_connection_takes_no_longer_than_it_may(serve, client):
    server = await serve(then(OPEN, "stall"))
    one = client(max_connections=1)
    async with one.stream("GET", server.url):
        with pytest.raises(httpx2.PoolTimeout):
            await one.get(server.url, timeout=httpx2.Timeout(5, pool=0.05))


async def test_connecting_takes_no_longer_than_it_may(serve, client, ca_file):
    async def talk(wire):
        await wire.gone()  # TLS is never answered

    server = await serve(talk)
    with pytest.raises(httpx2.ConnectTimeout):
        await client(ca_file=ca_file).get(
            server.url.replace("http:", "https:"), timeout=httpx2.Timeout(5, connect=0.05)
        )
    await asyncio.wait_for(server.wires[0].left.wait(), 30)


async def test_tls_with_who_speaks_none(serve, client, ca_file):
    async def talk(wire):
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(talk)
    with pytest.raises(httpx2.ConnectError):
        await client(ca_file=ca_file).get(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("data, whole", [(OPEN + b"half", False), (OK, True)])
async def test_an_end_under_tls_is_an_end(serve, client, server_tls, ca_file, data, whole):
    server = await serve(then(data, "fin"), server_tls)
    asked = client(ca_file=ca_file).get(server.url)
    if whole:
        assert (await asked).text == "ok"
    else:
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
            await asked


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_connection_that_dies_between_requests_makes_no_second_one(serve, client, method):
    async def talk(wire):
        await wire.request()
        await wire.send(OK)
        await wire.request()  # and gone, without an answer

    server = await serve(talk)
    one = client()
    await one.get(server.url)
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending"):
        await one.request(method, server.url, content=b"once")
    assert len(server.heads) == 2


async def test_a_connection_that_was_closed_while_idle_is_not_used(serve, client):
    closed = asyncio.Event()

    async def talk(wire):
        await wire.request()
        await wire.send(OK)
        wire.writer.close()
        closed.set()

    server = await serve(talk)
    one = client()
    for _ in range(3):
        closed.clear()
        assert (await one.post(server.url, content=b"x")).text == "ok"
        await closed.wait()
    assert len(server.wires) == 3


async def test_an_early_answer_to_a_body_that_is_not_read(serve, client):
    async def talk(wire):
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await wire.gone()

    server = await serve(talk)
    one = client()
    response = await one.post(server.url, content=bytes(4 << 20), timeout=10)
    assert (response.status_code, response.text) == (413, "big")


async def test_bytes_after_an_answer_are_nobodys_answer(serve, client):
    async def talk(wire):
        await wire.request()
        await wire.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await wire.gone()

    server = await serve(talk)
    one = client()
    if type(one._transport).__name__ != "FastTransport":
        pytest.skip("the stock transport gives them to the next request")
    for _ in range(2):
        assert (await one.get(server.url)).text == "ok"
    assert len(server.wires) == 2
