"""A server that wants a person to visit an address first: they are asked, and the call is made once more."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_mcp import visiting

from gleitzeit.errors import DeadlineError, UnsupportedError
from gleitzeit.values import Elicited, Request, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]

OLD = {"era": "legacy", "version": "2025-11-25"}
YES = Elicited.accept()


def toll(*visits: Any, **fields: Any) -> Request:
    return ToolCall({"visits": list(visits)} if visits else {}).to("toll", **fields)


def pay(visit: str) -> Request:
    return ToolCall({"visit": visit}).to("pay")


async def test_the_call_is_made_again_once_every_visit_is_over(
    start: Start, heard: Heard, eventually: Eventually
) -> None:
    async with start(OLD, mode="legacy", answers=(YES, YES)) as provider:
        call = asyncio.create_task(provider.reply(toll("e1", "e2")))
        await eventually(lambda: len(provider.context.elicited) == 2)
        asked = provider.context.elicited
        assert [(each.id, each.message, each.instance) for each in asked] == [
            ("e1", "Pay e1.", "scripted"),
            ("e2", "Pay e2.", "scripted"),
        ]
        assert asked[0].url == "https://example.org/pay?key=canary-e1"
        await provider.reply(pay("another"))
        await provider.reply(pay("e1"))
        assert not call.done()
        assert len(heard("tools/call", "toll")) == 1
        await provider.reply(pay("e2"))
        assert (await call).text == "through"
        assert len(heard("tools/call", "toll")) == 2


async def test_a_visit_that_is_over_before_the_person_has_said_so(start: Start, heard: Heard) -> None:
    async with start(OLD, mode="legacy", answers=(YES,)) as provider:

        async def person(question: Any) -> Elicited:
            await provider.reply(pay(question.id))
            return YES

        provider.context.elicit = person
        assert (await provider.reply(toll())).text == "through"
        assert len(heard("tools/call", "toll")) == 2


@pytest.mark.parametrize("answers", [(), (Elicited.decline(),), (YES, Elicited.cancel())], ids=len)
async def test_where_nobody_goes_the_error_says_where_to(
    start: Start, heard: Heard, caplog: pytest.LogCaptureFixture, answers: tuple[Elicited, ...]
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with start(OLD, mode="legacy", answers=answers) as provider:
            with pytest.raises(UnsupportedError, match=r"https://example\.org/pay\?…") as caught:
                await provider.reply(toll("e1", "e2"))
            assert len(heard("tools/call", "toll")) == 1
    assert caught.value.vendor_code == "-32042"
    assert caught.value.body is not None
    listed = json.loads(caught.value.body)["elicitations"]
    assert listed[0]["url"] == "https://example.org/pay?key=canary-e1"
    assert "canary" not in f"{caught.value} {caught.value!r} {caplog.text}"


async def test_a_server_that_never_tells_of_the_end_is_asked_once_more(
    start: Start, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "PATIENCE", 0.0)
    async with start(OLD, mode="legacy", answers=(YES, YES)) as provider:
        with pytest.raises(UnsupportedError):
            await provider.reply(toll())
        assert len(heard("tools/call", "toll")) == 2
        assert len(provider.context.elicited) == 1


async def test_the_deadline_of_the_call_holds_while_a_person_takes_their_time(start: Start) -> None:
    async with start(OLD, mode="legacy", answers=(YES,)) as provider:
        await provider.reply(pay("another"))

        async def person(question: Any) -> Elicited:
            await asyncio.Event().wait()
            raise AssertionError("nobody comes back")

        provider.context.elicit = person
        with pytest.raises(DeadlineError):
            await provider.reply(toll(timeout=0.3))


async def test_half_of_the_time_is_left_for_the_call_itself(
    start: Start, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def over(events: Any, connection: Any, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(visiting, "_over", over)
    async with start(OLD, mode="legacy", answers=(YES, YES)) as provider:
        for fields in ({"timeout": 100}, {}):
            with pytest.raises(UnsupportedError):
                await provider.reply(toll(**fields))
        assert len(heard("tools/call", "toll")) == 4
    assert waits[0] <= 50
    assert waits[1] == visiting.PATIENCE


async def test_who_can_tell_no_more_is_not_waited_for(
    start: Start, heard: Heard, eventually: Eventually
) -> None:
    async with start(OLD, mode="legacy", answers=(YES,)) as provider:
        call = asyncio.create_task(provider.reply(toll()))
        await eventually(lambda: provider.context.elicited)
        os.kill(await provider.pid(), signal.SIGKILL)
        with pytest.raises(UnsupportedError):  # of the next process, which knows nothing of a visit
            await call
        assert len(heard("tools/call", "toll")) == 2


SENSELESS: list[Any] = [
    None,
    {},
    {"elicitations": 7},
    {"elicitations": [7]},
    {"elicitations": [{"mode": "url", "url": "https://example.org/"}]},
    {"elicitations": [{"mode": "url", "url": 7, "elicitationId": "e"}]},
    {"elicitations": [{"mode": "form", "url": "https://example.org/", "elicitationId": "e"}]},
    {"elicitations": [{"url": "https://[", "elicitationId": "e", "mode": "?"}]},
]


async def test_nobody_is_sent_anywhere_by_words_that_make_no_sense(start: Start, heard: Heard) -> None:
    async with start(OLD, mode="legacy", answers=(YES,)) as provider:
        for data in SENSELESS:
            with pytest.raises(UnsupportedError, match="a person"):
                await provider.reply(ToolCall({"code": -32042, "data": data}).to("refuse"))
        assert not provider.context.elicited
        assert len(heard("tools/call", "refuse")) == len(SENSELESS)


def test_a_hint_shows_no_more_than_where_to_go() -> None:
    def hint(url: Any) -> str | None:
        return visiting.addressed({"elicitations": [{"url": url}]})

    assert "https://example.org:8443/a first" in str(hint("https://user:pass@example.org:8443/a"))
    assert "secret" not in str(hint("https://example.org/a#secret"))
    for url in (
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://example.org/\x1b[2J",
        "",
        7,
        "https://",
    ):
        assert hint(url) is None
    assert len(str(hint("https://example.org/" + "a" * 10_000))) < 400
