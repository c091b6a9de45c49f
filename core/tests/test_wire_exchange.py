"""Requests of a provider over a real connection, and the source under its streams."""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from gleitzeit.errors import (
    CannotConnectError,
    InvalidRequestError,
    MalformedAnswerError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TruncatedStreamError,
)
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import Event, Finished, Limit, RateLimits, Stream, TextDelta
from gleitzeit.wire import exchange as exchange_module
from gleitzeit.wire.client import make_client
from gleitzeit.wire.exchange import Exchange
from gleitzeit.wire.inflate import PIECE
from gleitzeit.wire.ndjson import NDJSONDecoder
from gleitzeit.wire.source import ResponseEvents

Handler = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def serving(
    handler: Handler,
) -> AsyncIterator[tuple[LoopbackServer, Exchange, httpx2.URL, httpx2.Headers]]:
    async with LoopbackServer(handler) as server, make_client() as client:
        exchange = Exchange("p", lambda: client)
        yield server, exchange, httpx2.URL(server.address), exchange.headers({"X-Own": "1"})


class Lines:
    """A dialect for tests: lines of text, ended by `end`."""

    def __init__(self) -> None:
        self.complete = self.ended = False
        self._lines = NDJSONDecoder()

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        for line in self._lines.feed(chunk):
            if line == b"bad":
                raise MalformedAnswerError("a bad line")
            if line == b"mark":
                self.ended = True
            elif line == b"end":
                self.complete = True
                events.append(Finished())
            else:
                events.append(TextDelta(line.decode()))

    def close(self, events: deque[Event]) -> None:
        if not self.ended:
            raise TruncatedStreamError("cut")
        events.append(Finished())


async def stream(exchange: Exchange, url: httpx2.URL, headers: httpx2.Headers) -> Stream:
    return Stream(ResponseEvents(exchange, await exchange.open("POST", url, headers, b"{}"), Lines()))


async def test_a_whole_answer() -> None:
    async def handler(call: Call) -> None:
        await call.send(
            200, {"x-request-id": "r"}, call.method.encode() + call.body + call.headers["x-own"].encode()
        )

    async with serving(handler) as (_, exchange, url, headers):
        answer = await exchange.fetch("POST", url, headers, b"{}")
    assert (answer.body, answer.headers["x-request-id"]) == (b"POST{}1", "r")


async def test_a_compressed_answer() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {"content-encoding": "gzip"}, gzip.compress(b"hello"))

    async with serving(handler) as (_, exchange, url, headers):
        assert (await exchange.fetch("GET", url, headers)).body == b"hello"


async def test_little_that_unpacks_to_much_comes_in_pieces_that_can_be_refused() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {"content-encoding": "gzip"}, gzip.compress(bytes(8 * PIECE + 1)))

    async with serving(handler) as (_, exchange, url, headers):
        response = await exchange.open("GET", url, headers)
        sizes = [len(piece) async for piece in exchange.chunks(response)]
        await response.aclose()
    assert max(sizes) <= PIECE
    assert sum(sizes) == 8 * PIECE + 1


@pytest.mark.parametrize("coding", ["br", "gzip, gzip"])
async def test_a_packing_that_nobody_asked_for_is_a_malformed_answer(coding: str) -> None:
    asked: list[str] = []

    async def handler(call: Call) -> None:
        asked.append(call.headers["accept-encoding"])
        await call.send(200, {"content-encoding": coding}, b"x")

    async with serving(handler) as (_, exchange, url, headers):
        with pytest.raises(MalformedAnswerError, match="encoding"):
            await exchange.fetch("GET", url, headers)
    assert asked == ["gzip, deflate"]


async def test_a_broken_compression_is_a_malformed_answer() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {"content-encoding": "gzip"}, b"this is not gzip")

    async with serving(handler) as (_, exchange, url, headers):
        with pytest.raises(MalformedAnswerError):
            await exchange.fetch("GET", url, headers)


