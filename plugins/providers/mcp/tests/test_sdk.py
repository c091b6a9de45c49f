"""The whole protocol with a server on the protocol's own SDK, in both eras."""

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig

from gleitzeit.values import Elicited, Invoke, Progress, ReadResource, Reply, Request, ToolCall

Start = Callable[..., Any]
SERVER = str(Path(__file__).with_name("sdk_server.py"))


def tool(called: str, /, **arguments: Any) -> Request:
    return ToolCall(arguments).to(called)


def method(called: str, /, **params: Any) -> Request:
    return Invoke(called, arguments=params).to("")


@pytest.fixture(params=["legacy", "modern"])
def sdk(request: pytest.FixtureRequest, start: Start) -> Any:
    """Runs a provider of the SDK's server, in one era."""

    @asynccontextmanager
    async def run(
        replies: tuple[Reply, ...] = (), answers: tuple[Elicited, ...] = (), **fields: Any
    ) -> AsyncIterator[Any]:
        entry = {"command": sys.executable, "args": ["-W", "ignore", SERVER], "mode": request.param}
        config = McpConfig(**entry, **fields)
        async with start(config=config, replies=replies, answers=answers) as provider:
            yield provider

    return run


@pytest.mark.feature("S004-19")
async def test_the_server_asks_back_and_gets_answers(sdk: Any, tmp_path: Path) -> None:
    answers = (Elicited.accept({"name": "Ada"}), Elicited.accept(), Elicited.decline())
    four = Reply("four", model="m-1", finish_reason="stop")
    async with sdk((four,), answers, roots=(str(tmp_path),)) as provider:
        form = json.loads((await provider.reply(tool("form"))).text)
        visit = json.loads((await provider.reply(tool("visit"))).text)
        declined = json.loads((await provider.reply(tool("form"))).text)
        roots = json.loads((await provider.reply(tool("roots"))).text)
        sampled = json.loads((await provider.reply(tool("sample"))).text)
    assert (form["action"], form["content"]) == ("accept", {"name": "Ada"})
    assert visit["action"] == "accept"
    assert declined["action"] == "decline"
    assert roots["roots"][0]["uri"] == tmp_path.as_uri()
    assert sampled["content"]["text"] == "four"
    assert [bool(asked.url) for asked in provider.context.elicited] == [False, True, False]


@pytest.mark.parametrize("sdk", ["legacy"], indirect=True)  # the other era has another way for it
async def test_a_call_that_a_person_has_to_go_somewhere_for(sdk: Any) -> None:
    async with sdk(answers=(Elicited.accept(),)) as provider:

        async def person(question: Any) -> Elicited:
            assert (question.url, question.id) == ("https://example.org/pay", "e1")
            await provider.reply(tool("pay"))
            return Elicited.accept()

        provider.context.elicit = person
        assert (await provider.reply(tool("toll"))).text == "done"


@pytest.mark.feature("S004-19")
async def test_the_server_tells_of_changes_progress_and_more(
    sdk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with sdk(log_level="info") as provider:
        context = provider.context
        assert "file:///a" in {each.uri for each in await provider.provide_resources()}
        await provider.provide_tools()
        await provider.reply(method("resources/subscribe", uri="file:///a"))
        assert (await provider.reply(ReadResource("file:///a").to(""))).text == "content"
        await provider.reply(tool("write", uri="file:///b"))
        await provider.reply(tool("write", uri="file:///a"))
        await context.updated.wait()
        assert set(context.resources) == {"file:///a"}
        await provider.reply(tool("grow", name="new"))
        await context.announced.wait()
        assert "new" in {each.name for each in await provider.provide_tools()}
        with caplog.at_level(logging.INFO, "gleitzeit"):
            await provider.reply(tool("speak", level="warning", data="the disk is nearly full"))
        assert "the disk is nearly full" in caplog.text
        ref = {"type": "ref/prompt", "name": "greet"}
        found = await provider.reply(
            method("completion/complete", ref=ref, argument={"name": "who", "value": "A"})
        )
        assert found.data["completion"]["values"] == ["Ada", "Alan"]
        request = provider.aimed(tool("count").evolve(stream=True))
        async with await provider.call(request) as stream:
            events = [event async for event in stream]
        assert [event.progress for event in events if isinstance(event, Progress)] == [1.0, 2.0, 3.0]
        assert (await provider.reply(method("ping"))).data == {}
