"""What streams may look like: every rule of the wire sheet, on the parser and over the wire."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    OverloadedError,
    RateLimitedError,
    ServerFaultError,
    TruncatedStreamError,
)
from gleitzeit.values import Event, Finished, Reply, Started, TextDelta, Usage, UsageUpdate
from gleitzeit.values.fold import fold

Parse = Callable[..., list[Event]]
Chunk = Callable[..., dict[str, Any]]
Sse = Callable[..., bytes]
Play = Callable[..., Awaitable[Reply]]

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def test_done_ends_the_stream(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    events = parse(
        sse(chunk(role="assistant", content=""), chunk(content="a"), chunk(finish="stop"), "[DONE]")
    )
    assert events == [
        Started(id="c1", model="m-1"),
        TextDelta("a"),
        Finished("stop", raw_finish_reason="stop", id="c1", model="m-1"),
    ]


def test_a_finish_reason_without_done_is_a_good_end(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    assert fold(parse(sse(chunk(content="a"), chunk(finish="length")))).finish_reason == "length"


def test_done_without_a_finish_reason_is_a_truncated_stream(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    """Real servers write it when they break off for another call; who has counted all tokens has not."""
    for wire in (sse(chunk(content="a"), "[DONE]"), sse("[DONE]")):
        with pytest.raises(TruncatedStreamError, match="without a finish reason") as cut:
            parse(wire)
        assert cut.value.sent is True
    counted = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert fold(parse(sse(chunk(content="a"), counted, "[DONE]"))).finish_reason == "stop"


def test_neither_is_a_truncated_stream(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    for wire in (sse(chunk(content="a")), sse(chunk(role="assistant")), b"", b": ping\n\n", b"\n"):
        with pytest.raises(TruncatedStreamError):
            parse(wire)


def test_what_follows_done_is_not_read(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    wire = sse(chunk(content="a"), chunk(finish="stop"), "[DONE]", "garbage", chunk(content="b"))
    assert fold(parse(wire)).text == "a"


def test_the_last_frame_needs_no_blank_line(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    assert fold(parse(sse(chunk(content="a"), chunk(finish="stop")).rstrip(b"\n"))).finish_reason == "stop"


def test_role_and_empty_deltas_are_not_content(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    empty = [chunk(role="assistant", content=""), chunk(content=None), chunk(), chunk(content="")]
    wire = sse(*empty, chunk(finish="stop"), "[DONE]")
    assert not any(event.content for event in parse(wire)[:-1])


def test_choices_may_be_empty_first_as_azure_sends_them(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    first = {
        "id": "",
        "model": "",
        "object": "",
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    events = parse(sse(first, chunk(content="a"), chunk(finish="stop"), "[DONE]"))
    assert events[0] == Started(id="c1", model="m-1")
    assert fold(events).text == "a"


def test_choices_may_be_empty_last_with_usage_and_moderation(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    usage = {"id": "c1", "choices": [], "usage": USAGE}
    moderation: dict[str, Any] = {"id": "c1", "choices": [], "usage": None, "moderation": {"flagged": False}}
    reply = fold(parse(sse(chunk(content="a"), chunk(finish="stop"), usage, moderation, "[DONE]")))
    assert reply.usage == Usage(input=20, output=9, cache_read=8, reasoning=4)


def test_usage_on_every_chunk_is_replaced_never_added(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    frames = [
        {**chunk(content="a"), "usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in (1, 2, 3)
    ]
    events = parse(sse(*frames, chunk(finish="stop")))
    assert fold(events).usage == Usage(input=5, output=3)
    assert [event.usage.output for event in events if isinstance(event, UsageUpdate)] == [1, 2, 3]


def test_usage_in_groqs_corner_is_found(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    last = {
        **chunk(finish="stop"),
        "x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    }
    assert fold(parse(sse(chunk(content="a"), last))).usage == Usage(input=1, output=2)


def test_usage_that_never_came_is_none(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    assert fold(parse(sse({**chunk(content="a"), "usage": None}, chunk(finish="stop")))).usage is None


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": "many"}, {"prompt_tokens": -1}, [], "x", 3])
def test_strange_usage_is_none(parse: Parse, chunk: Chunk, sse: Sse, usage: Any) -> None:
    assert (
        fold(parse(sse({**chunk(content="a"), "usage": usage}, chunk(finish="stop"), "[DONE]"))).usage is None
    )


def test_further_choices_are_left_out(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    wire = sse(
        chunk(content="a"), chunk(content="x", index=1), chunk(finish="stop"), chunk(finish="length", index=1)
    )
    reply = fold(parse(wire))
    assert (reply.text, reply.finish_reason) == ("a", "stop")


def test_unknown_fields_and_frames_do_no_harm(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    odd = {**chunk(content="a", obfuscation="x"), "obfuscation": "yz", "cost": 0.1, "service_tier": "auto"}
    wire = sse(odd, {}, {"type": "ping"}, {"id": "c1"}, chunk(finish="stop"))
    assert fold(parse(b"event: ping\ndata: {}\n\n: c\n\ndata:   \n\n" + wire)).text == "a"


@pytest.mark.parametrize(
    "word, reason",
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("content_filter", "refusal"),
        ("tool_calls", "stop"),  # decided by what came: there were no calls
        ("error", "error"),
        ("insufficient_system_resource", "error"),
        ("eos_token", "stop"),
        ("brand_new_word", "stop"),
    ],
)
def test_finish_reasons(parse: Parse, chunk: Chunk, sse: Sse, word: str, reason: str) -> None:
    reply = fold(parse(sse(chunk(content="a"), chunk(finish=word))))
    assert (reply.finish_reason, reply.raw_finish_reason) == (reason, word)


@pytest.mark.parametrize("word", ["stop", "tool_calls", "function_call", "brand_new_word"])
def test_calls_decide_the_reason(parse: Parse, chunk: Chunk, sse: Sse, word: str) -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    assert fold(parse(sse(chunk(tool_calls=[call]), chunk(finish=word)))).finish_reason == "tool_calls"


def test_calls_cut_by_the_limit_keep_that_reason(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"a'}}
    reply = fold(parse(sse(chunk(tool_calls=[call]), chunk(finish="length"))))
    assert reply.finish_reason == "length"
    assert (reply.tool_calls[0].arguments, reply.tool_calls[0].raw) == (None, '{"a')


def test_a_refusal_is_text_with_its_own_reason(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    reply = fold(parse(sse(chunk(refusal="I "), chunk(refusal="won't."), chunk(finish="stop"))))
    assert (reply.text, reply.finish_reason, reply.raw_finish_reason) == ("I won't.", "refusal", "stop")


def test_content_as_a_list_of_parts(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [thought, {"type": "text", "text": "a"}, "b", {"type": "reference", "reference_ids": [1]}]
    reply = fold(parse(sse(chunk(content=parts), chunk(finish="stop"))))
    assert (reply.thinking, reply.text) == ("hm", "ab")


def test_half_a_surrogate_pair_waits_for_the_other_half(parse: Parse, chunk: Chunk) -> None:
    frames = [json.dumps(chunk(content=text)) for text in ("a\ud83d", "\ude00b", "c\ud83d", "d")]
    wire = "".join(
        f"data: {frame}\n\n"
        for frame in [*frames, json.dumps(chunk(content="\ud83d", finish="stop")), "[DONE]"]
    )
    text = fold(parse(wire.encode())).text
    assert text == "a😀bc\ufffdd?"
    text.encode()


def test_json_with_raw_control_characters_is_read(parse: Parse) -> None:
    wire = b'data: {"choices":[{"delta":{"content":"a\tb\x01"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    assert fold(parse(wire)).text == "a\tb\x01"


GROQ = b"""event: error
data: {"error": {"message": "Failed to call a function", "type": "invalid_request_error", \
"code": "tool_use_failed", "failed_generation": "<f>", "status_code": 400}}

