"""Streamable HTTP: sessions, streams, resumption, cancellation."""

import asyncio
from typing import Any

import pytest
from gleitzeit_plugin_mcp_http import streamable

from gleitzeit.errors import GleitzeitError, ResetError
from gleitzeit.testing.loopback import Call, LoopbackServer
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

NOTE = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are returned to at once, and a slow machine may take its leave."""
    monkeypatch.setattr(streamable, "FAREWELL", 30.0)
    monkeypatch.setattr(streamable, "BROKEN", 0.001)
    monkeypatch.setattr(streamable, "ENDED", 0.001)


async def test_a_session_travels_with_every_message_and_is_ended_at_the_close(connect: Connect) -> None:
    async with LoopbackServer(answer) as server:
        async with connect(server.address) as wire:
            await begin(wire)
            await wire.send(ask(1))
            assert (await heard(wire))["id"] == 1
        calls = [call for call in server.requests if call.method == "POST"]
        assert "mcp-session-id" not in calls[0].headers
        assert {call.headers["mcp-session-id"] for call in calls[1:]} == {"session-1"}
        assert {call.headers["mcp-protocol-version"] for call in calls[1:]} == {"2025-11-25"}
        [farewell] = [call for call in server.requests if call.method == "DELETE"]
        assert farewell.headers["mcp-session-id"] == "session-1"


async def test_without_a_session_there_is_no_farewell(connect: Connect) -> None:
    async with LoopbackServer(answer) as server:
        async with connect(server.address) as wire:
            await wire.send(ask(1, headers=MODERN))
            assert (await heard(wire))["id"] == 1
        assert [call.method for call in server.requests] == ["POST"]


async def test_the_stream_of_a_session_is_resumed_after_its_last_event(connect: Connect) -> None:
    gets: list[Call] = []

    async def handler(call: Call) -> None:
        if call.method != "GET":
            await answer(call)
            return
        gets.append(call)
        await call.start(200, EVENTS)
        if len(gets) == 1:
            await call.write(event({**NOTE, "params": {"n": 1}}, id="e-1", retry=1))
            call.reset()
        else:
            await call.write(event({**NOTE, "params": {"n": 2}}, id="e-2"))
            await call.stall()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await begin(wire)
        assert [(await heard(wire))["params"]["n"] for _ in range(2)] == [1, 2]
        assert "last-event-id" not in gets[0].headers
        assert gets[1].headers["last-event-id"] == "e-1"
        assert gets[1].headers["mcp-session-id"] == "session-1"


async def test_a_session_whose_stream_does_not_come_back_is_lost(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if call.method != "GET":
            await answer(call)
        elif "last-event-id" in call.headers:
            call.reset()
        else:
            await call.start(200, EVENTS)
            await call.write(event(None, id="e-0"))
            call.reset()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await begin(wire)
        await wire.lost.wait()
        assert isinstance(wire.error, ResetError)
        with pytest.raises(StopAsyncIteration):
            await heard(wire)


@pytest.mark.parametrize("status, text", [(404, "gone"), (400, "Bad Request: No valid session ID provided")])
async def test_a_forgotten_session_is_lost_and_nothing_was_sent(
    connect: Connect, status: int, text: str
) -> None:
    waiting = asyncio.Event()

    async def handler(call: Call) -> None:
        message = call.json or {}
        if message.get("id") == "waits":
            await call.start(200, EVENTS)
            waiting.set()
            await call.stall()
        elif message.get("method") == "tools/call":
            await say(call, {"jsonrpc": "2.0", "error": {"code": -32000, "message": text}}, status)
        else:
            await answer(call)

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await begin(wire)
        await wire.send(ask("waits"))
        await waiting.wait()
        with pytest.raises(ResetError, match="no longer knows the session") as error:
            await wire.send(ask(1))
        assert error.value.sent is False
        assert wire.lost.is_set()
        with pytest.raises(StopAsyncIteration):
            await heard(wire)
        with pytest.raises(ResetError) as late:
            await wire.send(ask(2))
        assert late.value.sent is False
    assert [call.method for call in server.requests].count("DELETE") == 0


async def test_a_404_without_a_session_is_an_address_that_is_wrong(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.send(404, {}, b"nothing here")

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        with pytest.raises(GleitzeitError, match="no MCP endpoint") as error:
            await wire.send(ask(1))
        assert error.value.sent is False
        assert not wire.lost.is_set()


async def test_an_answer_that_breaks_off_is_resumed_where_it_can_be(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if call.method == "GET":
            assert call.headers["last-event-id"] == "a-1"
            await call.start(200, EVENTS)
            await call.write(event(result(1, whole=True), id="a-2"))
            await call.end()
        elif (call.json or {}).get("id") == 1:
            await call.start(200, EVENTS)
            await call.write(event(None, id="a-0", retry=1) + event(NOTE, id="a-1"))
            call.close()
        else:
            await answer(call)

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask(0, "initialize"))
        await heard(wire)
        await wire.send(ask(1))
        assert await heard(wire) == NOTE
        assert await heard(wire) == result(1, whole=True)


async def test_a_server_may_let_its_client_come_back_as_often_as_it_likes(connect: Connect) -> None:
    turns = 2 * streamable.RETURNS

    async def handler(call: Call) -> None:
        if call.method == "POST":
            last = 0
        else:
            last = int(call.headers["last-event-id"]) + 1
        await call.start(200, EVENTS)
        await call.write(event(None if last < turns else result(1, done=True), id=str(last), retry=1))
        await call.end()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask(1))
        assert await heard(wire) == result(1, done=True)
        assert len(server.requests) == turns + 1


async def test_an_answer_that_cannot_be_resumed_was_sent_all_the_same(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.start(200, EVENTS)
        await call.write(event(NOTE, id="a-1", retry=1))
        server._server.close()  # type: ignore[union-attr]  # nobody is let in any more
        call.reset()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask(1))
        assert await heard(wire) == NOTE
        failed = await heard(wire)
        assert failed["id"] == 1
        assert failed["error"]["data"] == {"sent": True, "error": "cannot_connect"}


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_answer_that_breaks_off_fails_its_request_alone(connect: Connect, era: str) -> None:
    headers = MODERN if era == "modern" else {}

    async def handler(call: Call) -> None:
        if call.json["id"] == "cut":
            await call.start(200, EVENTS)
            await call.write(event(NOTE, id="a-1" if era == "modern" else None))
            call.reset()
        else:
            await answer(call)

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask("cut", headers=headers))
        assert await heard(wire) == NOTE
        failed = await heard(wire)
        assert failed["id"] == "cut"
        assert failed["error"]["code"] == -32050
        assert failed["error"]["data"] == {"sent": True, "error": "reset"}
        await wire.send(ask(2, headers=headers))
        assert (await heard(wire))["id"] == 2


async def test_an_answer_that_ends_without_a_result_fails_its_request(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.start(200, EVENTS)
        await call.write(b": only a comment\n\ndata: no json\n\n")
        await call.end()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask(1, headers=MODERN))
        failed = await heard(wire)
        assert failed["error"]["data"] == {"sent": True, "error": "truncated_stream"}
        assert wire.diagnostics()["junk"] == 1


async def test_modern_cancellation_closes_the_post_and_posts_nothing(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.start(200, EVENTS)
        await call.write(event(NOTE))
        await call.stall()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask("out", headers=MODERN))
        assert await heard(wire) == NOTE
        await wire.send(tell("notifications/cancelled", requestId="out"))
        await server.requests[0].closed.wait()
        await wire.send(tell("notifications/cancelled", requestId="unknown"))
        assert len(server.requests) == 1
        assert wire.diagnostics()["in_flight"] == 0


async def test_legacy_cancellation_is_posted_before_the_stream_is_closed(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if (call.json or {}).get("id") == "out":
            await call.start(200, EVENTS)
            await call.write(event(NOTE))
            await call.stall()
        else:
            await answer(call)

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await begin(wire)
        await wire.send(ask("out"))
        assert await heard(wire) == NOTE
        await wire.send(tell("notifications/cancelled", requestId="out"))
        posted = [call for call in server.requests if call.method == "POST"]
        assert posted[-1].json["method"] == "notifications/cancelled"
        await posted[-2].closed.wait()


async def test_a_cancelled_sender_closes_its_post(connect: Connect) -> None:
    async with LoopbackServer(lambda call: call.stall()) as server, connect(server.address) as wire:
        sending = asyncio.create_task(wire.send(ask(1, headers=MODERN)))
        call = await server.request()
        sending.cancel()
        await call.closed.wait()
        await asyncio.wait({sending})
        assert sending.cancelled()
        assert not wire.lost.is_set()


async def test_a_close_ends_senders_that_wait(connect: Connect) -> None:
    async with LoopbackServer(lambda call: call.stall()) as server:
        async with connect(server.address) as wire:
            sending = asyncio.create_task(wire.send(ask(1)))
            await server.request()
        with pytest.raises(ResetError, match="closed") as error:
            await sending
        assert error.value.sent is True


@pytest.mark.parametrize("given", ["1", None, 99])
async def test_an_answer_with_another_id_is_the_answer_to_its_post(connect: Connect, given: Any) -> None:
    server = LoopbackServer(lambda call: say(call, result(given, ok=True)))
    async with server, connect(server.address) as wire:
        await wire.send(ask(1))
        assert await heard(wire) == result(1, ok=True)


async def test_a_batch_is_taken_apart(connect: Connect) -> None:
    server = LoopbackServer(lambda call: say(call, [NOTE, result(1)]))
    async with server, connect(server.address) as wire:
        await wire.send(ask(1))
        assert [await heard(wire) for _ in range(2)] == [NOTE, result(1)]


async def test_a_refusal_in_json_rpc_is_an_answer(connect: Connect) -> None:
    error = {"code": -32601, "message": "Method not found", "data": {"x": 1}}
    refusal = {"jsonrpc": "2.0", "id": None, "error": error}
    server = LoopbackServer(lambda call: say(call, refusal, 404))
    async with server, connect(server.address) as wire:
        await wire.send(ask(1, headers=MODERN))
        assert await heard(wire) == {"jsonrpc": "2.0", "id": 1, "error": error}


@pytest.mark.parametrize("status", [400, 404, 405, 406, 500])
async def test_an_old_server_that_refuses_the_greeting_may_still_shake_hands(
    connect: Connect, status: int
) -> None:
    async def handler(call: Call) -> None:
        if (call.json or {}).get("method") == "server/discover" or call.method == "GET":
            await call.send(status, {"content-type": "text/plain"}, b"what?")
        else:
            await answer(call)

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask("hello", "server/discover", headers=MODERN))
        refused = await heard(wire)
        assert refused["id"] == "hello"
        assert refused["error"]["code"] == -32600
        await begin(wire)
        [shake] = [call for call in server.requests if (call.json or {}).get("method") == "initialize"]
        assert "mcp-protocol-version" not in shake.headers