async def test_a_bad_status_carries_what_the_answer_said() -> None:
    async def handler(call: Call) -> None:
        headers = {"x-request-id": "req-9", "retry-after": "3"}
        await call.send(429, headers, b'{"error": {"message": "slow", "code": "rate_limit_exceeded"}}')

    async with serving(handler) as (server, exchange, url, headers):
        for attempt in (exchange.fetch, exchange.open):
            with pytest.raises(RateLimitedError) as caught:
                await attempt("GET", url, headers)
            error = caught.value
            assert (error.status, error.request_id, error.retry_after) == (429, "req-9", 3.0)
        assert server.connections == 1


async def test_a_bad_status_whose_body_breaks_off_keeps_the_status() -> None:
    async def handler(call: Call) -> None:
        await call.start(500, {"content-length": "100"})
        await call.write(b'{"err')
        call.reset()

    async with serving(handler) as (_, exchange, url, headers):
        with pytest.raises(ServerFaultError) as caught:
            await exchange.fetch("GET", url, headers)
    assert caught.value.status == 500


async def test_an_endless_error_body_is_read_to_a_limit_only() -> None:
    async def handler(call: Call) -> None:
        await call.start(500, {})
        while True:
            await call.write(b"x" * 8192)

    async with serving(handler) as (server, exchange, url, headers):
        with pytest.raises(ServerFaultError):
            await exchange.fetch("GET", url, headers)
        await asyncio.wait_for(server.requests[0].closed.wait(), 30)


async def test_an_answer_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, b"x" * 1000)

    monkeypatch.setattr(exchange_module, "_BODY_LIMIT", 100)
    async with serving(handler) as (_, exchange, url, headers):
        with pytest.raises(MalformedAnswerError, match="larger than 100"):
            await exchange.fetch("GET", url, headers)


@pytest.mark.parametrize("when", ["before", "head", "body"])
async def test_a_reset_is_a_reset(when: str) -> None:
    async def handler(call: Call) -> None:
        if when != "before":
            await call.start(200, {"content-length": "100"})
        if when == "body":
            await call.write(b"half")
        call.reset()

    async with serving(handler) as (server, exchange, url, headers):
        with pytest.raises(ResetError) as caught:
            await exchange.fetch("GET", url, headers)
    assert caught.value.sent is True
    assert len(server.requests) == 1


async def test_an_answer_that_is_not_http_is_a_reset() -> None:
    async def handler(call: Call) -> None:
        await call.raw(b"\x16\x03\x01 nonsense with sk-secret-0123456789\r\n\r\n")

    async with serving(handler) as (_, exchange, url, headers):
        with pytest.raises(ResetError) as caught:
            await exchange.fetch("GET", url, headers)
    assert "nonsense" not in str(caught.value)


async def test_no_server_is_told_with_its_address() -> None:
    async def handler(call: Call) -> None:
        raise AssertionError

    async with serving(handler) as (server, exchange, url, headers):
        await server.__aexit__(None, None, None)
        with pytest.raises(
            CannotConnectError, match=r"p at http://127\.0\.0\.1:\d+: cannot connect"
        ) as caught:
            await exchange.fetch("GET", url, headers)
    assert caught.value.sent is False


async def test_a_header_that_no_wire_takes_is_refused_without_showing_it() -> None:
    async def handler(call: Call) -> None:
        await call.send(200, {}, b"")

    async with serving(handler) as (_, exchange, url, _):
        with pytest.raises(InvalidRequestError) as broken_line:
            await exchange.fetch("GET", url, exchange.headers({"Key": "sk\nsecret"}))
        with pytest.raises(InvalidRequestError) as surrogate:
            exchange.headers({"Key": "\ud83dsecret"})
    assert "secret" not in f"{broken_line.value} {surrogate.value}"


async def test_events_before_an_error_are_delivered_first() -> None:
    async def handler(call: Call) -> None:
        headers = {"x-request-id": "r7", "x-ratelimit-remaining-requests": "3"}
        await call.send(200, headers, b"one\ntwo\nbad\nthree\n")

    async with serving(handler) as (_, exchange, url, headers):
        opened = await stream(exchange, url, headers)
        assert [await anext(opened), await anext(opened)] == [TextDelta("one"), TextDelta("two")]
        with pytest.raises(MalformedAnswerError) as caught:
            await anext(opened)
    assert (caught.value.provider, caught.value.sent, caught.value.request_id) == ("p", True, "r7")
    assert caught.value.partial.text == "onetwo"
    assert caught.value.limits == RateLimits(requests=Limit(None, 3))


