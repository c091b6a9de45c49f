"""Streams: any framing gives the same events, and only the terminal mark is a good end."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.stream import LineParser
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import (
    GleitzeitError,
    MalformedAnswerError,
    OverloadedError,
    ResetError,
    ServerFaultError,
    TooLongError,
    TruncatedStreamError,
    UnsupportedError,
)
from gleitzeit.testing.ollama_server import Answer
from gleitzeit.values import Event, Finished, Reply, Started, TextDelta
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

TEXT = "Grüße 你好 😀, and so on."
CALLS = ({"name": "get_weather", "arguments": {"city": "Zürich", "n": 1.0}},)
LAST = {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 3}


def stream() -> list[dict[str, Any]]:
    pieces = [TEXT[place : place + 5] for place in range(0, len(TEXT), 5)]
    head = {"model": "m", "created_at": "x", "done": False, "surprise": [1]}
    call = {"id": "c1", "function": {"index": 0, **CALLS[0]}}
    return [
        {**head, "message": {"role": "assistant", "content": "", "thinking": "hm, "}},
        {**head, "message": {"role": "assistant", "content": "", "thinking": "well"}},
        *({**head, "message": {"role": "assistant", "content": piece}} for piece in pieces),
        {**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}},
        LAST,
    ]


def data(end: str = "\n", items: list[dict[str, Any]] | None = None) -> bytes:
    lines = [json.dumps(item, ensure_ascii=False) for item in items or stream()]
    return "".join(line + end for line in lines).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\n \r\n"])
@pytest.mark.parametrize("size", [*range(1, 8), 10**6])
def test_pieces_and_line_ends_change_nothing(parse: Callable[..., list[Event]], end: str, size: int) -> None:
    raw = data(end)
    events = parse(*(raw[place : place + size] for place in range(0, len(raw), size)))
    assert events == parse(data())
    reply = fold(events)
    assert (reply.text, reply.thinking) == (TEXT, "hm, well")
    assert reply.tool_calls[0].arguments == CALLS[0]["arguments"]
    assert reply.tool_calls[0].id == "c1"


@given(cuts=st.lists(st.integers(0, 1200), max_size=8))
def test_cuts_anywhere_change_nothing(cuts: list[int]) -> None:
    raw, found = data(), []
    for places in (sorted(cuts), []):
        events: deque[Event] = deque()
        parser = LineParser(AnswerReader(WireNames(), None), answer_error)
        for start, stop in zip([0, *places], [*places, len(raw)], strict=True):
            if not parser.complete:
                parser.feed(raw[start:stop], events)
        parser.close(events)
        found.append(fold(events))
    assert found[0] == found[1]


def test_a_stream_that_is_cut_anywhere_is_no_success(parse: Callable[..., list[Event]]) -> None:
    raw = data()
    whole = len(raw) - 1  # the last line needs no end
    for place in range(0, len(raw), 3):
        if place < whole:
            with pytest.raises(TruncatedStreamError):
                parse(raw[:place])
    for place in (whole, len(raw)):
        assert isinstance(parse(raw[:place])[-1], Finished)


def test_the_end_is_told_once_and_nothing_after_it_is_read(
    parse: Callable[..., list[Event]], lines: Callable[..., bytes]
) -> None:
    events = parse(lines("a"), lines("b"), b"rubbish\n")
    assert [type(event) for event in events] == [Started, TextDelta, Finished]


@pytest.mark.parametrize(
    "message, error",
    [
        ("model runner has unexpectedly stopped", ServerFaultError),
        ("server overloaded, please try again", ServerFaultError),
        ("prompt is too long: exceeds the context length", TooLongError),
        ('"embed" does not support chat', UnsupportedError),
    ],
)
def test_an_error_line_is_raised(
    parse: Callable[..., list[Event]], lines: Callable[..., bytes], message: str, error: type[GleitzeitError]
) -> None:
    with pytest.raises(error, match=message[:20].replace("(", "."), check=lambda found: found.sent is True):
        parse(lines("a", {"error": message}, done=False))


async def test_an_error_in_mid_stream_keeps_what_had_come(play: Callable[..., Awaitable[Reply]]) -> None:
    frames = [
        {"model": "m", "message": {"content": "one"}, "done": False},
        {"error": "an error was encountered while running the model"},
    ]
    with pytest.raises(ServerFaultError) as caught:
        await play(Answer(frames=frames), stream=True)
    assert caught.value.partial.text == "one"
    assert caught.value.retryable
    assert caught.value.provider == "local"


@pytest.mark.parametrize("fault, error", [("reset", ResetError), ("close", ResetError)])
async def test_a_connection_that_breaks_is_a_wire_error(
    play: Callable[..., Awaitable[Reply]], fault: Any, error: type[GleitzeitError]
) -> None:
    with pytest.raises(error) as caught:
        await play(Answer("one two three", fault=fault, after=2), stream=True)
    assert caught.value.partial.text == "one two"


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7])
async def test_compressed_and_cut_streams_are_read(
    play: Callable[..., Awaitable[Reply]], gzip: bool, size: int
) -> None:
    answer = Answer(TEXT, thinking="hm", calls=CALLS, chunk=size, newline="\r\n", gzip=gzip)
    reply = await play(answer, stream=True)
    assert (reply.text, reply.thinking, reply.finish_reason) == (TEXT, "hm", "tool_calls")


async def test_a_whole_answer_where_a_stream_was_asked_is_read(
    play: Callable[..., Awaitable[Reply]],
) -> None:
    body = json.dumps({**LAST, "message": {"content": "whole"}}, indent=2)
    reply = await play(Answer(body=body), stream=True)
    assert (reply.text, reply.usage and reply.usage.output) == ("whole", 3)


async def test_a_stream_where_a_whole_answer_was_asked_is_read(
    play: Callable[..., Awaitable[Reply]],
) -> None:
    assert (await play(Answer(body=data()), stream=False)).text == TEXT


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Bad gateway</title></html>",
        b"upstream timed out",
        b"[]",
        b"3",
        b'{"message": 3}',
        b'{"model": "m"}',
        b'{\n"message": {"content": "x"},\n oops',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_malformed(whole: Callable[..., Reply], body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        whole(body)


@pytest.mark.parametrize("body", [b"", b"\n\n", b'{"model": "m", "mess', b'{"message": {}, "done": false}'])
def test_what_is_half_an_answer_is_truncated(whole: Callable[..., Reply], body: bytes) -> None:
    with pytest.raises(TruncatedStreamError):
        whole(body)


def test_content_of_a_broken_line_is_not_quoted(parse: Callable[..., list[Event]]) -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        parse(b'{"message": {"content": "my secret"} oops}\n{}\n')
    assert "secret" not in str(caught.value)


def test_an_error_that_is_no_json_is_quoted(parse: Callable[..., list[Event]]) -> None:
    with pytest.raises(MalformedAnswerError, match="out of memory"):
        parse(b'{"error": "out of memory\n')


def test_a_byte_order_mark_and_a_document_on_many_lines_are_read(whole: Callable[..., Reply]) -> None:
    assert whole(b"\xef\xbb\xbf" + data()).text == TEXT
    pretty = json.dumps({**LAST, "message": {"content": "ok"}}, indent=4).encode()
    assert whole(pretty).text == "ok"
    assert whole({"message": {"content": "no mark"}}).text == "no mark"
    assert whole(b'{"message": {"content": "a\xffb"}, "done": true}').text == "a\ufffdb"


def test_a_line_without_end_is_refused(parse: Callable[..., list[Event]]) -> None:
    with pytest.raises(MalformedAnswerError, match="longer than"):
        parse(b'{"message": {"content": "', *([b"x" * 2**20] * 17))


async def test_busy_and_loading_servers_can_be_asked_again(play: Callable[..., Awaitable[Reply]]) -> None:
    with pytest.raises(OverloadedError) as busy:
        await play(Answer.error(503, "server busy, please try again. maximum pending requests exceeded"))
    with pytest.raises(ServerFaultError) as loading:
        await play(Answer.error(500, "llm server loading model"))
    assert busy.value.retryable
    assert loading.value.retryable
