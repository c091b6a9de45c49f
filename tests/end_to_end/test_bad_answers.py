"""Answers that begin well: errors inside streams, cut ones, other formats than asked for, broken calls."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gleitzeit import Chat, Reply, TextDelta
from gleitzeit.errors import GleitzeitError, MalformedAnswerError, ResetError, TruncatedStreamError
from gleitzeit.values import Event, Stream, ToolResultPart
from tests.end_to_end.bad_answers import BROKEN_CALLS, ENDINGS, ERRORS, Ending, StreamError, error_body
from tests.end_to_end.dialects.words import CALLS, KEY, READ, SENTENCE, WROTE
from tests.end_to_end.talk import (
    EACH,
    WAYS,
    ask,
    converse,
    good,
    opening,
    shown,
    stream_type,
    talking,
    wire,
)
from tests.end_to_end.voices import NAMES, VOICES


def _each(table: Any) -> list[Any]:
    return [pytest.param(name, row, id=f"{name}: {row.what}") for name in NAMES for row in table[wire(name)]]


@pytest.mark.feature("S004-42")
@pytest.mark.parametrize("name, fault", _each(ERRORS))
async def test_an_error_inside_a_stream(
    name: str, fault: StreamError, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first content as after it; what had come stays."""
    caplog.set_level(logging.DEBUG)
    async with talking(name) as (host, server):
        nothing: list[bytes] = []
        for number, frames in enumerate((nothing, opening(good(name)))):
            server.answers.append(VOICES[name].says(frames=(*frames, fault.frame)))
            with pytest.raises(GleitzeitError) as caught:
                await ask(host, name, stream=True, model=f"m-{number}")
            error = caught.value
            assert type(error) is fault.error
            assert (error.provider, error.sent, error.retry_after) == (name, True, None)
            assert error.retryable is fault.error.retryable
            assert (error.vendor_code, fault.says in error.message) == (fault.code, True)
            assert error.hint
            assert fault.says in (error.body or "")
            told = error.partial.text if error.partial is not None else ""
            assert SENTENCE.startswith(told)
            assert bool(told) is bool(frames)
            assert KEY not in shown(error, caplog)


@pytest.mark.feature("S004-03")
@EACH
async def test_a_stream_that_is_cut(name: str) -> None:
    """Between any two frames: an error with what had come, or, after the terminal mark, the answer."""
    frames = good(name)
    least = len(opening(frames))
    ended: Reply | TruncatedStreamError | None = None
    async with talking(name) as (host, server):
        for count in range(len(frames) + 1):
            server.answers.append(VOICES[name].says(frames=(*frames[:count], b""), headers=stream_type(name)))
            text, ended = await _ended(host.stream(Chat("hi").to(f"{name}/m-{count}")))
            if isinstance(ended, Reply):
                assert (ended.text, ended.finish_reason) == (SENTENCE, "stop")
                assert count > least
                continue
            assert (ended.partial.text if ended.partial is not None else "") == text
            assert (ended.sent, ended.retryable, ended.provider) == (True, True, name)
            assert ended.hint
            assert SENTENCE.startswith(text)
            assert bool(text) is (count >= least)
        assert isinstance(ended, Reply), "a whole stream is an answer"


async def _ended(stream: Stream) -> tuple[str, Reply | TruncatedStreamError]:
    """The text that was seen, and how it ended."""
    pieces: list[str] = []

    def keep(event: Event) -> None:
        if isinstance(event, TextDelta):
            pieces.append(event.text)

    stream.tap(keep)
    try:
        reply = await stream.collect()
    except TruncatedStreamError as error:
        return "".join(pieces), error
    return "".join(pieces), reply


@WAYS
@EACH
async def test_an_error_with_a_good_status(name: str, stream: bool) -> None:
    body, kind = error_body(wire(name))
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].says(body=body))
        with pytest.raises(kind, match="it burns") as caught:
            await ask(host, name, stream=stream)
    assert (caught.value.sent, caught.value.provider) == (True, name)
    assert caught.value.status in (None, 200)
    assert "it burns" in (caught.value.body or "")


BODIES = {
    "HTML": b"<html><title>It works!</title></html>",
    "text": b"hello",
    "nothing": b"",
    "half": b'{"id": "x", "choi',
    "a list": b"[]",
    "an object": b"{}",
    "a null": b"null",
    "no UTF-8": b"\xff\xfe\x00{",
}


@WAYS
@EACH
async def test_a_good_status_with_what_is_no_answer(name: str, stream: bool) -> None:
    """Whole it is malformed; as a stream it may be one that ended too early."""
    async with talking(name) as (host, server):
        for number, (what, body) in enumerate(BODIES.items()):
            server.answers.append(VOICES[name].says(body=body))
            with pytest.raises((MalformedAnswerError, TruncatedStreamError)) as caught:
                await ask(host, name, stream=stream, model=f"m-{number}")
            error = caught.value
            assert (error.provider, error.sent, bool(error.hint)) == (name, True, True), what
            assert error.retryable, what
        # No gzip, although it says so.
        answer = VOICES[name].says(body=b"{}", headers={"content-encoding": "gzip"})
        server.answers.append(answer)
        with pytest.raises(MalformedAnswerError, match="encoding"):
            await ask(host, name, stream=stream, model="m-last")


