"""Connections: how many, how long they live, what becomes of one that is lost, and how finely text comes."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import pytest

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Request, TextDelta
from gleitzeit.errors import GleitzeitError
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from gleitzeit.values import ToolCall

SAID = "one two three four five six"
SCRIPT = Script({"m": (Rule(Answer(SAID)),)})
LIMIT = 60  # seconds; what is waited for comes within one


def lab(url: str, **host: Any) -> dict[str, Any]:
    """A configuration with one server."""
    entry = {"plugin": "openai", "base_url": url, "api_key": "sk-x", "models": ["m"]}
    return {"providers": {"lab": entry}, "host": host}


class Relay:
    """Passes bytes on to a port, and counts the connections that are open."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self.port = 0
        self.open = self.most = self.total = 0
        self.none = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.none.clear()
        self.open += 1
        self.total += 1
        self.most = max(self.most, self.open)
        up, down = await asyncio.open_connection("127.0.0.1", self._upstream)
        back = asyncio.create_task(_pour(up, writer))
        await _pour(reader, down)
        await asyncio.wait({back})
        self.open -= 1
        if not self.open:
            self.none.set()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.feature("S001-14")
async def test_connections_are_capped_reused_and_closed_with_the_host() -> None:
    async with OpenAIServer(SCRIPT) as server, asyncio.timeout(LIMIT):
        async with Relay(int(server.url.removesuffix("/v1").rpartition(":")[2])) as relay:
            config = lab(f"http://127.0.0.1:{relay.port}/v1", http={"max_connections": 4})
            async with Host(config, environ={}) as host:
                calls = (host.call(Chat("hi").to("lab/m")) for _ in range(80))
                assert {reply.text for reply in await asyncio.gather(*calls)} == {SAID}
                assert relay.open >= 1, "an idle connection is kept for the next call"
            await relay.none.wait()
        assert relay.most <= 4
        assert relay.total < len(server.requests) == 80


@pytest.mark.feature("S003-19")
async def test_a_thousand_calls_need_a_handful_of_connections() -> None:
    async with OpenAIServer(SCRIPT) as server, Host(lab(server.url), environ={}) as host:

        async def work() -> None:
            for _ in range(125):
                assert (await host.call(Chat("hi").to("lab/m"))).text == SAID

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(work())
        assert len(server.requests) == 1000
        assert server.connections < 50  # 8, and some that a slow machine has let grow old


@pytest.mark.feature("S001-15")
async def test_a_server_that_was_away_is_used_again_without_help() -> None:
    models = ToolCall({}).to("far/list_models")
    async with (
        asyncio.timeout(LIMIT),
        Host({"providers": {"scripted": {}}}, environ={}) as inner,
        contextlib.AsyncExitStack() as running,
    ):
        url = await running.enter_async_context(inner.mcp_server().http())
        config = {"servers": {"far": {"url": url, "retry": {"max_retries": 0}}}}
        async with Host(config, environ={}) as host:
            assert "scripted/hello" in (await host.call(models)).text
            assert await status(host) == "ok"
            await running.aclose()
            while await status(host) == "ok":
                await asyncio.sleep(0.01)
            with pytest.raises(GleitzeitError):
                await host.call(models)
            port = int(url.split(":")[2].partition("/")[0])
            async with inner.mcp_server().http("127.0.0.1", port):
                while await status(host) != "ok":
                    await asyncio.sleep(0.01)
                assert "scripted/hello" in (await host.call(models)).text


async def status(host: Host) -> str:
    """How the server fares, when it is asked."""
    (row,) = [row for row in await host.health(deep=True) if row.name == "far"]
    return row.health.status


class Whole(Provider):
    """Does not stream."""

    def provide_models(self) -> list[Model]:
        """One."""
        return [Model("m")]

    async def call(self, request: Request) -> Reply:
        """All at once, asked to stream or not."""
        return Reply(SAID, finish_reason="stop")


def chunks(*pieces: str) -> Answer:
    """A stream of these pieces."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    made = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return Answer(frames=tuple({**head, "choices": [choice]} for choice in (*made, end)))


@pytest.mark.feature("S001-08")
async def test_a_stream_is_as_fine_as_its_source_and_whole_where_that_does_not_stream() -> None:
    words = SAID.split(" ")
    tokens = [words[0], *(f" {word}" for word in words[1:])]
    async with OpenAIServer(SCRIPT) as server:
        config = lab(server.url)
        config["providers"]["whole"] = {}
        async with Host(config, plugins={"whole": Whole}, environ={}) as host:
            server.answers.extend([chunks(*tokens), chunks(SAID[:13], SAID[13:])])
            seen = [await pieces(host, target) for target in ("lab/m", "lab/m", "whole/m")]
    assert seen == [tokens, [SAID[:13], SAID[13:]], [SAID]]


async def pieces(host: Host, target: str) -> list[str]:
    """The text of a stream as it comes; its last event says why it ended."""
    async with host.stream(Chat("hi").to(target)) as stream:
        events = [event async for event in stream]
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason == "stop"
    return [event.text for event in events if isinstance(event, TextDelta)]
