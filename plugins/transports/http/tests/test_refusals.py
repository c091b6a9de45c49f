"""What goes wrong with one message, and how it shows; the wire goes on."""

import asyncio
import re
from typing import Any

import pytest

from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    ConfigError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
)
from gleitzeit.testing.loopback import Call, LoopbackServer
from plugins.transports.http.tests.conftest import Connect
from plugins.transports.http.tests.script import EVENTS, answer, ask, begin, event, heard, result, say


async def refused(connect: Connect, handler: Any, **options: Any) -> GleitzeitError:
    """The error of a request, after which the wire still stands."""

    async def served(call: Call) -> None:
        if (call.json or {}).get("id") == "bad":
            await handler(call)
        else:
            await answer(call)

    async with LoopbackServer(served) as server, connect(server.address, **options) as wire:
        with pytest.raises(GleitzeitError) as error:
            await wire.send(ask("bad"))
        await wire.send(ask(2))
        assert (await heard(wire))["id"] == 2
        assert not wire.lost.is_set()
    return error.value


@pytest.mark.parametrize(
    "status, kind",
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, CannotConnectError),
        (405, CannotConnectError),
        (429, RateLimitedError),
        (500, ServerFaultError),
        (503, OverloadedError),
    ],
)
async def test_a_status_is_an_error_of_its_kind(
    connect: Connect, status: int, kind: type[GleitzeitError]
) -> None:
    async def handler(call: Call) -> None:
        await call.send(status, {"content-type": "text/plain", "retry-after": "7"}, b"no")

    error = await refused(connect, handler, mode="streamable")
    assert type(error).__mro__[:-3].count(kind) == 1
    assert error.status == status
    if status == 429:
        assert error.retry_after == 7


async def test_a_credential_that_is_refused_is_told_even_where_the_body_is_json_rpc(connect: Connect) -> None:
    body = {"jsonrpc": "2.0", "id": "bad", "error": {"code": -32600, "message": "who are you, sk-12345678?"}}
    error = await refused(
        connect, lambda call: say(call, body, 401), headers={"authorization": "Bearer sk-12345678"}
    )
    assert isinstance(error, AuthenticationError)
    assert "12345678" not in f"{error} {error!r}"


async def test_a_body_that_is_cut_is_a_reset_that_was_sent(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.start(200, {"content-type": "application/json", "content-length": "1000"})
        await call.write(b'{"jsonrpc": "2.0", "id": "bad", "res')
        call.close()

    error = await refused(connect, handler)
    assert isinstance(error, ResetError)
    assert error.sent is True


async def test_a_connection_that_is_reset_before_the_answer_may_have_acted(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        call.reset()

    error = await refused(connect, handler)
    assert isinstance(error, ResetError)
    assert error.sent is True


async def test_an_answer_that_comes_drop_by_drop_comes(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.start(200, EVENTS)
        for byte in event(result(1, drop=True)):
            await call.write(bytes([byte]))
            await asyncio.sleep(0)
        await call.end()

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        await wire.send(ask(1))
        assert await heard(wire) == result(1, drop=True)


async def test_silence_beyond_the_read_timeout_is_told(connect: Connect) -> None:
    error = await refused(connect, lambda call: call.stall(), read_timeout=0.05)
    assert isinstance(error, DeadlineError)
    assert error.sent is True


@pytest.mark.parametrize(
    "kind, body",
    [("text/html", b"<html>hello</html>"), ("application/json", b"{"), ("application/json", b"{}")],
)
async def test_what_is_no_answer_is_told(connect: Connect, kind: str, body: bytes) -> None:
    error = await refused(connect, lambda call: call.send(200, {"content-type": kind}, body))
    assert isinstance(error, MalformedAnswerError)
    assert error.sent is True


async def test_an_answer_over_the_limit_fails_its_request(connect: Connect) -> None:
    large = result("bad", text="x" * 5000)
    error = await refused(connect, lambda call: say(call, large), max_message_bytes=1000)
    assert isinstance(error, MalformedAnswerError)
    assert not error.retryable

    async def handler(call: Call) -> None:
        await call.start(200, EVENTS)
        await call.write(event(large))
        await call.stall()

    async with LoopbackServer(handler) as server, connect(server.address, max_message_bytes=1000) as wire:
        await wire.send(ask("bad"))
        assert (await heard(wire))["error"]["data"] == {"sent": True, "error": "malformed_answer"}


async def test_a_redirect_within_the_origin_is_followed_and_remembered(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        if call.path == "/mcp":
            await call.send(307, {"location": "/mcp/"}, b"")
        else:
            await answer(call)

    async with LoopbackServer(handler) as server:
        async with connect(f"{server.address}/mcp", {"authorization": "Bearer t"}) as wire:
            await begin(wire)
        assert [call.path for call in server.requests] == ["/mcp", *["/mcp/"] * 4]
        assert {call.headers["authorization"] for call in server.requests} == {"Bearer t"}


@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_to_somebody_else_is_not_followed(connect: Connect, status: int) -> None:
    async with LoopbackServer(answer) as other:

        async def handler(call: Call) -> None:
            await call.send(status, {"location": f"{other.address}/mcp?code=secret"}, b"")

        async with LoopbackServer(handler) as server, connect(server.address) as wire:
            with pytest.raises(CannotConnectError, match=f"redirect to {other.address}/mcp, which") as error:
                await wire.send(ask(1))
            assert "secret" not in str(error.value)
        assert other.requests == []


async def test_a_circle_of_redirects_ends(connect: Connect) -> None:
    async def handler(call: Call) -> None:
        await call.send(307, {"location": call.path}, b"")

    async with LoopbackServer(handler) as server, connect(server.address) as wire:
        with pytest.raises(CannotConnectError, match="circle"):
            await wire.send(ask(1))


async def test_no_cookie_is_kept(connect: Connect) -> None:
    async with LoopbackServer(lambda call: say(call, result(1), set_cookie="who=me")) as server:
        async with connect(server.address) as wire:
            for _ in range(2):
                await wire.send(ask(1))
        assert "cookie" not in server.requests[1].headers


async def test_a_header_that_no_header_can_be_is_refused_unsent(connect: Connect) -> None:
    async with LoopbackServer(answer) as server:
        for value in ("s3cret\nx", "s3cret-ü"):
            async with connect(server.address, {"x-key": value}) as wire:
                with pytest.raises(InvalidRequestError) as error:
                    await wire.send(ask(1))
                assert error.value.sent is False
                assert "s3cret" not in str(error.value)
        assert server.requests == []


@pytest.mark.parametrize(
    "url, options, told",
    [
        (None, {}, "servers.desk.url is missing"),
        ("ftp://127.0.0.1/", {}, "servers.desk.url is no http"),
        ("http://a:b/", {}, "servers.desk.url is no URL"),
        ("http://127.0.0.1", {"mod": "sse"}, r"servers.desk.options.mod.*known are ca_file, .*mode"),
        ("http://127.0.0.1", {"mode": "smoke"}, "servers.desk.options.mode"),
        ("http://127.0.0.1", {"ca_file": "/nowhere.pem"}, "/nowhere.pem"),
        ("http://127.0.0.1", {"oauth": {"scop": "x"}}, r"options.oauth.scop.*known are client_id"),
        ("http://127.0.0.1", {"oauth": {"grant": "client_credentials"}}, "client_id"),
    ],
)
async def test_what_cannot_be_meant_is_told_before_anything_is_sent(
    connect: Connect, url: Any, options: Any, told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        async with connect(url, **options):
            pass
    assert re.search(told, str(error.value), re.DOTALL)
