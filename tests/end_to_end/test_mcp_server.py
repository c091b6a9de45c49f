"""A host as an MCP server, used by the official SDK's client in both eras."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from gleitzeit import Host
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat,
    Event,
    Finished,
    Model,
    Reply,
    Request,
    Started,
    Stream,
    TextDelta,
    Tool,
)
from tests.end_to_end.mcp_serving import BEHIND, LONG, Mode, client, text, until

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
SAID = [{"role": "user", "content": "hi"}]
HELLO = "Hello! I am a scripted model, not a language model: I say the same to everybody."


class Heard:
    """Takes progress."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float | None, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.found.append((progress, total, message))


@pytest.mark.parametrize("wire", ["stdio", "http"])
@MODES
async def test_a_client_finds_all_that_the_host_has(wire: str, mode: Mode, tmp_path: Path) -> None:
    heard = Heard()
    async with client(wire, mode, tmp_path) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert names[:6] == ["chat", "complete", "embed", "classify", "list_models", "health"]
        assert {"up__echo", "up__count"} <= set(names)

        counted = await session.call_tool("up__count", {"to": 3}, progress_callback=heard)
        assert text(counted) == "counted"
        assert heard.found == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
        heard.found.clear()

        asked = {"model": "scripted/hello", "messages": SAID}
        said = await session.call_tool("chat", asked, progress_callback=heard)
        assert text(said) == HELLO
        assert "".join(message or "" for _, _, message in heard.found) == HELLO
        assert len(heard.found) > 1

        vectors = await session.call_tool("embed", {"model": "scripted/embed", "inputs": ["a", "b"]})
        assert len(vectors.structured_content["embeddings"]) == 2
        models = (await session.call_tool("list_models", {})).structured_content["models"]
        assert "scripted/hello" in [model["name"] for model in models]
        health = (await session.call_tool("health", {})).structured_content["instances"]
        assert {row["name"]: row["status"] for row in health}["up"] == "ok"

        assert [each.uri for each in (await session.list_resources()).resources] == ["test://plain"]
        shapes = (await session.list_resource_templates()).resource_templates
        assert [each.uri_template for each in shapes] == ["test://item/{id}"]
        for uri in ("test://plain", "test://item/7"):
            read: Any = await session.read_resource(uri)
            assert read.contents[0].text == f"read {uri}"
        assert [each.name for each in (await session.list_prompts()).prompts] == ["up__greet"]
        greeting: Any = await session.get_prompt("up__greet", {"who": "Al"})
        assert greeting.messages[0].content.text == "Hello Al"
        for reference in (
            PromptReference(name="up__greet"),
            ResourceTemplateReference(uri="test://item/{id}"),
        ):
            found = await session.complete(reference, {"name": "who", "value": "A"})
            assert found.completion.values == ["Alan"]


@MODES
async def test_a_cancelled_call_is_cancelled_at_the_upstream(mode: Mode, tmp_path: Path) -> None:
    async with client("http", mode, tmp_path) as session:

        async def state() -> str:
            return text(await session.call_tool("up__waited", {}))

        async def waits() -> bool:
            return await state() == "1 0"

        async def cancelled() -> bool:
            return await state() == "0 1"

        call = asyncio.create_task(session.call_tool("up__wait", {}))
        await until(waits)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(cancelled)


@MODES
async def test_a_changed_list_is_told_once_it_differs(mode: Mode, tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Any) -> None:
        if (method := getattr(message, "method", None)) is not None:
            await told.put(method)

    async with client("http", mode, tmp_path, message_handler=hear, cache=None) as session:
        before = {tool.name for tool in (await session.list_tools()).tools}
        if mode == "legacy":
            await session.call_tool("up__grow", {})
            assert await told.get() == "notifications/tools/list_changed"
        else:
            async with session.listen(tools_list_changed=True) as events:
                await session.call_tool("up__grow", {})
                assert type(await anext(aiter(events))).__name__ == "ToolsListChanged"
        after = {tool.name for tool in (await session.list_tools()).tools}
        assert after - before == {"up__late"}


@MODES
async def test_what_a_tool_reports_and_what_a_request_breaks_are_told_apart(
    mode: Mode, tmp_path: Path
) -> None:
    async with client("http", mode, tmp_path) as session:
        assert (await session.call_tool("up__fail", {})).is_error
        for name, given, said in (
            ("nothing", {}, "Unknown tool: nothing"),
            ("chat", {"model": "nobody/x", "messages": SAID}, "nobody/x"),
            ("chat", {"model": "scripted/hello", "messages": []}, "`messages` must be"),
            ("chat", {"model": "scripted/hello", "messages": [{"role": "king", "content": ""}]}, "'king'"),
            ("embed", {"model": "scripted/embed", "inputs": [1]}, "`inputs` must be"),
        ):
            with pytest.raises(MCPError, match=said) as caught:
                await session.call_tool(name, given)
            assert caught.value.error.code == -32602
        with pytest.raises(MCPError, match="Resource not found"):
            await session.read_resource("test://nowhere/else")
        with pytest.raises(MCPError, match="Invalid cursor"):
            await session.list_tools(cursor="?")


