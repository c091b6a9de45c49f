"""The base of vendors' fakes: what it sends, in which order it asks, how it breaks."""

from __future__ import annotations

import httpx2
import pytest

from gleitzeit.testing.faulty import Answer, FaultyServer, ndjson, sse
from gleitzeit.testing.loopback import Call
from gleitzeit.wire.client import make_client

FRAMES = ({"a": "é"}, "[DONE]", b": raw\n\n")
SENT = 'data: {"a": "é"}\n\ndata: [DONE]\n\n: raw\n\n'.encode()


class Acme(FaultyServer[Answer]):
    prefix = "/v2"
    request_id = "acme-request"

    def refuse(self, call: Call) -> Answer | None:
        return Answer(status=401) if "x-bad" in call.headers else None

    def respond(self, call: Call) -> Answer:
        return self.answers.popleft()


class Lines(Acme):
    stream_type = "application/x-ndjson"
    request_id = ""

    def frame(self, item: object, newline: str) -> bytes:
        return ndjson(item, newline)


async def get(server: FaultyServer[Answer], **headers: str) -> httpx2.Response:
    async with make_client() as client:
        return await client.get(f"{server.url}/say", headers={"accept-encoding": "gzip", **headers})


@pytest.mark.parametrize(
    "body, sent", [(b"\xff", b"\xff"), ("é", "é".encode()), ({"a": 1}, b'{"a": 1}'), (None, b"null")]
)
async def test_bodies_go_as_they_are_or_as_json(body: object, sent: bytes) -> None:
    async with Acme() as server:
        server.answers.append(Answer(body=body, status=201, headers={"x-more": "1"}))
        response = await get(server)
    assert (response.status_code, response.content) == (201, sent)
    assert (response.headers["acme-request"], response.headers["x-more"]) == ("fake-1", "1")


@pytest.mark.parametrize("chunk", [0, 1, 3])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_stream_is_the_same_bytes_in_any_pieces(chunk: int, packed: bool) -> None:
    async with Acme() as server:
        server.answers.append(Answer(frames=FRAMES, chunk=chunk, gzip=packed))
        response = await get(server)
    assert response.content == SENT
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers.get("content-encoding") == ("gzip" if packed else None)


async def test_framing_is_the_fakes_own() -> None:
    async with Lines() as server:
        server.answers.append(Answer(frames=({"a": 1}, {"b": 2}), newline="\r\n"))
        response = await get(server)
    assert response.content == b'{"a": 1}\r\n{"b": 2}\r\n'
    assert response.headers["content-type"] == "application/x-ndjson"
    assert "x-request-id" not in response.headers
    assert sse("x", "\r\n", event="ping") == b"event: ping\r\ndata: x\r\n\r\n"


async def test_an_empty_stream_is_a_stream() -> None:
    async with Acme() as server:
        server.answers.append(Answer(frames=()))
        response = await get(server)
    assert (response.content, "content-length" in response.headers) == (b"", False)


async def test_a_refusal_goes_before_faults_and_faults_before_answers() -> None:
    async with Acme() as server:
        server.faults["/v2/say"] = Answer(status=503)
        server.answers.append(Answer(body="queued"))
        statuses = [(await get(server, **{"x-bad": "1"})).status_code, (await get(server)).status_code]
        server.faults.clear()
        assert ([*statuses, (await get(server)).text]) == [401, 503, "queued"]
        assert [call.path for call in server.requests] == ["/v2/say"] * 3


@pytest.mark.parametrize("after, at, held", [(1, None, SENT[:19]), (None, 5, SENT[:5])])
async def test_a_cut_counts_frames_or_bytes(after: int | None, at: int | None, held: bytes) -> None:
    async with Acme() as server:
        server.answers.append(Answer(frames=FRAMES, fault="cut", after=after, at=at))
        response = await get(server)
    assert response.content == held


async def test_packed_pieces_come_out_one_by_one() -> None:
    """Each frame is flushed, so that a reader has it before the next is sent."""
    async with Acme() as server, make_client() as client:
        server.answers.append(Answer(frames=FRAMES, gzip=True, fault="stall", after=1))
        headers = {"accept-encoding": "gzip"}
        async with client.stream("GET", f"{server.url}/say", headers=headers) as response:
            first = await anext(response.aiter_bytes())
        await (await server.request()).closed.wait()
    assert first == SENT[:19]


async def test_what_respond_raises_is_raised_where_the_block_ends() -> None:
    server = Acme()
    await server.__aenter__()
    with pytest.raises(httpx2.TransportError):
        await get(server)
    with pytest.raises(IndexError):
        await server.__aexit__(None, None, None)
