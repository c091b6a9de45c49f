"""What of the protocol has no operation of its own: by its method's name, in both eras."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.errors import DeadlineError, InvalidRequestError, UnsupportedError
from gleitzeit.values import Elicited, Invoke, ReadResource, Request, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]

eras = pytest.mark.parametrize("era", ["legacy", "modern"])
CLIENT = "io.modelcontextprotocol/clientCapabilities"


def method(called: str, /, **params: Any) -> Request:
    return Invoke(called, arguments=params).to("")


def tool(name: str, **arguments: Any) -> Request:
    return ToolCall(arguments).to(name)


def declared(heard: Heard, era: str) -> Any:
    """What the client told the server of its capabilities."""
    if era == "legacy":
        return heard("initialize")[0]["params"]["capabilities"]
    return heard("tools/call")[0]["params"]["_meta"][CLIENT]


@eras
async def test_an_argument_is_completed(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        ref = {"type": "ref/prompt", "name": "greet"}
        reply = await provider.reply(
            method("completion/complete", ref=ref, argument={"name": "who", "value": "A"})
        )
    assert reply.data["completion"]["values"] == ["Ada", "Alan"]
    assert reply.raw is reply.data


@eras
async def test_any_method_gives_its_raw_result(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        listed = await provider.reply(method("tools/list"))
        called = await provider.reply(method("tools/call", name="echo", arguments={"text": "raw"}))
        assert (await provider.reply(method("ping"))).data == {}
        with pytest.raises(UnsupportedError):
            await provider.reply(method("future/thing"))
    echo = next(each for each in listed.data["tools"] if each["name"] == "echo")
    assert echo["x-new"] == {"kept": 2**60}
    assert called.data["content"] == [{"type": "text", "text": "raw"}]


@pytest.mark.parametrize(
    "request_",
    [
        method("initialize"),
        method("subscriptions/listen"),
        method("notifications/cancelled", requestId=1),
        Invoke("tools/list", args=("x",)).to(""),
        method("logging/setLevel", level="loud"),
        method("resources/subscribe"),
    ],
    ids=lambda request: request.operation.method,
)
async def test_what_would_break_the_session_or_is_wrong_is_refused_unsent(
    start: Start, heard: Heard, request_: Request
) -> None:
    async with start() as provider:
        with pytest.raises(InvalidRequestError) as caught:
            await provider.reply(request_)
        assert caught.value.sent is False
        await provider.reply(tool("echo"))
    sent = [each for each in heard(request_.operation.method) if each.get("id") is not None]  # type: ignore[attr-defined]
    assert len(sent) <= 1  # the session's own


@eras
async def test_a_question_to_a_person_is_put_and_answered(start: Start, heard: Heard, era: str) -> None:
    answers = (Elicited.accept({"name": "Ada"}), Elicited.accept(), Elicited.decline())
    async with start({"era": era, "version": "2025-11-25"}, answers=answers) as provider:
        form = json.loads((await provider.reply(tool("form"))).text)
        visit = json.loads((await provider.reply(tool("visit"))).text)
        declined = json.loads((await provider.reply(tool("form"))).text)
    assert form == {"action": "accept", "content": {"name": "Ada", "color": "blue"}}
    assert visit == {"action": "accept"}
    assert declined == {"action": "decline"}
    asked, address, _ = provider.context.elicited
    assert (asked.message, asked.instance, asked.url) == ("Who are you?", "scripted", None)
    assert asked.schema["properties"]["name"] == {"type": "string"}
    assert (address.url, address.schema, address.id) == ("https://example.org/in", None, "e1")
    assert declared(heard, era)["elicitation"] == {"form": {}, "url": {}}


@eras
async def test_without_anybody_to_ask_a_question_is_not_answered(
    start: Start, heard: Heard, era: str
) -> None:
    async with start({"era": era}) as provider:
        said = (await provider.reply(tool("form"))).text
    assert said in ('{"action": "decline"}', "Method not found")
    assert not provider.context.elicited
    assert "elicitation" not in declared(heard, era)


@eras
async def test_the_roots_of_the_entry_are_told_and_no_others(
    start: Start, heard: Heard, era: str, tmp_path: Path
) -> None:
    roots = (str(tmp_path), {"uri": "file:///srv", "name": "data"})
    async with start({"era": era}, roots=roots) as provider:
        said = json.loads((await provider.reply(tool("roots"))).text)
    assert said == {"roots": [{"uri": tmp_path.as_uri()}, {"uri": "file:///srv", "name": "data"}]}
    assert "roots" in declared(heard, era)


@eras
async def test_log_messages_go_to_the_hosts_log_from_the_level_that_is_wanted(
    start: Start, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    env = {"SERVICE_TOKEN": "canary-4711"}
    with caplog.at_level(logging.DEBUG, "gleitzeit"):
        async with start({"era": era}, log_level="warning", env=env) as provider:
            assert (await provider.reply(tool("speak", level="info", data="too quiet"))).text == "warning"
            await provider.reply(tool("speak", level="error", data={"disk": "full\n", "key": "canary-4711"}))
            await provider.reply(method("logging/setLevel", level="debug"))
            assert (await provider.reply(tool("speak", level="debug", data="details"))).text == "debug"
    said = [(r.levelname, r.getMessage()) for r in caplog.records if "says" in r.getMessage()]
    assert [level for level, _ in said] == ["ERROR", "DEBUG"]
    assert "'scripted' (engine) says" in said[0][1]
    assert "full" in said[0][1]
    assert "canary" not in caplog.text
    assert "details" in said[1][1]


@eras
async def test_a_server_that_nobody_listens_to_stays_out_of_the_log(
    start: Start, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    with caplog.at_level(logging.DEBUG, "gleitzeit"):
        async with start({"era": era}) as provider:
            said = (await provider.reply(tool("speak", level="emergency", data="!"))).text
    assert said == "nobody listens"
    assert "says" not in caplog.text


@eras
async def test_a_level_holds_for_the_next_session_too(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        await provider.reply(method("logging/setLevel", level="info"))
        with pytest.raises(Exception, match="exit status 1"):
            await provider.reply(tool("die"))
        assert (await provider.reply(tool("speak", level="info", data="x"))).text == "info"


@eras
async def test_changes_of_a_resource_are_announced_to_who_subscribed(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        context = provider.context
        await provider.reply(tool("write", uri="file:///a"))
        await provider.reply(method("resources/subscribe", uri="file:///a"))
        await provider.reply(method("resources/subscribe", uri="file:///b"))
        await provider.reply(tool("write", uri="file:///a"))
        await context.updated.wait()
        assert set(context.resources) == {"file:///a"}
        await provider.reply(method("resources/unsubscribe", uri="file:///a"))
        context.resources.clear()
        await provider.reply(tool("write", uri="file:///a"))
        context.updated.clear()
        await provider.reply(tool("write", uri="file:///b"))
        await context.updated.wait()
        assert set(context.resources) == {"file:///b"}  # while one stream follows another, twice
        assert context.changes == 0


@eras
async def test_a_subscription_survives_its_session(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        await provider.reply(method("resources/subscribe", uri="file:///a"))
        with pytest.raises(Exception, match="exit status 1"):
            await provider.reply(tool("die"))
        await provider.reply(tool("echo"))
        provider.context.updated.clear()
        provider.context.resources.clear()
        await provider.reply(tool("write", uri="file:///a"))
        await provider.context.updated.wait()
        assert "file:///a" in provider.context.resources


async def test_a_subscription_waits_no_longer_than_its_caller(start: Start) -> None:
    async with start({"era": "legacy", "ignores": ["resources/subscribe"]}) as provider:
        await provider.reply(tool("echo"))
        request = Invoke("resources/subscribe", arguments={"uri": "file:///a"}).to("", timeout=0.2)
        with pytest.raises(DeadlineError):
            await provider.reply(request)
        assert (await provider.reply(tool("echo", text="still here"))).text == "still here"
        assert not provider._ears.subscribed


@pytest.mark.parametrize("scope,reads", [("public", 1), ("private", 2)])
async def test_a_resource_is_kept_as_long_and_for_whom_the_server_says(
    start: Start, heard: Heard, scope: str, reads: int
) -> None:
    marks = {"ttlMs": 3_600_000, "cacheScope": scope}
    read = ReadResource("file:///a").to("")
    async with start({"era": "modern", "marks": marks}) as provider:
        for principal in ("ada", "ada", "bob"):
            found = await provider.reply(read.evolve(principal=principal))
            assert found.text == "the text of a"
        assert len(heard("resources/read")) == reads
        await provider.reply(method("resources/subscribe", uri="file:///a"))
        await provider.reply(tool("write", uri="file:///a"))
        await provider.context.updated.wait()
        await provider.reply(read.evolve(principal="ada"))
        assert len(heard("resources/read")) == reads + 1


async def test_without_a_hint_every_read_asks(start: Start, heard: Heard) -> None:
    async with start({"era": "modern"}) as provider:
        for _ in range(2):
            await provider.reply(ReadResource("file:///a").to(""))
    assert len(heard("resources/read")) == 2


async def test_a_list_that_has_become_old_is_announced_and_read_anew(start: Start, heard: Heard) -> None:
    server = {"era": "modern", "marks": {"ttlMs": 1}, "capabilities": {"tools": {}}}
    async with start(server) as provider:
        await provider.provide_tools()
        assert len(heard("tools/list")) == 1
        await provider.context.announced.wait()
        await provider.provide_tools()
        assert len(heard("tools/list")) == 2


async def test_a_list_holds_where_the_server_tells_of_changes(start: Start) -> None:
    async with start({"era": "modern", "marks": {"ttlMs": 1}}) as provider:
        await provider.provide_tools()
        assert provider._catalogue._tools.expiry is None


@pytest.mark.feature("S004-43")
@eras
async def test_what_nobody_asked_for_harms_nothing(start: Start, heard: Heard, era: str) -> None:
    async with start({"era": era}) as provider:
        replies = await asyncio.gather(*(provider.reply(tool("twice")) for _ in range(5)))
        assert [each.text for each in replies] == ["once"] * 5
        assert (await provider.reply(tool("echo", text="and on"))).text == "and on"
        assert (await provider.health()).data["restarts"] == 0