"""
ERRORS: list[tuple[str, bytes, type[GleitzeitError]]] = [
    (
        "openai",
        b'data: {"error": {"message": "x", "type": "server_error", "code": null}}\n\n',
        ServerFaultError,
    ),
    ("overloaded", b'data: {"error": {"code": "server_is_overloaded"}}\n\n', OverloadedError),
    (
        "event line",
        b'event: error\ndata: {"message": "busy", "type": "overloaded_error"}\n\n',
        OverloadedError,
    ),
    ("groq", GROQ, MalformedAnswerError),
    ("openrouter", b'data: {"error": {"code": 429, "message": "slow"}, "choices": []}\n\n', RateLimitedError),
    (
        "openrouter 502",
        b'data: {"error": {"code": 502, "message": "x", "metadata": {}}}\n\n',
        ServerFaultError,
    ),
    ("anthropic", b'data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n', OverloadedError),
    ("ollama", b'data: {"error": "model runner has stopped"}\n\n', ServerFaultError),
    ("vllm", b'data: {"object": "error", "message": "bad", "code": 400}\n\n', InvalidRequestError),
    ("fastapi", b'data: {"detail": "broken"}\n\n', ServerFaultError),
    ("transformers", b'data: {"error": "Could not parse\nthe call\nat all"}\n\n', MalformedAnswerError),
    ("text", b"data: upstream exploded\n\n", MalformedAnswerError),
    ("html", b"data: <html>502</html>\n\n", MalformedAnswerError),
    ("not an object", b"data: [1]\n\n", MalformedAnswerError),
    ("wrong structure", b'data: {"choices": {"0": 1}}\n\n', MalformedAnswerError),
]


@pytest.mark.parametrize("dialect, frame, expected", ERRORS, ids=[row[0] for row in ERRORS])
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_inside_the_stream_is_raised_in_every_dialect(
    parse: Parse,
    chunk: Chunk,
    sse: Sse,
    dialect: str,
    frame: bytes,
    expected: type[GleitzeitError],
    begun: bool,
) -> None:
    before = sse(chunk(content="half")) if begun else b""
    with pytest.raises(expected) as caught:
        parse(before + frame + sse(chunk(content="never"), "[DONE]"))
    assert type(caught.value) is expected


def test_an_error_frame_that_is_no_json_is_quoted(parse: Parse) -> None:
    with pytest.raises(MalformedAnswerError, match="Could not parse") as caught:
        parse(b'data: {"error": "Could not parse\nthe call\n\n')
    assert caught.value.body == '{"error": "Could not parse'


def test_broken_content_is_not_quoted(parse: Parse) -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        parse(b'data: {"choices": [{"delta": {"content": "my private\n\n')
    assert "private" not in str(caught.value)


async def test_an_error_inside_the_stream_comes_after_the_text_before_it(play: Play, chunk: Chunk) -> None:
    frames = (chunk(content="half"), {"error": {"message": "gone", "type": "server_error"}})
    with pytest.raises(
        ServerFaultError, match="acme: an error inside the answer, server_error: 'gone'"
    ) as caught:
        await play(*frames)
    assert caught.value.partial.text == "half"
    assert (caught.value.provider, caught.value.request_id) == ("acme", "fake-1")


@pytest.mark.parametrize("body", [b"<html><title>502</title></html>", b"[]", b'{"choices": []}', b'{"id": 1'])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_no_answer_is_malformed(play: Play, body: bytes, stream: bool) -> None:
    with pytest.raises(MalformedAnswerError):
        await play(body=body, stream=stream)


TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8)
NOISE = st.sampled_from(["", ": ping{0}{0}", "event: ping{0}data: {{}}{0}{0}", "id: 7{0}{0}", "{0}"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    noise=st.lists(NOISE, min_size=6, max_size=6),
    size=st.integers(1, 7),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    blank=st.sampled_from(["", " ", "\t "]),
)
def test_no_cutting_line_end_or_noise_changes_the_events(
    parse: Parse,
    chunk: Chunk,
    texts: list[str],
    end: str,
    noise: list[str],
    size: int,
    cuts: list[int],
    blank: str,
) -> None:
    call = {"index": 0, "id": "i", "function": {"name": "a__b", "arguments": '{"x": "ü"}'}}
    chunks = [*(chunk(content=text) for text in texts), chunk(tool_calls=[call]), chunk(finish="stop")]
    frames = [json.dumps(frame, ensure_ascii=False) for frame in chunks]
    plain = "".join(f"data: {frame}\n\n" for frame in [*frames, "[DONE]"]).encode()
    noisy = "".join(
        f"{extra.format(end)}data: {frame}{blank}{end}{end}"
        for extra, frame in zip([*noise, "", "", ""], [*frames, "[DONE]"], strict=False)
    ).encode()
    expected = parse(plain)
    assert parse(*(noisy[i : i + size] for i in range(0, len(noisy), size))) == expected
    marks = [0, *sorted(min(cut, len(noisy)) for cut in cuts), len(noisy)]
    assert parse(*(noisy[a:b] for a, b in itertools.pairwise(marks))) == expected


def test_a_cut_at_every_byte_is_an_error_until_the_mark_and_none_after(
    parse: Parse, chunk: Chunk, sse: Sse
) -> None:
    before = sse(chunk(role="assistant"), chunk(content="Grüße "), chunk(content="😀"))
    marked = before + sse(chunk(finish="stop"))
    wire = marked + sse({"choices": [], "usage": USAGE}, "[DONE]")
    good = len(marked) - 2  # the frame counts once its data is whole
    for cut in range(good):
        with pytest.raises(TruncatedStreamError):
            parse(wire[:cut])
    for cut in range(good, len(wire) + 1):
        reply = fold(parse(wire[:cut]))
        assert (reply.text, reply.finish_reason) == ("Grüße 😀", "stop")
    assert fold(parse(wire)).usage == Usage(input=20, output=9, cache_read=8, reasoning=4)


async def test_a_cut_after_the_mark_succeeds_over_the_wire(play: Play, chunk: Chunk) -> None:
    frames = (chunk(content="a"), chunk(finish="stop"), {"choices": [], "usage": USAGE})
    for fault in ("cut", "close", "reset"):
        assert (await play(*frames, fault=fault, after=2)).text == "a"


def test_an_endless_frame_is_refused(parse: Parse) -> None:
    with pytest.raises(MalformedAnswerError, match="larger than"):
        parse(b"data: {", *[b"x" * (1 << 20)] * 20)


def test_an_endless_body_that_is_no_stream_is_refused(parse: Parse) -> None:
    with pytest.raises(MalformedAnswerError, match="no stream"):
        parse(b"{", *[b"x" * (1 << 20)] * 20)
