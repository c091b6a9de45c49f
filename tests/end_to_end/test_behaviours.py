"""The table of `behaviours` holds, and what no other test shows of it is shown here, on every provider."""

from __future__ import annotations

import functools
import re

import pytest

from gleitzeit import Chat, Message, TextDelta
from gleitzeit.values import ToolResultPart
from tests.end_to_end.behaviours import BEHAVIOURS, PLACES
from tests.end_to_end.dialects.words import SENTENCE
from tests.end_to_end.talk import EACH, WAYS, ask, converse, good, opening, talking, wire
from tests.end_to_end.voices import NAMES, VOICES
from tests.harness import ROOT


@functools.cache
def _tests(place: str) -> frozenset[str]:
    """The names of all tests in a place."""
    texts = (path.read_text("utf-8") for path in (ROOT / PLACES[place]).rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"def (test_\w+)\(", text))


def test_every_behaviour_has_a_test_that_is_there() -> None:
    assert list(BEHAVIOURS) == list(range(1, 55))
    shown = [tuple(row.split(": ")) for _, *rows in BEHAVIOURS.values() for row in rows]
    assert [f"{place}: {name}" for place, name in shown if name not in _tests(place)] == []
    assert all(len(row) > 1 for row in BEHAVIOURS.values())


@EACH
async def test_a_packed_stream_is_read_as_it_comes(name: str) -> None:
    """The first piece of text is there while the server holds back the rest."""
    frames = good(name)
    async with talking(name) as (host, server):
        first = len(opening(frames))
        packed = VOICES[name].says(frames=frames, gzip=True, fault="stall", after=first)
        server.answers.extend([VOICES[name].says(frames=frames, gzip=True), packed])
        assert (await ask(host, name, stream=True)).text == SENTENCE
        async with host.stream(Chat("hi").to(f"{name}/m-1")) as stream:
            text = await anext(event.text async for event in stream if isinstance(event, TextDelta))
        assert text
        assert SENTENCE.startswith(text)


@WAYS
@EACH
async def test_whether_to_stream_is_always_said(name: str, stream: bool) -> None:
    """By a word in the body or, where the wire has one, by another path: no server's default decides."""
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].answer(VOICES[name].dialect.sentence(), stream))
        await ask(host, name, stream=stream)
        (call,) = server.requests
        if wire(name) == "generate":
            assert call.path.endswith(":streamGenerateContent" if stream else ":generateContent")
        elif wire(name) == "messages":
            assert call.json.get("stream", False) is stream  # whole answers are this vendor's promise
        else:
            assert call.json["stream"] is stream


@EACH
async def test_turns_in_any_order_are_taken(name: str) -> None:
    """Turns of one role in a row, empty ones, and system turns before and between: the server takes it."""
    turns = [
        Message.system("Be brief."),
        Message.system("Be kind."),
        Message.user("one"),
        Message.user("two"),
        Message.assistant("three"),
        Message.assistant("four"),
        Message.user(""),
        Message.system("Be late."),
        Message.user("five"),
    ]
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].answer(VOICES[name].dialect.sentence(), False))
        reply = await host.call(Chat(turns).to(f"{name}/m-1"))
        assert reply.text == SENTENCE
        sent = server.requests[-1].body.decode()
    places = [sent.index(word) for word in ("one", "two", "three", "four", "five")]
    assert places == sorted(places)
    for word in ("Be brief.", "Be kind.", "Be late."):
        assert sent.count(word) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if wire(name) in ("chat", "responses", "messages")])
async def test_events_need_no_names_and_no_numbers(name: str) -> None:
    frames = [re.sub(rb"^event: .*\n", b"", frame) for frame in good(name)]
    frames = [re.sub(rb'"sequence_number": \d+, ', b"", frame) for frame in frames]
    assert not any(word in frame for frame in frames for word in (b"event:", b"sequence_number"))
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].says(frames=frames))
        reply = await ask(host, name, stream=True)
    assert (reply.text, reply.finish_reason) == (SENTENCE, "stop")


@WAYS
@EACH
async def test_one_call_id_in_two_turns(name: str, stream: bool) -> None:
    """An id stands for a call in its own turn only: the second turn's results are its own."""
    async with talking(name) as (host, server):
        calls, answer = VOICES[name].answers(stream, thinking=False)
        server.answers.extend([calls, calls, answer])
        ending = await converse(host, Chat("hi"), f"{name}/m-1", stream=stream)
    assert (ending.stopped, ending.turns, ending.reply.text) == ("answered", 3, SENTENCE)
    asked = [[call.id for call in message.tool_calls] for message in ending.messages if message.tool_calls]
    turns = [message for message in ending.messages if message.role == "tool"]
    results = [[part for part in turn.parts if isinstance(part, ToolResultPart)] for turn in turns]
    assert [[part.id for part in turn] for turn in results] == asked
    texts = [part.text for turn in results for part in turn]
    assert texts == ["weather of Oslo", "clock of Oslo"] * 2
    sent = server.requests[-1].body.decode()
    assert [sent.count(text) for text in sorted(set(texts))] == [2, 2]