class Leaky(Provider):
    """A provider that says too much."""

    def provide_tools(self) -> tuple[Tool, ...]:
        return (Tool("spill"),)

    async def call(self, request: Request) -> Reply:
        raise ValueError("the key is sk-very-secret")


@MODES
async def test_what_an_exception_says_stays_here(mode: Mode) -> None:
    async with (
        Host({"providers": {"leaky": {}}}, environ={}, plugins={"leaky": Leaky}) as host,
        host.mcp_server(tools="leaky/*").http() as url,
        Client(url, mode=mode) as session,
    ):
        with pytest.raises(MCPError, match="not available") as caught:
            await session.call_tool("leaky__spill", {})
        assert "secret" not in str(caught.value.error)
        assert "ValueError" not in str(caught.value.error)


async def test_only_what_the_operator_chose_is_served() -> None:
    async with Host(BEHIND, environ={}) as host:
        server = host.mcp_server(
            tools=["up/echo", "up/c*"], models=(), resources=(), prompts=(), bare="up", page=1
        )
        async with server.http() as url, Client(url) as session:
            first = await session.list_tools()
            assert [tool.name for tool in first.tools] == ["echo"]
            rest = await session.list_tools(cursor=first.next_cursor)
            assert [tool.name for tool in rest.tools] == ["count"]
            assert rest.next_cursor is None
            assert text(await session.call_tool("echo", {"text": "x"})) == "said x"
            for hidden in ("up__echo", "fail", "up__fail", "chat"):
                with pytest.raises(MCPError, match="Unknown tool"):
                    await session.call_tool(hidden, {})
            assert not (await session.list_resources()).resources
            with pytest.raises(MCPError, match="Resource not found"):
                await session.read_resource("test://plain")
        async with host.mcp_server(models="scripted/e*").http() as url, Client(url) as session:
            with pytest.raises(MCPError, match="no model 'scripted/hello' here"):
                await session.call_tool(
                    "chat", {"model": "scripted/hello", "messages": [{"role": "user", "content": "x"}]}
                )
            listed = (await session.call_tool("list_models", {})).structured_content["models"]
            assert {row["name"] for row in listed} == {"scripted/echo", "scripted/embed"}


async def test_too_many_requests_at_once_are_refused_with_a_reason() -> None:
    async with (
        Host(BEHIND, environ={}) as host,
        host.mcp_server(max_requests=1).http() as url,
        Client(url, cache=None) as session,
    ):
        await session.list_tools()
        call = asyncio.create_task(session.call_tool("up__wait", {}))
        refusals: list[Any] = []

        async def refused() -> bool:
            assert not call.done()
            try:
                await session.list_prompts()
            except MCPError as error:
                refusals.append(error.error.data)
            return bool(refusals)

        await until(refused)
        assert refusals[0]["gleitzeit"]["code"] == "queue_full"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


class Generator(Provider):
    """A backend whose answers are an asynchronous generator."""

    closed: asyncio.Event
    endless = False

    def provide_models(self) -> tuple[Model, ...]:
        return (Model("words", operations={Chat}),)

    async def call(self, request: Request) -> Stream:
        return Stream(self.words())

    async def words(self) -> AsyncIterator[Event]:
        yield Started()
        try:
            for word in ("one ", "two ", "three"):
                yield TextDelta(word)
            if type(self).endless:
                await asyncio.Event().wait()
            yield Finished("stop")
        finally:
            type(self).closed.set()


@MODES
@pytest.mark.feature("S002-26")
async def test_a_generator_streams_through_the_server_and_is_closed_midway(mode: Mode) -> None:
    Generator.closed = asyncio.Event()
    heard, three = Heard(), asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        await heard(progress, total, message)
        if len(heard.found) == 3:
            three.set()

    async with (
        asyncio.timeout(LONG),
        Host({"providers": {"mine": {}}}, environ={}, plugins={"mine": Generator}) as host,
        host.mcp_server(models="mine/*", tools=()).http() as url,
        Client(url, mode=mode) as session,
    ):
        await session.list_tools()
        asked = {"model": "mine/words", "messages": SAID}
        Generator.endless = False
        async with host.stream(Chat("hi").to("mine/words")) as stream:
            assert [event.text async for event in stream if isinstance(event, TextDelta)][:2] == [
                "one ",
                "two ",
            ]
        said = await session.call_tool("chat", asked, progress_callback=hear)
        assert text(said) == "one two three"
        assert [message for _, _, message in heard.found] == ["one ", "two ", "three"]
        assert Generator.closed.is_set()

        heard.found.clear()
        three.clear()
        Generator.closed.clear()
        Generator.endless = True
        call = asyncio.create_task(session.call_tool("chat", asked, progress_callback=hear))
        await three.wait()
        assert not Generator.closed.is_set()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await Generator.closed.wait()