@pytest.mark.parametrize("turn", ["calls", "sentence"])
@EACH
async def test_json_where_a_stream_was_asked_and_a_stream_where_none_was(name: str, turn: str) -> None:
    dialect, voice = VOICES[name].dialect, VOICES[name]
    body = dialect.sentence() if turn == "sentence" else dialect.calls(voice.state)
    stream = b"".join(dialect.frames(body))
    async with talking(name) as (host, server):
        server.answers.extend([voice.says(body=body), voice.says(body=stream, headers=stream_type(name))])
        as_stream = await ask(host, name, stream=True, model="m-1")
        as_whole = await ask(host, name, stream=False, model="m-1")
    for reply in (as_stream, as_whole):
        assert reply.text == (SENTENCE if turn == "sentence" else "")
        wanted = (
            [] if turn == "sentence" else [(tool.replace("__", "/"), dict(value)) for tool, value in CALLS]
        )
        assert [(call.name, dict(call.arguments or {})) for call in reply.tool_calls] == wanted
        assert reply.usage is not None
        assert (reply.usage.input, reply.usage.output) == (READ, WROTE)


@EACH
async def test_a_stream_that_came_unasked_and_is_cut(name: str) -> None:
    frames = opening(good(name))
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].says(body=b"".join(frames), headers=stream_type(name)))
        with pytest.raises(TruncatedStreamError) as caught:
            await ask(host, name, stream=False)
    assert (caught.value.sent, caught.value.retryable, caught.value.provider) == (True, True, name)


@WAYS
@pytest.mark.parametrize("name, ending", _each(ENDINGS))
async def test_why_an_answer_ended(name: str, ending: Ending, stream: bool) -> None:
    voice = VOICES[name]
    body = ending.body(voice.dialect.sentence())
    async with talking(name) as (host, server):
        if not stream:
            server.answers.append(voice.says(body=body))
        elif ending.error is not None:
            server.answers.append(voice.says(frames=(body,)))
        else:
            server.answers.append(voice.answer(body, stream))
        if ending.error is not None:
            with pytest.raises(ending.error) as caught:
                await ask(host, name, stream=stream)
            assert (caught.value.vendor_code, caught.value.retryable) == (ending.raw, False)
            assert caught.value.hint
            return
        reply = await ask(host, name, stream=stream)
    assert (reply.finish_reason, reply.raw_finish_reason) == (ending.reason, ending.raw)
    assert reply.text == SENTENCE


@WAYS
@EACH
async def test_a_call_whose_arguments_cannot_be_read_is_told_to_the_model(name: str, stream: bool) -> None:
    """The tool is not run with a guess, the other one is run, and the conversation goes on."""
    voice = VOICES[name]
    broken = BROKEN_CALLS[wire(name)]
    calls = Ending("", "", "", change=broken.change).body(voice.dialect.calls(None))
    async with talking(name) as (host, server):
        server.answers.extend([voice.answer(calls, stream), voice.answer(voice.dialect.sentence(), stream)])
        ending = await converse(host, Chat("hi"), f"{name}/m-1", stream=stream)
        assert (ending.stopped, ending.reply.text) == ("answered", SENTENCE)
    call, other = ending.messages[1].tool_calls
    assert (call.arguments, call.raw) == (None, broken.raw)
    assert dict(other.arguments or {}) == CALLS[1][1]
    results = [part for part in ending.messages[2].parts if isinstance(part, ToolResultPart)]
    assert [part.is_error for part in results] == [True, False]
    assert "JSON" in results[0].text
    assert results[1].text == "clock of Oslo"


@WAYS
@pytest.mark.parametrize("fault", ["reset", "close"])
@EACH
async def test_a_connection_that_breaks(name: str, fault: Any, stream: bool) -> None:
    """Before an answer and within it; the next call goes well over a connection of its own."""
    voice = VOICES[name]
    async with talking(name) as (host, server):
        for number, at in enumerate((None, 40)):
            said = {"frames": good(name)} if stream else {"body": voice.dialect.sentence()}
            server.answers.append(voice.says(**said, fault=fault, at=at))
            with pytest.raises(ResetError) as caught:
                await ask(host, name, stream=stream, model=f"m-{number}")
            assert (caught.value.sent, caught.value.retryable, caught.value.provider) == (True, True, name)
        server.answers.append(voice.answer(voice.dialect.sentence(), stream))
        assert (await ask(host, name, stream=stream, model="m-9")).text == SENTENCE
