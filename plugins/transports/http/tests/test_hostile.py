"""Servers that lie, flood or point elsewhere: each costs its own request, and nobody else anything."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx2
import pytest
from gleitzeit_plugin_mcp_http.oauth import may_visit

from gleitzeit.errors import AuthenticationError, GleitzeitError, MalformedAnswerError, ResetError
from gleitzeit.testing.loopback import Call, LoopbackServer
from plugins.transports.http.tests.authority import Guarded
from plugins.transports.http.tests.conftest import Connect
from plugins.transports.http.tests.script import (
    EVENTS,
    MODERN,
    answer,
    ask,
    begin,
    event,
    heard,
    result,
    say,
    tell,
)

#: 64 MiB of nothing.
BOMB = gzip.compress(bytes(2**26), 6)


def packed(data: bytes, coding: str) -> bytes:
    return {"gzip": gzip.compress, "deflate": zlib.compress, "raw": lambda text: zlib.compress(text)[2:-4]}[
        coding
    ](data)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_packed_answers_are_unpacked(connect: Connect, coding: str, kind: str) -> None:
    async def reply(call: Call) -> None:
        said = result(call.json["id"], text="x" * 600_000)
        text = event(said) if "stream" in kind else json.dumps(said).encode()
        head = {"content-type": kind, "content-encoding": "deflate" if coding == "raw" else coding}
        body = packed(text, coding)
        await call.start(200, head)
        for number in range(0, len(body), 7):
            await call.write(body[number : number + 7])
        await call.end()

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await wire.send(ask(1, headers=MODERN))
        assert len((await heard(wire))["result"]["text"]) == 600_000


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "refusal"])
async def test_a_bomb_is_not_unpacked_beyond_the_limit(connect: Connect, kind: str) -> None:
    async def reply(call: Call) -> None:
        head = {"content-type": "application/json" if kind == "refusal" else kind, "content-encoding": "gzip"}
        await call.send(400 if kind == "refusal" else 200, head, BOMB)

    async with (
        LoopbackServer(reply) as server,
        connect(f"{server.address}/mcp", max_message_bytes=2**20) as wire,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(GleitzeitError):
                await asked(wire)
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()


async def asked(wire: Any, **params: Any) -> None:
    """Ask; raises what becomes of it, whether before the answer began or in the midst of it."""
    await wire.send(ask(1, headers=MODERN, **params))
    message = await heard(wire)
    if "error" in message:
        raise ResetError(message["error"]["message"], sent=message["error"]["data"]["sent"])


async def test_headers_of_one_name_are_sent_once_whatever_their_case(connect: Connect) -> None:
    given = {"Accept-Encoding": "zstd", "AUTHORIZATION": "Bearer mine", "X-Mine": "1"}
    heads: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(f"http://127.0.0.1:{port}/mcp", headers=given) as wire:
        with pytest.raises(ResetError):
            await wire.send(ask(1, headers={**MODERN, "Authorization": "Bearer theirs"}))
    server.close()
    await server.wait_closed()
    names = [line.partition(b":")[0].lower() for line in heads[0].splitlines()[1:-1]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "nonsense"])
async def test_other_packings_are_neither_asked_for_nor_tried(connect: Connect, coding: str) -> None:
    asked: list[str] = []

    async def reply(call: Call) -> None:
        asked.append(call.headers["accept-encoding"])
        await call.send(200, {"content-type": "application/json", "content-encoding": coding}, b"x")

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        with pytest.raises(MalformedAnswerError, match="encoding"):
            await wire.send(ask(1, headers=MODERN))
    assert asked == ["gzip, deflate"]


@pytest.mark.parametrize("retry", ["9" * 400, "0", "-5", "1e9"])
async def test_a_senseless_time_to_come_back_harms_nothing(connect: Connect, retry: str) -> None:
    async def reply(call: Call) -> None:
        if call.json is not None and call.json.get("method") == "tools/call":
            text = b"retry: " + retry.encode() + b"\n" + event(result(call.json["id"], fine=True))
            await call.send(200, EVENTS, text)
        else:
            await answer(call)

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await begin(wire)
        await wire.send(ask(1))
        assert (await heard(wire))["result"] == {"fine": True}


@pytest.mark.parametrize("id", ["é ⏱", "x" * 3000, "\x01", "a\tb"])
async def test_the_id_of_an_event_may_be_any_text(connect: Connect, id: str) -> None:
    """It goes back as the bytes that it came as; the stream is resumed, and the session stands."""
    came: list[str] = []
    again = asyncio.Event()

    async def reply(call: Call) -> None:
        if call.method != "GET":
            await answer(call)
        elif "last-event-id" in call.headers:
            came.append(call.headers["last-event-id"])
            again.set()
            await call.stall()
        elif not came:
            await call.start(200, EVENTS)
            await call.write(
                b"retry: 1\n" + f"id: {id}\n".encode() + event({"jsonrpc": "2.0", "method": "x"})
            )
            await call.end()

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await begin(wire)
        assert (await heard(wire))["method"] == "x"
        if id.isprintable():
            await again.wait()
            assert came[0].encode("latin-1").decode() == id
        await wire.send(ask(1))
        assert (await heard(wire))["id"] == 1
        assert not wire.lost.is_set()


async def test_a_notification_is_sent_once_it_is_taken_whatever_comes_then(connect: Connect) -> None:
    async def reply(call: Call) -> None:
        if "id" not in (call.json or {"id": 0}):
            await call.start(200, EVENTS)
            await call.write(b": still here\n\n")
            await call.stall()
        else:
            await answer(call)

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await begin(wire)
        for _ in range(3):
            await wire.send(tell("notifications/roots/list_changed"))
        await wire.send(ask(1))
        assert (await heard(wire))["id"] == 1


async def test_what_is_said_unasked_and_cannot_be_read_is_passed_over(connect: Connect) -> None:
    """The stream is opened anew; it was given up for good, without a word."""
    streams = 0

    async def reply(call: Call) -> None:
        nonlocal streams
        if call.method != "GET":
            await answer(call)
            return
        streams += 1
        first = {"data: " + "x" * 9000: EVENTS, "\xff": {**EVENTS, "content-encoding": "gzip"}}
        text, head = list(first.items())[streams - 1] if streams <= len(first) else ("", EVENTS)
        await call.start(200, head)
        await call.write(text.encode("latin-1") or event({"jsonrpc": "2.0", "method": "x"}))
        if streams > len(first):
            await call.stall()
        await call.end()

    async with (
        LoopbackServer(reply) as server,
        connect(f"{server.address}/mcp", max_message_bytes=8000) as wire,
    ):
        await begin(wire)
        assert (await heard(wire))["method"] == "x"
        assert not wire.lost.is_set()


async def test_an_answer_over_the_stream_does_not_wait_for_the_end_of_its_post(connect: Connect) -> None:
    said: asyncio.Queue[Any] = asyncio.Queue()

    async def reply(call: Call) -> None:
        if call.method == "GET":
            await call.start(200, EVENTS)
            await call.write(b"event: endpoint\ndata: /messages\n\n")
            while True:
                await call.write(event(result(await said.get())))
        said.put_nowait(call.json["id"])
        await call.start(200, {"content-type": "text/plain"})
        await call.write(b"Acc")
        await call.stall()

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp", mode="sse") as wire:
        for number in range(3):
            await wire.send(ask(number))
            assert (await heard(wire))["id"] == number


@pytest.mark.parametrize("session", ["é", "x\ty", "", "\x7f"])
async def test_a_session_that_no_header_can_carry_is_told_at_once(connect: Connect, session: str) -> None:
    async def reply(call: Call) -> None:
        head = {"content-type": "application/json", "mcp-session-id": session}
        body = json.dumps(result(call.json["id"], protocolVersion="2025-11-25", capabilities={})).encode()
        await call.send(200, {key: value.encode().decode("latin-1") for key, value in head.items()}, body)

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        with pytest.raises(MalformedAnswerError, match="session"):
            await wire.send(ask(0, "initialize"))


@pytest.mark.parametrize("status", [100, 101, 103, 199, 202, 204, 205, 299, 304, 600, 999])
async def test_an_odd_status_is_an_error_and_not_a_wait(connect: Connect, status: int) -> None:
    async def reply(call: Call) -> None:
        await call.raw(f"HTTP/1.1 {status} Odd\r\ncontent-length: 0\r\n\r\n".encode())

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        with pytest.raises(GleitzeitError):
            await wire.send(ask(1, headers=MODERN))


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Type: APPLICATION/JSON ; charset=utf-8\r\ncontent-length: @\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: @\r\nset-cookie: a=b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: @\r\n\r\n",
    ],
)
async def test_odd_but_whole_answers_are_read(connect: Connect, head: str) -> None:
    async def reply(call: Call) -> None:
        body = json.dumps(result(call.json["id"], fine=True)).encode()
        await call.raw(head.replace("@", str(len(body))).encode() + body)

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await wire.send(ask(1, headers=MODERN))
        assert (await heard(wire))["result"] == {"fine": True}


@pytest.mark.parametrize("length", ["5", "5000", "-1", "abc", "10, 11", "1_0", "9" * 30])
async def test_a_length_that_lies_is_an_error_of_that_request(connect: Connect, length: str) -> None:
    async def reply(call: Call) -> None:
        if call.json["id"] == 1:
            head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            await call.raw(head.encode() + json.dumps(result(1)).encode())
        else:
            await say(call, result(call.json["id"]))

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        with pytest.raises(GleitzeitError) as caught:
            await wire.send(ask(1, headers=MODERN))
        assert caught.value.sent is True
        await wire.send(ask(2, headers=MODERN))
        assert (await heard(wire))["id"] == 2


async def test_an_answer_cut_at_any_byte_is_an_error_that_was_sent(connect: Connect) -> None:
    body = json.dumps(result(1, fine=True)).encode()
    plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    said = event(result(1, fine=True))
    stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    stream += b"%x\r\n%s\r\n" % (len(said), said)
    texts = [whole[:cut] for whole in (plain, stream) for cut in range(0, len(whole), 3)]

    async def reply(call: Call) -> None:
        await call.raw(texts[call.json["params"]["cut"]])

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        for number, text in enumerate(texts):
            if text == plain or said in text:
                continue
            with pytest.raises(ResetError) as caught:
                await asked(wire, cut=number)
            assert caught.value.sent is True, text


@pytest.mark.parametrize("id", [[1], {}, True, None, 1.5, "other", 10**30])
async def test_an_answer_with_any_id_is_the_answer_to_its_post(connect: Connect, id: Any) -> None:
    async def reply(call: Call) -> None:
        await say(call, result(id, fine=True))

    async with LoopbackServer(reply) as server, connect(f"{server.address}/mcp") as wire:
        await wire.send(ask(1, headers=MODERN))
        assert (await heard(wire))["id"] == 1


@pytest.mark.parametrize(
    "where",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
    ],
)
async def test_a_sign_in_goes_nowhere_that_a_server_had_better_not_name(connect: Connect, where: str) -> None:
    async with Guarded() as server:

        async def refuse(call: Call) -> None:
            await call.send(401, {"www-authenticate": f'Bearer resource_metadata="{where}"'}, b"")

        server.instead["/mcp"] = refuse
        oauth = {
            "grant": "client_credentials",
            "issuer": server.address,
            "client_id": "x",
            "client_secret": "y",
        }
        async with connect(server.mcp, oauth=oauth) as wire:
            with pytest.raises(AuthenticationError, match="points to"):
                await wire.send(ask(1))
    assert not server.forms


@pytest.mark.parametrize(
    "server, issuer, url, may",
    [
        ("https://93.184.215.15/x", None, "https://93.184.215.14/x", True),
        ("https://93.184.215.15/x", None, "http://93.184.215.14/x", False),
        ("https://93.184.215.15/x", None, "https://127.0.0.1/x", False),
        ("https://93.184.215.15/x", None, "https://10.0.0.1/x", False),
        ("https://93.184.215.15/x", None, "https://[::1]/x", False),
        ("https://93.184.215.15/x", None, "https://[::ffff:10.0.0.1]/x", False),
        ("https://93.184.215.15/x", None, "https://0.0.0.0/x", False),
        ("https://93.184.215.15/x", None, "https://169.254.169.254/x", False),
        ("https://93.184.215.15/x", None, "https://localhost/x", False),
        ("https://93.184.215.15/x", None, "https://93.184.215.15:8443/token", True),
        ("https://93.184.215.15/x", "https://10.0.0.1", "https://10.0.0.1/token", True),
        ("http://127.0.0.1:1/x", None, "http://127.0.0.1:2/x", True),
        ("http://127.0.0.1:1/x", None, "http://10.0.0.1/x", True),
        ("http://127.0.0.1:1/x", None, "http://169.254.169.254/x", False),
        ("http://10.0.0.1/x", None, "https://93.184.215.14/x", True),
    ],
)
async def test_who_may_be_visited_for_a_sign_in(server: str, issuer: str | None, url: str, may: bool) -> None:
    assert await may_visit(httpx2.URL(url), httpx2.URL(server), issuer) is may
