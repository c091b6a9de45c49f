"""What the core and providers rely on, of the stock transport and of ours alike."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OPEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


def answering(*answers, close=False):
    """Give the answers in turn, then the last one for ever."""

    async def talk(wire):
        left = list(answers)
        while True:
            await wire.request()
            await wire.send(left.pop(0) if len(left) > 1 else left[0])
            if close:
                return

    return talk


async def test_an_answer_has_status_reason_version_headers_and_body(serve, client):
    answer = b"HTTP/1.1 299 Very Fine\r\nX-Two: 1\r\nx-two:  2 \t\r\nX-Latin: caf\xe9\r\n"
    answer += b"Content-Length: 2\r\n\r\nok"
    server = await serve(answering(answer))
    response = await client().get(server.url)
    assert (response.status_code, response.reason_phrase, response.http_version) == (
        299,
        "Very Fine",
        "HTTP/1.1",
    )
    assert response.headers.raw == [
        (b"X-Two", b"1"),
        (b"x-two", b"2"),
        (b"X-Latin", b"caf\xe9"),
        (b"Content-Length", b"2"),
    ]
    assert response.content == b"ok"


async def test_a_request_is_sent_as_it_is(serve, client):
    server = await serve(answering(OK))
    async with client() as one:
        await one.post(
            f"{server.url}/a%2Fb?q=%20x&y",
            content=b"body",
            headers=[("X-B", "2"), ("x-a", "1"), ("X-B", "3")],
        )
    head = server.heads[0]
    host = f"127.0.0.1:{server.port}".encode()
    assert head.startswith(b"POST /a%2Fb?q=%20x&y HTTP/1.1\r\nHost: " + host + b"\r\n")
    assert [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-")] == [
        b"X-B: 2",
        b"x-a: 1",
        b"X-B: 3",
    ]
    assert b"Content-Length: 4\r\n" in head
    assert server.wires[0].bodies == [b"body"]


async def test_a_body_may_be_a_stream(serve, client):
    async def pieces():
        yield b"one "
        yield b""
        yield b"two"

    server = await serve(answering(OK))
    one = client()
    assert (await one.post(server.url, content=pieces())).text == "ok"
    assert (await one.post(server.url, content=pieces(), headers={"content-length": "7"})).text == "ok"
    assert server.wires[0].bodies == [b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n", b"one two"]


async def test_a_large_body_arrives_whole(serve, client):
    body = bytes(range(256)) * 40_000
    server = await serve(answering(OK))
    assert (await client().post(server.url, content=body)).text == "ok"
    assert server.wires[0].bodies == [body]


async def test_a_body_comes_piece_by_piece_as_it_arrives(serve, client):
    steps = asyncio.Queue()

    async def talk(wire):
        await wire.request()
        await wire.send(CHUNKED)
        while piece := await steps.get():
            await wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await wire.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        await wire.gone()

    server = await serve(talk)
    async with client().stream("GET", server.url) as response:
        seen = response.aiter_raw()
        for piece in (b"one", b"two", b"three"):
            steps.put_nowait(piece)
            assert await anext(seen) == piece
        steps.put_nowait(b"")
        assert [piece async for piece in seen] == []
    assert "x-trailer" not in response.headers


async def test_content_encodings_are_not_undone_below_the_client(serve, client):
    server = await serve(
        answering(OK.replace(b"Content-Length", b"Content-Encoding: gzip\r\nContent-Length"))
    )
    async with client().stream("GET", server.url) as response:
        assert b"".join([piece async for piece in response.aiter_raw()]) == b"ok"


@pytest.mark.parametrize(
    "answer, body",
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (CHUNKED + b"3;ext=1\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
async def test_all_framings(serve, client, answer, body):
    server = await serve(answering(answer, close=True))
    assert (await client().get(server.url)).content == body


@pytest.mark.parametrize("size", [1, 7])
async def test_bytes_may_come_in_any_pieces(serve, client, size):
    answer = (
        b"HTTP/1.1 200 Fine\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )

    async def talk(wire):
        await wire.request()
        for at in range(0, len(answer), size):
            await wire.send(answer[at : at + size])
            await asyncio.sleep(0)
        await wire.gone()

    server = await serve(talk)
    response = await client().get(server.url)
    assert (response.content, response.headers["x-a"], response.reason_phrase) == (b"abcde", "b", "Fine")


async def test_head_has_no_body(serve, client):
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    one = client()
    for _ in range(2):
        response = await one.head(server.url)
        assert (response.content, response.headers["content-length"]) == (b"", "5")


async def test_connections_are_used_again_after_whole_answers_only(serve, client):
    server = await serve(answering(OK))
    one = client()
    for _ in range(3):
        await one.get(server.url)
    async with one.stream("GET", server.url) as response:
        await response.aread()
    assert len(server.wires) == 1

    async def half(wire):
        await wire.request()
        await wire.send(OPEN + b"half")
        await wire.gone()

    other = await serve(half)
    for _ in range(2):
        async with one.stream("GET", other.url) as response:
            assert await anext(response.aiter_raw()) == b"half"
    assert len(other.wires) == 2


async def test_leaving_in_the_middle_of_a_body_closes_the_connection(serve, client):
    gone = asyncio.Event()

    async def talk(wire):
        await wire.request()
        await wire.send(OPEN + b"half")
        await wire.gone()
        gone.set()

    server = await serve(talk)
    async with client().stream("GET", server.url):
        pass
    await asyncio.wait_for(gone.wait(), 30)


async def test_an_unread_answer_goes_with_its_client(serve, client):
    gone = asyncio.Event()

    async def talk(wire):
        await wire.request()
        await wire.send(OPEN)
        await wire.gone()
        gone.set()

    server = await serve(talk)
    async with client() as one:
        response = await one.send(one.build_request("GET", server.url), stream=True)
    await asyncio.wait_for(gone.wait(), 30)
    await response.aclose()


async def test_no_more_connections_than_allowed(serve, client):
    now = most = 0

    async def talk(wire):
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            await answering(OK)(wire)
        finally:
            now -= 1

    server = await serve(talk)
    one = client(max_connections=4)
    answers = await asyncio.gather(*(one.get(server.url) for _ in range(64)))
    assert [answer.text for answer in answers] == ["ok"] * 64
    assert most <= 4


async def test_sixty_four_at_once_get_each_their_own_answer(serve, client):
    async def talk(wire):
        while True:
            path = (await wire.request()).split(b" ")[1]
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    server = await serve(talk)
    one = client()

    async def ask(number):
        for turn in range(5):
            assert (await one.get(f"{server.url}/{number}-{turn}")).text == f"/{number}-{turn}"

    await asyncio.gather(*(ask(number) for number in range(64)))


async def test_an_idle_connection_of_another_server_makes_room(serve, client):
    first, second = await serve(answering(OK)), await serve(answering(OK))
    one = client(max_connections=1)
    for server in (first, second, first):
        assert (await one.get(server.url)).text == "ok"


async def test_tls_with_the_operators_authority(serve, client, server_tls, ca_file):
    server = await serve(answering(OK), server_tls)
    one = client(ca_file=ca_file)
    for _ in range(3):
        assert (await one.get(server.url)).text == "ok"
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        await client().get(server.url)
    assert (await client(verify_ssl=False).get(server.url)).text == "ok"


async def test_tls_checks_the_name_and_may_be_told_another(serve, client, server_tls, ca_file):
    server = await serve(answering(OK), server_tls)
    one = client(ca_file=ca_file)
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate|mismatch"):
        await one.get(server.url, extensions={"sni_hostname": "example.com"})
    assert (await one.get(server.url, extensions={"sni_hostname": "example.org"})).text == "ok"


async def test_a_slow_reader_slows_the_server(serve, client):
    sent = 0

    async def talk(wire):
        nonlocal sent
        await wire.request()
        await wire.send(CHUNKED)
        piece = b"%x\r\n%s\r\n" % (65536, bytes(65536))
        for _ in range(1024):
            await wire.send(piece)
            sent += 1
        await wire.send(b"0\r\n\r\n")
        await wire.gone()

    server = await serve(talk)
    async with client().stream("GET", server.url) as response:
        chunks = response.aiter_raw()
        size = len(await anext(chunks))
        before = -1
        while before != sent:  # until the server can send no more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 512
        async for chunk in chunks:
            size += len(chunk)
    assert size == 1024 * 65536
