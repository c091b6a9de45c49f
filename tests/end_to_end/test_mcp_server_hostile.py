"""Requests over HTTP that nobody means well with, on the bare socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest
from gleitzeit_plugin_mcp.serve import changes, connection, http

from gleitzeit import Host
from tests.end_to_end.mcp_serving import LONG, until
from tests.end_to_end.test_mcp_server_front import ERAS, LEGACY, MODERN, Wire, result, wired

pytest.importorskip("httptools")

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}})
RIGHT = {
    "Host": "127.0.0.1",
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": MODERN,
    "Mcp-Method": "tools/list",
}


def written(*more: tuple[str, str], path: str = "/mcp", **changed: str) -> bytes:
    """A request: the right one with a header changed, or with more of them."""
    rows = [*{**RIGHT, "Content-Length": str(len(BODY)), **changed}.items(), *more]
    head = "".join(f"{name}: {value}\r\n" for name, value in rows)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n{BODY}".encode()


async def answered(url: str, request: bytes) -> tuple[int, str]:
    """The status of the answer, and the answer."""
    host, _, port = url.removeprefix("http://").removesuffix("/mcp").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.partition(": ") for line in head.splitlines()]
        length = next(int(value) for name, _, value in lines if name.lower() == "content-length")
        return int(head.split()[1]), head + (await reader.readexactly(length)).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_names_and_pages_are_looked_at_closely() -> None:
    async with (
        asyncio.timeout(LONG),
        Host({}, environ={}) as host,
        host.mcp_server().http(allowed_hosts=("Box.example", "other.example:99")) as url,
    ):
        for name in ("LOCALHOST:1", "[::1]:80", "127.0.0.1", "box.example:8", "other.example:99"):
            assert (await answered(url, written(Host=name)))[0] == 200, name
            assert (await answered(url, written(Origin=f"https://{name}")))[0] == 200, name
        for name in (
            "127.0.0.1:8@evil.example",
            "localhost:evil",
            "127.0.0.1:1, evil.example",
            "user@localhost",
            "localhost.",
            "localhost.evil.example",
            "[::1",
            "0.0.0.0",
            "other.example",
            "localhost:999999",
        ):
            status, said = await answered(url, written(Host=name))
            assert (status, "--allow-host" in said) == (421, True), name
            for origin in (f"http://{name}", f"http://localhost http://{name}"):
                assert (await answered(url, written(Origin=origin)))[0] == 403, origin
        for origin in ("null", "file://", "http://localhost/", "localhost", "ws://localhost"):
            assert (await answered(url, written(Origin=origin)))[0] == 403, origin
        for twice in ("Host", "Origin"):
            more = [("Origin", "http://localhost"), (twice, "http://localhost")]
            assert (await answered(url, written(*more)))[0] == 400
        # Not redirected: a proxy may have taken the TLS away.
        assert (await answered(url, written(path="/mcp/")))[0] == 200


async def test_a_head_that_is_too_long_or_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(LONG), Host({}, environ={}) as host, host.mcp_server().http() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.create_task(reader.read())
        writer.write(b"POST /mcp HTTP/1.1\r\nX-Much: ")
        for _ in range(1000):
            if ended.done():
                break
            writer.write(b"a" * 8192)
            await asyncio.wait({ended}, timeout=0.01)
        # What came after the end may have swallowed the answer.
        gone = (await asyncio.gather(ended, return_exceptions=True))[0]
        assert isinstance(gone, ConnectionError) or (isinstance(gone, bytes) and b"too long" in gone)
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        assert (await answered(url, written(("X-Some", "a" * 2**15))))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(written())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(connection, "PATIENCE", 0.05)
        for begun in (b"POST /mcp HTT", b"", b"POST /mcp HTTP/1.1\r\nX-Slow: a"):
            if writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            assert b"HTTP/1.1" not in await reader.read()
            writer.close()
            await writer.wait_closed()


async def test_a_client_that_leaves_in_the_midst_of_its_request_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asyncio.timeout(LONG), Host({}, environ={}) as host, host.mcp_server().http() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        chunked = written().replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX-: ")
        for request in (written()[:-1], chunked.partition(b"\r\n\r\n")[0] + b"\r\n\r\n5\r\n{", chunked[:-9]):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await answered(url, written()))[0] == 200
    assert "Exception in ASGI application" not in caplog.text


async def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "BODY", 1000)
    async with asyncio.timeout(LONG), Host({}, environ={}) as host, host.mcp_server().http() as url:
        head = {**RIGHT, "Host": url.split("/")[2]}
        async with httpx2.AsyncClient(timeout=LONG, headers=head) as client:

            async def chunks(count: int) -> Any:
                for number in range(count):
                    yield BODY.encode() if number == 0 else b" " * 100

            for count, status in ((9, 200), (10, 413), (200, 413)):
                whole = b"".join([piece async for piece in chunks(count)])
                for content in (whole, chunks(count)):
                    assert (await client.post(url, content=content)).status_code == status, count


@ERAS
async def test_numbers_that_json_has_not_are_refused_and_not_made_null(version: str) -> None:
    async with wired(version) as wire:
        params = {"name": "up__echo", "arguments": {"text": "HERE"}}
        whole = json.dumps(wire.message("tools/call", params))
        for number in ("NaN", "-Infinity", "1e400"):
            body = whole.replace('"HERE"', number)

            async def chunks(text: str = body) -> Any:
                yield text[:50].encode()
                yield text[50:].encode()

            for content in (body, chunks()):
                headers = wire.named("tools/call", params)
                answer = await wire.http.post(wire.url, content=content, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)
        # Half of a character is JSON, if no text: who sent it hears what is wrong with its own request.
        body = whole.replace("HERE", "\\ud800")
        answer = await wire.http.post(wire.url, content=body, headers=wire.named("tools/call", params))
        assert (answer.json()["id"], answer.json()["error"]["code"]) == (1, -32602)
        assert "said None" not in result(await wire.call("up__echo", {"text": 1}))["content"][0]["text"]


async def test_an_id_that_is_under_way_is_not_taken_twice() -> None:
    async with wired(LEGACY) as wire, httpx2.AsyncClient(timeout=LONG) as http:
        other = Wire(http, wire.url, LEGACY)
        other.headers = wire.headers
        call = asyncio.create_task(other.call("up__wait", {}, 7))
        await until(_says(wire, "1 0"))
        for _ in range(2):
            answer = await wire.call("up__echo", {}, 7)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
            assert answer.json()["id"] == 7
        await wire.notify("notifications/cancelled", {"requestId": 7})
        await call
        assert (await wire.call("up__echo", {}, 7)).status_code == 200


@ERAS
async def test_subscriptions_are_bounded(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 2)
    async with wired(version) as wire:
        uris = [f"test://item/{number}" for number in range(3)]
        if version == MODERN:
            answer = await wire.post(
                "subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}
            )
            assert "no more than 2" in answer.text
            return
        told = [(await wire.post("resources/subscribe", {"uri": uri})).text for uri in (*uris[:2], *uris)]
        assert ["no more than 2" in each for each in told] == [False, False, False, False, True]
        await wire.post("resources/unsubscribe", {"uri": uris[0]})
        assert "error" not in (await wire.post("resources/subscribe", {"uri": uris[2]})).text


def _says(wire: Wire, words: str) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def check() -> bool:
        return await wire.said("up__waited") == words

    return check
