"""Streams event by event: what comes out, and what is made of streams that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.errors import (
    GleitzeitError,
    MalformedAnswerError,
    OverloadedError,
    RateLimitedError,
    ServerFaultError,
    TruncatedStreamError,
)
from gleitzeit.testing.anthropic_server import Answer
from gleitzeit.testing.anthropic_server.shapes import events, message
from gleitzeit.values import (
    Event,
    Finished,
    PartDone,
    Reply,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
)
from gleitzeit.values.fold import fold

Parse = Callable[..., list[Event]]
SSE = Callable[..., bytes]
ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CITED = {"type": "char_location", "cited_text": "x", "document_index": 0}
RICH = Answer(
    "Grüße 你好 😀, so.",
    thinking="hm, well",
    blocks=(
        {"type": "redacted_thinking", "data": "AbC+/=="},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "ä"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "x", "n": 1.50}],
        },
        {"type": "text", "text": "as told", "citations": [CITED]},
        {"type": "of_tomorrow", "anything": [1, {"b": None}]},
    ),
    calls=({"name": "git__log", "input": {"n": 1}}, {"name": "f", "caller": {"type": "direct"}}),
    usage={"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 9},
    told={"container": {"id": "c1", "expires_at": "2999-01-01T00:00:00Z"}},
)


def begin(**usage: int) -> list[Any]:
    return [{"type": "message_start", "message": {"id": "m1", "model": "m-1", "content": [], "usage": usage}}]


def end(reason: str = "end_turn", **more: Any) -> list[Any]:
    return [{"type": "message_delta", "delta": {"stop_reason": reason}, **more}, {"type": "message_stop"}]


def block(index: int, start: Any, *deltas: Any) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


TEXT = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hi"})


def test_a_stream_is_what_the_whole_answer_says(parse: Parse, sse: SSE, whole: Callable[..., Reply]) -> None:
    shaped = message(RICH, ASKED, 1)
    streamed, read = fold(parse(sse(*events(shaped)))), whole(shaped)
    assert streamed.text == "as toldGrüße 你好 😀, so."
    assert [call.name for call in streamed.tool_calls] == ["git/log", "f"]
    assert streamed.finish_reason == "tool_calls"
    assert streamed.usage == read.usage == Usage(input=7, cache_read=4, output=9)
    assert len(streamed.parts) == len(read.parts) == 10

    def said(reply: Reply) -> list[Any]:
        return [
            (part.type, getattr(part, "text", None), getattr(part, "arguments", None), held(part))
            for part in reply.parts
        ]

    def held(part: Any) -> Any:
        return part.provider_state and json.loads(part.provider_state.data)

    assert said(streamed) == said(read)


def test_events_come_as_they_are_sent(parse: Parse, sse: SSE) -> None:
    frames = [*begin(input_tokens=2), {"type": "ping"}, *TEXT, *end(usage={"output_tokens": 4})]
    assert parse(sse(*frames)) == [
        Started(id="m1", model="m-1"),
        UsageUpdate(Usage(input=2)),
        TextDelta("hi"),
        UsageUpdate(Usage(input=2, output=4)),
        Finished("stop", raw_finish_reason="end_turn", usage=Usage(input=2, output=4), id="m1", model="m-1"),
    ]


def test_nothing_before_content_commits_a_stream(parse: Parse, sse: SSE) -> None:
    frames = [*begin(input_tokens=2), {"type": "ping"}, TEXT[0], *TEXT[2:], *end()]
    assert not any(event.content for event in parse(sse(*frames))[:-1])


def test_restated_usage_replaces_and_is_never_added(parse: Parse, sse: SSE) -> None:
    later = {"input_tokens": 31_772, "output_tokens": 5, "cache_creation_input_tokens": None}
    frames = [*begin(input_tokens=2050, output_tokens=1, cache_creation_input_tokens=3), *end(usage=later)]
    usage = fold(parse(sse(*frames))).usage
    assert usage == Usage(input=31_775, output=5, cache_write=3)
    assert usage is not None
    assert usage.raw is not None
    assert usage.raw["input_tokens"] == 31_772


def test_usage_that_never_came_is_none(parse: Parse, sse: SSE) -> None:
    frames = [{"type": "message_start", "message": {"id": "m"}}, *TEXT, *end()]
    assert fold(parse(sse(*frames))).usage is None


@pytest.mark.parametrize(
    "word, reason",
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("pause_turn", "paused"),
        ("compaction", "paused"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_exceeded"),
        ("tool_use", "stop"),
        ("of_tomorrow", "stop"),
    ],
)
def test_reasons_by_what_came_with_the_vendors_word_beside(
    parse: Parse, sse: SSE, word: str, reason: str
) -> None:
    reply = fold(parse(sse(*begin(), *TEXT, *end(word))))
    assert (reply.finish_reason, reply.raw_finish_reason) == (reason, word)


def test_what_is_told_of_a_refusal_and_of_the_stop_is_kept(
    parse: Parse, sse: SSE, whole: Callable[..., Reply]
) -> None:
    told = {
        "stop_details": {"type": "refusal", "category": "bio", "explanation": "no"},
        "stop_sequence": "END",
    }
    answer = Answer("x", stop_reason="refusal", told=told)
    shaped = message(answer, ASKED, 1)
    for reply in (whole(shaped), fold(parse(sse(*events(shaped))))):
        assert (reply.finish_reason, reply.data) == ("refusal", told)


def test_calls_without_arguments_and_calls_that_come_whole(parse: Parse, sse: SSE) -> None:
    start = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    empty = block(0, start, {"type": "input_json_delta", "partial_json": ""})
    bare = block(1, {**start, "id": "b"})
    full = block(2, {**start, "id": "c", "input": {"x": 1}})
    broken = block(3, {**start, "id": "d"}, {"type": "input_json_delta", "partial_json": '{"x": '})
    nameless = block(4, {"type": "tool_use"})
    reply = fold(parse(sse(*begin(), *empty, *bare, *full, *broken, *nameless, *end("tool_use"))))
    assert [call.arguments for call in reply.tool_calls] == [{}, {}, {"x": 1}, None, {}]
    assert reply.tool_calls[3].raw == '{"x": '
    assert reply.tool_calls[4].id.startswith("toolu_")


def test_interleaved_blocks_are_told_apart_by_index(parse: Parse, sse: SSE) -> None:
    one, two = (
        block(n, {"type": "text", "text": ""}, {"type": "text_delta", "text": t})
        for n, t in ((0, "a"), (1, "b"))
    )
    frames = [one[0], two[0], two[1], one[1], one[2], two[2]]
    reply = fold(parse(sse(*begin(), *frames, *end())))
    assert [part.text for part in reply.parts if isinstance(part, TextPart)] == ["b", "a"]


def test_what_is_not_known_yet_survives(parse: Parse, sse: SSE) -> None:
    odd = block(
        0,
        {"type": "of_tomorrow", "said": "a", "list": [1]},
        {"type": "of_tomorrow_delta", "said": "b", "list": [2], "new": 3, "none": None},
    )
    frames = [*begin(), {"type": "of_tomorrow", "index": 9}, *odd, *end()]
    (part,) = fold(parse(sse(*frames))).parts
    assert part.provider_state is not None
    assert json.loads(part.provider_state.data) == {
        "type": "of_tomorrow",
        "said": "ab",
        "list": [1, 2],
        "new": 3,
        "none": None,
    }


def test_compaction_comes_in_one_piece(parse: Parse, sse: SSE) -> None:
    start = {"type": "compaction", "content": ""}
    frames = block(0, start, {"type": "compaction_delta", "content": "all of it"})
    (part,) = fold(parse(sse(*begin(), *frames, *end("compaction")))).parts
    assert part.provider_state is not None
    assert json.loads(part.provider_state.data) == {"type": "compaction", "content": "all of it"}


def test_a_signature_alone_is_a_part(parse: Parse, sse: SSE) -> None:
    start = {"type": "thinking", "thinking": "", "signature": ""}
    got = parse(sse(*begin(), *block(0, start, {"type": "signature_delta", "signature": "Eq+/"}), *end()))
    assert not any(isinstance(event, ThinkingDelta) for event in got)
    (part,) = fold(got).parts
    assert part.provider_state is not None
    assert json.loads(part.provider_state.data) == {**start, "signature": "Eq+/"}


def test_deltas_whose_block_never_began(parse: Parse, sse: SSE) -> None:
    reply = fold(parse(sse(*begin(), TEXT[1], *end())))
    assert reply.text == "hi"
    lost = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "input_json_delta", "partial_json": "1"},
    }
    with pytest.raises(MalformedAnswerError, match="never began"):
        parse(sse(*begin(), lost, *end()))


@pytest.mark.parametrize(
    "error, expected, again",
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, OverloadedError, True),
        ({"type": "api_error", "message": "oops"}, ServerFaultError, True),
        ({"type": "rate_limit_error", "message": "slow"}, RateLimitedError, True),
        ({"type": "invalid_request_error", "message": "no"}, GleitzeitError, False),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_errors_inside_a_stream(
    parse: Parse, sse: SSE, error: Any, expected: Any, again: bool, named: bool
) -> None:
    data = json.dumps({"type": "error", "error": error, "request_id": "req_9"})
    last = f"event: error\ndata: {data}\n\n".encode() if named else sse(data)
    with pytest.raises(expected) as caught:
        parse(sse(*begin(), *TEXT) + last)
    assert (caught.value.retryable, caught.value.vendor_code) == (again, error["type"])


def test_errors_that_are_no_json_are_quoted(parse: Parse, sse: SSE) -> None:
    with pytest.raises(MalformedAnswerError, match="upstream is gone"):
        parse(sse(*begin()) + b"event: error\ndata: upstream is gone\n\n")
    with pytest.raises(MalformedAnswerError, match="bytes of content"):
        parse(sse(*begin(), '{"type": "content_block_delta", "private'))


@pytest.mark.parametrize("left", range(1, 8))
def test_a_stream_without_its_mark_is_truncated(parse: Parse, sse: SSE, left: int) -> None:
    frames = [*begin(), *TEXT, *end()]
    with pytest.raises(TruncatedStreamError):
        parse(sse(*frames[: len(frames) - left]))


def test_half_a_frame_at_the_end_is_truncation_too(parse: Parse, sse: SSE) -> None:
    with pytest.raises(TruncatedStreamError):
        parse(sse(*begin(), *TEXT) + b'data: {"type": "mess')
    # The mark itself may lack its blank line.
    assert parse(sse(*begin(), *TEXT, *end()).rstrip(b"\n"))[-1].type == "finished"


def test_json_where_a_stream_was_asked_and_the_other_way_round(
    parse: Parse, sse: SSE, whole: Callable[..., Reply]
) -> None:
    shaped = message(Answer("hello", thinking="hm"), ASKED, 1)
    body = json.dumps(shaped).encode()
    assert fold(parse(*(body[at : at + 5] for at in range(0, len(body), 5)))) == whole(shaped)
    assert whole(sse(*events(shaped))).text == "hello"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"content": 3}', b'{"content": [3]}', b'{"id": "x"}', b"<html>"]
)
def test_whole_answers_that_are_none(whole: Callable[..., Reply], body: bytes) -> None:
    with pytest.raises(GleitzeitError):
        whole(body)


def test_an_error_with_a_good_status_is_one(whole: Callable[..., Reply]) -> None:
    with pytest.raises(OverloadedError):
        whole({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})


def test_what_is_nearly_json_is_read(whole: Callable[..., Reply], parse: Parse, sse: SSE) -> None:
    assert whole(b'{"content": [{"type": "text", "text": "a\nb\xff"}]}').text == "a\nb\ufffd"
    half = '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\\ud83d"}}'
    assert fold(parse(sse(*begin(), half, *end()))).text == "?"


def test_blank_after_the_json_and_a_foreign_end(parse: Parse, sse: SSE) -> None:
    frames = [json.dumps(frame) + "   " for frame in (*begin(), *TEXT)]
    assert fold(parse(sse(*frames, "", *end(), "[DONE]"))).text == "hi"


def test_calls_are_told_before_they_are_whole(parse: Parse, sse: SSE) -> None:
    shaped = message(Answer(calls=({"name": "f", "input": {"a": "b" * 20}},)), ASKED, 1)
    got = [event for event in parse(sse(*events(shaped))) if isinstance(event, ToolCallDelta)]
    assert (got[0].name, len(got)) == ("f", 5)
    assert not any(isinstance(event, PartDone) for event in got)