async def test_bytes_that_make_no_event_are_progress_all_the_same() -> None:
    seen = asyncio.Queue[bytes]()

    class Pings(Lines):
        def feed(self, chunk: bytes, events: deque[Event]) -> None:
            super().feed(chunk, events)
            seen.put_nowait(chunk)

    async def handler(call: Call) -> None:
        await call.start(200, {})
        for _ in range(3):
            await call.write(b"o")
            await go.acquire()
        await call.write(b"h\nend\n")
        await call.end()

    go = asyncio.Semaphore(0)
    async with serving(handler) as (_, exchange, url, headers):
        opened = Stream(ResponseEvents(exchange, await exchange.open("POST", url, headers), Pings()))
        counts = [opened.progress]
        reading = asyncio.create_task(opened.collect())
        for _ in range(3):
            await seen.get()
            counts.append(opened.progress)
            go.release()
        assert (await reading).text == "oooh"
    assert counts == [0, 1, 2, 3]


async def test_an_answer_tells_of_the_limits() -> None:
    async def handler(call: Call) -> None:
        status = 429 if call.path == "/bad" else 200
        await call.send(status, {"X-RateLimit-Limit-Tokens": "100"}, b"")

    async with serving(handler) as (_, exchange, url, headers):
        answer = await exchange.fetch("POST", url, headers)
        with pytest.raises(RateLimitedError) as caught:
            await exchange.fetch("POST", url.join("/bad"), headers)
    assert answer.limits == caught.value.limits == RateLimits(tokens=Limit(100))


async def test_a_stream_read_to_its_end_gives_its_connection_back() -> None:
    async def handler(call: Call) -> None:
        await call.start(200, {})
        await call.write(b"one\nend\n")
        await call.end()

    async with serving(handler) as (server, exchange, url, headers):
        for _ in range(3):
            assert (await (await stream(exchange, url, headers)).collect()).text == "one"
        assert server.connections == 1


async def test_a_server_that_never_ends_its_answer_does_not_hold_a_complete_stream() -> None:
    async def handler(call: Call) -> None:
        await call.start(200, {})
        await call.write(b"one\nend\n")
        await call.stall()

    async with serving(handler) as (server, exchange, url, headers):
        reply = await asyncio.wait_for((await stream(exchange, url, headers)).collect(), 30)
        assert reply.text == "one"
        await asyncio.wait_for(server.requests[0].closed.wait(), 30)


@pytest.mark.parametrize("mark", [True, False])
async def test_a_break_after_the_terminal_mark_is_no_failure(mark: bool) -> None:
    read = asyncio.Event()

    async def handler(call: Call) -> None:
        await call.start(200, {})
        await call.write(b"one\nmark\n" if mark else b"one\n")
        await read.wait()
        call.reset()

    async with serving(handler) as (_, exchange, url, headers):
        opened = await stream(exchange, url, headers)
        assert await anext(opened) == TextDelta("one")
        read.set()
        if mark:
            assert isinstance(await anext(opened), Finished)
        else:
            with pytest.raises(ResetError):
                await anext(opened)


async def test_a_stream_that_nobody_reads_can_be_closed() -> None:
    async def handler(call: Call) -> None:
        await call.start(200, {})
        await call.stall()

    async with serving(handler) as (server, exchange, url, headers):
        await (await stream(exchange, url, headers)).aclose()
        await asyncio.wait_for(server.requests[0].closed.wait(), 30)


async def test_cancelling_the_reader_closes_the_connection() -> None:
    async def handler(call: Call) -> None:
        await call.start(200, {})
        await call.write(b"one\n")
        await call.stall()

    async with serving(handler) as (server, exchange, url, headers):
        opened = await stream(exchange, url, headers)
        assert await anext(opened) == TextDelta("one")
        reader = asyncio.ensure_future(anext(opened))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await asyncio.wait_for(server.requests[0].closed.wait(), 30)
