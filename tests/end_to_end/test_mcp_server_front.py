"""Requests over HTTP as they are on the wire: what is answered in short, and what is left to the SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from gleitzeit_plugin_mcp.serve import exchange

from gleitzeit import Host
from tests.end_to_end.mcp_serving import BEHIND, LONG, until
from tests.end_to_end.mcp_upstream import BIG

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = pytest.mark.parametrize("version", [LEGACY, MODERN])
STAMP = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Wire:
    """A client by hand: of one session in the handshake era."""

    def __init__(self, http: httpx2.AsyncClient, url: str, version: str) -> None:
        self.http, self.url, self.version = http, url, version
        self.headers = {**ACCEPT, "MCP-Protocol-Version": version}

    async def open(self, **capabilities: Any) -> None:
        about = {"name": "hand", "version": "1"}
        params = {"protocolVersion": LEGACY, "capabilities": capabilities, "clientInfo": about}
        answer = await self.post("initialize", params, headers=ACCEPT)
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        await self.notify("notifications/initialized", {})

    def message(self, method: str, params: Any, id: Any = 1) -> dict[str, Any]:
        if self.version == MODERN:
            params = {**params, "_meta": {**STAMP, **params.get("_meta", {})}}
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}

    def named(self, method: str, params: Any) -> dict[str, str]:
        """The headers of a request."""
        if self.version == LEGACY:
            return self.headers
        named = {"Mcp-Name": params["name"]} if "name" in params else {}
        return {**self.headers, "Mcp-Method": method, **named}

    async def post(self, method: str, params: Any, id: Any = 1, **more: Any) -> httpx2.Response:
        given = {"headers": self.named(method, params), "json": self.message(method, params, id), **more}
        return await self.http.post(self.url, **given)

    async def call(self, name: str, arguments: Any, id: Any = 1, **meta: Any) -> httpx2.Response:
        params = {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})}
        return await self.post("tools/call", params, id)

    async def notify(self, method: str, params: Any) -> httpx2.Response:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        return await self.http.post(self.url, json=message, headers=self.headers)

    async def said(self, name: str) -> str:
        """What a tool says in words."""
        found: str = result(await self.call(name, {}, "other"))["content"][0]["text"]
        return found


def result(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def events(answer: str) -> list[dict[str, Any]]:
    """The messages of an event stream."""
    lines = answer.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@asynccontextmanager
async def wired(version: str, **capabilities: Any) -> AsyncIterator[Wire]:
    async with (
        asyncio.timeout(LONG),
        Host(BEHIND, environ={}) as host,
        host.mcp_server().http() as url,
        httpx2.AsyncClient(timeout=LONG) as http,
    ):
        wire = Wire(http, url, version)
        if version == LEGACY:
            await wire.open(**capabilities)
            # Until it is known that the client is ready, the SDK answers.
            await until(lambda: _short(wire))
        yield wire


async def _short(wire: Wire) -> bool:
    answer = await wire.post("tools/list", {})
    return answer.headers["content-type"] == "application/json"


@ERAS
async def test_an_answer_alone_is_json_and_keeps_every_digit(version: str) -> None:
    async with wired(version) as wire:
        for number, id in ((BIG, 1), (2**70, "a-word"), (2.5, 0)):
            answer = await wire.call("up__echo", {"text": number}, id)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers.get("mcp-session-id") == wire.headers.get("Mcp-Session-Id")
            assert answer.json()["id"] == id
            assert result(answer)["content"][0]["text"] == f"said {number}"
            assert ("resultType" in result(answer)) == (version == MODERN)


@ERAS
async def test_what_is_said_before_the_answer_makes_it_a_stream_in_order(version: str) -> None:
    async with wired(version) as wire:
        answer = await wire.call("up__count", {"to": 3}, progressToken="t")
        assert answer.headers["content-type"].startswith("text/event-stream")
        *before, last = events(answer.text)
        assert [each["params"]["progress"] for each in before] == [1, 2, 3]
        assert {each["params"]["progressToken"] for each in before} == {"t"}
        assert last["result"]["content"][0]["text"] == "counted"


@ERAS
async def test_errors_have_the_status_and_code_of_their_era(version: str) -> None:
    async with wired(version) as wire:
        answer = await wire.call("nobody", {})
        assert answer.status_code == (400 if version == MODERN else 200)
        assert answer.json()["error"]["code"] == -32602
        assert answer.json()["id"] == 1
        answer = await wire.post("tools/list", {"cursor": 7})
        assert answer.json()["error"]["code"] == -32602
        assert answer.json()["error"]["message"] == "Invalid request parameters"


@ERAS
@pytest.mark.parametrize(
    "body, status, code",
    [
        (b"{", 400, -32700),
        (b"\xff\xfe", 400, -32700),
        (b"[]", 400, None),
        (b'"text"', 400, None),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list", "params": {}}', 400, None),
        (b'{"jsonrpc": "2.0", "id": 1, "method": {}, "params": {}}', 400, None),
        (b'{"jsonrpc": "2.0", "id": 1, "params": {}}', 400, None),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": [1]}', 400, None),
    ],
)
async def test_what_is_no_request_is_refused(
    version: str, body: bytes, status: int, code: int | None
) -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http() as url, httpx2.AsyncClient() as http:
        wire = Wire(http, url, version)
        if version == LEGACY:
            await wire.open()
        answer = await http.post(url, content=body, headers=wire.named("tools/list", {}))
        assert answer.status_code == status
        if code is not None:
            assert answer.json()["error"]["code"] == code


@ERAS
async def test_headers_that_are_not_in_order_are_refused(version: str) -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http() as url, httpx2.AsyncClient() as http:
        wire = Wire(http, url, version)
        if version == LEGACY:
            await wire.open()
        right = wire.named("tools/list", {})
        wrong: list[tuple[dict[str, str], int]] = [
            ({**right, "Host": "evil.example"}, 421),
            ({**right, "Origin": "http://evil.example"}, 403),
            ({**right, "Content-Type": "text/plain"}, 400),
            ({**right, "Accept": "text/html"}, 406),
            ({**right, "MCP-Protocol-Version": "1999-01-01"}, 400),
        ]
        if version == LEGACY:
            wrong += [({**right, "Mcp-Session-Id": "made-up"}, 404)]
        else:
            wrong += [({**right, "Mcp-Method": "tools/call"}, 400)]
        for _ in range(2):  # what was right once must not make what is wrong right
            for headers, status in wrong:
                answer = await wire.post("tools/list", {}, headers=headers)
                assert answer.status_code == status, headers
            assert (await wire.post("tools/list", {}, headers=right)).status_code == 200


async def test_a_repeated_header_is_refused_in_the_modern_era() -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http() as url, httpx2.AsyncClient() as http:
        wire = Wire(http, url, MODERN)
        twice = [*wire.named("tools/list", {}).items(), ("Mcp-Method", "tools/list")]
        answer = await wire.post("tools/list", {}, headers=twice)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_cancelled_call_ends_at_the_upstream_and_is_answered_so() -> None:
    async with wired(LEGACY) as wire:
        call = asyncio.create_task(wire.call("up__wait", {}, 7))
        await until(lambda: _says(wire, "1 0"))
        await wire.notify("notifications/cancelled", {"requestId": {}})
        await wire.notify("notifications/cancelled", {"requestId": "nobody's"})
        assert await wire.said("up__waited") == "1 0"
        await wire.notify("notifications/cancelled", {"requestId": 7})
        (answer,) = events((await call).text)
        assert (answer["id"], answer["error"]["code"]) == (7, -32800)
        await until(lambda: _says(wire, "0 1"))


async def test_who_leaves_cancels_in_the_modern_era_alone() -> None:
    for version, after in ((MODERN, "0 1"), (LEGACY, "1 0")):
        async with wired(version) as wire:
            async with httpx2.AsyncClient(timeout=LONG) as http:
                other = Wire(http, wire.url, version)
                other.headers = wire.headers
                call = asyncio.create_task(other.call("up__wait", {}, 7))
                await until(lambda: _says(wire, "1 0"))
                call.cancel()
                await asyncio.wait({call})
            await until(lambda: _says(wire, after))  # noqa: B023
            if version == LEGACY:
                await wire.notify("notifications/cancelled", {"requestId": 7})
                await until(lambda: _says(wire, "0 1"))


async def _says(wire: Wire, words: str) -> bool:
    return await wire.said("up__waited") == words


async def test_the_end_of_a_session_ends_its_calls() -> None:
    async with wired(LEGACY) as wire, httpx2.AsyncClient(timeout=LONG) as http:
        other = Wire(http, wire.url, LEGACY)
        await other.open()
        await until(lambda: _short(other))
        call = asyncio.create_task(other.call("up__wait", {}, 7))
        await until(lambda: _says(wire, "1 0"))
        assert (await http.delete(other.url, headers=other.headers)).status_code == 200
        (answer,) = events((await call).text)
        assert answer["error"]["message"] == "Session terminated before the request completed"
        await until(lambda: _says(wire, "0 1"))
        assert (await other.call("up__waited", {})).status_code == 404


async def test_a_question_is_answered_in_another_request_of_the_session() -> None:
    behind = {**BEHIND, "servers": {"up": {**BEHIND["servers"]["up"], "mode": "legacy"}}}
    async with (
        asyncio.timeout(LONG),
        Host(behind, environ={}) as host,
        host.mcp_server().http() as url,
        httpx2.AsyncClient(timeout=LONG) as http,
    ):
        wire = Wire(http, url, LEGACY)
        await wire.open(roots={})
        await until(lambda: _short(wire))
        params = {"name": "up__ask", "arguments": {"what": "place"}}
        sent: dict[str, Any] = {"json": wire.message("tools/call", params, 3), "headers": wire.headers}
        roots = {"roots": [{"uri": "file:///here"}]}
        found: list[dict[str, Any]] = []
        async with http.stream("POST", url, **sent) as stream:
            async for line in stream.aiter_lines():
                found += events(line)
                if found and found[-1].get("method") == "roots/list":
                    given = {"jsonrpc": "2.0", "id": found[-1]["id"], "result": roots}
                    taken = await http.post(url, json=given, headers=wire.headers)
                    assert taken.status_code == 202
                    found.append({})
        assert json.loads(found[-1]["result"]["content"][0]["text"]) == roots


@ERAS
async def test_a_long_silence_makes_a_stream_that_is_kept_up(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wired(version) as wire:
        monkeypatch.setattr(exchange, "PING", 0.01)
        params = {"name": "up__wait", "arguments": {}}
        sent: dict[str, Any] = {
            "json": wire.message("tools/call", params, 7),
            "headers": wire.named("tools/call", params),
        }
        async with wire.http.stream("POST", wire.url, **sent) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            pings = 0
            while pings < 2:
                pings += await anext(lines) == ": ping"
            monkeypatch.undo()
            await until(lambda: _says(wire, "1 0"))
        if version == LEGACY:
            await wire.notify("notifications/cancelled", {"requestId": 7})
        await until(lambda: _says(wire, "0 1"))
