"""What comes: parts, streams, calls, finish reasons, usage."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_gemini import Gemini

from gleitzeit.errors import ContentRefusedError, MalformedAnswerError
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import (
    AudioPart,
    Chat,
    Completion,
    Event,
    FilePart,
    Finished,
    ImagePart,
    Message,
    PartDone,
    Reply,
    TextDelta,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallDelta,
    ToolResultPart,
    Usage,
    UsageUpdate,
)
from gleitzeit.values.fold import fold

Play = Callable[..., Awaitable[Reply]]
CALLS = [{"name": "weather", "args": {"city": "Zürich"}}, {"name": "weather", "args": {"city": "Oslo"}}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", ["sse", "array"])
async def test_thinking_and_text_are_apart(play: Play, stream: bool, form: str) -> None:
    reply = await play(
        text="the answer is 你好 😀", thinking="let me see", stream=stream, config={"stream_format": form}
    )
    assert (reply.thinking, reply.text) == ("let me see", "the answer is 你好 😀")
    assert (reply.finish_reason, reply.raw_finish_reason) == ("stop", "STOP")
    assert (reply.model, reply.id) == ("gemini-x", "fake")
    assert [type(part) for part in reply.parts] == [ThinkingPart, TextPart]


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_without_id_get_ids_and_end_in_tool_calls(play: Play, stream: bool) -> None:
    reply = await play(calls=CALLS, stream=stream)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("weather", {"city": "Zürich"}),
        ("weather", {"city": "Oslo"}),
    ]
    first, second = (call.id for call in reply.tool_calls)
    assert first
    assert second
    assert first != second
    assert (reply.finish_reason, reply.raw_finish_reason) == ("tool_calls", "STOP")


async def test_a_given_id_is_kept_and_a_doubled_one_is_not(play: Play) -> None:
    reply = await play(calls=[{"id": "a", **CALLS[0]}, {"id": "a", **CALLS[1]}])
    first, second = (call.id for call in reply.tool_calls)
    assert first == "a"
    assert second not in ("", "a")


@pytest.mark.parametrize("args", [{}, {"args": None}, {"args": {}}])
async def test_a_call_without_arguments_has_none(play: Play, args: dict[str, Any]) -> None:
    reply = await play(calls=[{"name": "now", **args}])
    assert reply.tool_calls[0].arguments == {}


async def test_results_go_back_in_the_order_of_the_calls(
    server: GeminiServer, provider: Gemini, play: Play
) -> None:
    tools = [Tool("git/log"), Tool("weather")]
    chat = Chat("hi", tools=tools)
    reply = await play(calls=[CALLS[0], {"id": "w7", "name": "git__log", "args": {}}], chat=chat)
    first, second = reply.tool_calls
    assert second.name == "git/log"
    turns = [
        Message.user("hi"),
        reply.message,
        Message.tool(ToolResultPart(second.id, parts="two"), ToolResultPart(first.id, parts='{"t": 1}')),
    ]
    answer = await provider.call(Chat(turns, tools=tools).to("gemini-x"))
    assert isinstance(answer, Reply)
    assert answer.text == "Scripted fake: the tools answered {'t': 1}; two"
    sent = server.requests[-1].json["contents"]
    assert [content["role"] for content in sent] == ["user", "model", "user"]
    assert [part["functionResponse"] for part in sent[2]["parts"]] == [
        {"name": "weather", "response": {"output": {"t": 1}}},
        {"id": "w7", "name": "git__log", "response": {"output": "two"}},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_media_of_an_answer_are_parts(play: Play, stream: bool) -> None:
    def blob(kind: str) -> dict[str, Any]:
        return {"inlineData": {"mimeType": kind, "data": base64.b64encode(b"\xfb\xff\xfe").decode()}}

    where = {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/x"}}
    reply = await play(
        parts=[blob("image/png"), {"text": "see"}, blob("audio/wav"), blob("text/csv"), where], stream=stream
    )
    assert reply.parts == (
        ImagePart(data=b"\xfb\xff\xfe", media_type="image/png"),
        TextPart("see"),
        AudioPart(data=b"\xfb\xff\xfe", media_type="audio/wav"),
        FilePart(data=b"\xfb\xff\xfe", media_type="text/csv"),
        FilePart(url="gs://b/x", media_type="video/mp4"),
    )


def test_what_is_unknown_is_kept_and_is_no_text(
    whole: Callable[[Any], Reply], candidate: Callable[..., Any]
) -> None:
    body = candidate(
        {"hologram": {"x": 1}},
        {"text": "a", "sparkle": True},
        {"text": "b"},
        future={"y": 2},
        finish="WHIMSY",
    )
    reply = whole({**body, "somethingNew": [1]})
    assert reply.text == "ab"
    assert (reply.finish_reason, reply.raw_finish_reason) == ("stop", "WHIMSY")
    states = [part.provider_state and json.loads(part.provider_state.data) for part in reply.parts]
    assert states == [{"hologram": {"x": 1}}, {"sparkle": True}, None]
    assert reply.data == {"future": {"y": 2}}


@pytest.mark.parametrize("stream", [False, True])
async def test_sources_of_an_answer_are_data(play: Play, candidate: Callable[..., Any], stream: bool) -> None:
    found = {"webSearchQueries": ["x"]}
    body = candidate({"text": "a"}, groundingMetadata=found, avgLogprobs=-0.1)
    reply = await play(body=body, stream=stream)
    assert reply.data == {"groundingMetadata": found}


@pytest.mark.parametrize(
    "word, ours",
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *((word, "refusal") for word in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")),
        *((word, "refusal") for word in ("MODEL_ARMOR", "IMAGE_SAFETY")),
        *((word, "error") for word in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")),
        *((word, "error") for word in ("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "OTHER")),
    ],
)
def test_finish_reasons(
    whole: Callable[[Any], Reply], candidate: Callable[..., Any], word: str, ours: str
) -> None:
    reply = whole(candidate(finish=word))
    assert (reply.finish_reason, reply.raw_finish_reason) == (ours, word)


def test_an_unexpected_call_is_an_error_that_keeps_its_parts(
    whole: Callable[[Any], Reply], candidate: Callable[..., Any]
) -> None:
    reply = whole(candidate({"functionCall": CALLS[0]}, finish="UNEXPECTED_TOOL_CALL", finishMessage="why"))
    assert reply.finish_reason == "error"
    assert [call.name for call in reply.tool_calls] == ["weather"]
    assert reply.data == {"finishMessage": "why"}


@pytest.mark.feature("S004-11")
def test_a_refusal_keeps_its_ratings(whole: Callable[[Any], Reply]) -> None:
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
    reply = whole({"candidates": [{"content": {}, "finishReason": "SAFETY", "safetyRatings": ratings}]})
    assert (reply.parts, reply.finish_reason) == ((), "refusal")
    assert reply.data == {"safetyRatings": ratings}


@pytest.mark.feature("S004-11")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_prompt_is_refused(play: Play, stream: bool) -> None:
    feedback = {"blockReason": "JAILBREAK", "blockReasonMessage": "no such thing"}
    with pytest.raises(ContentRefusedError, match=r"JAILBREAK.*no such thing") as caught:
        await play(body={"promptFeedback": feedback, "usageMetadata": {}}, stream=stream)
    assert (caught.value.vendor_code, caught.value.retryable) == ("JAILBREAK", False)


@pytest.mark.parametrize("body", [{}, {"candidates": []}, {"usageMetadata": {"promptTokenCount": 3}}])
def test_an_answer_without_candidates_is_malformed(whole: Callable[[Any], Reply], body: Any) -> None:
    with pytest.raises(MalformedAnswerError, match="no candidate"):
        whole(body)


@pytest.mark.parametrize(
    "raw, ours",
    [
        ({}, None),
        ({"promptTokenCount": 5, "totalTokenCount": 5}, Usage(input=5)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3},
            Usage(input=5, output=5, reasoning=3),
        ),
        ({"promptTokenCount": 5, "toolUsePromptTokenCount": 7}, Usage(input=12)),
        (
            {"promptTokenCount": 5, "cachedContentTokenCount": 4, "candidatesTokenCount": 1},
            Usage(input=5, cache_read=4, output=1),
        ),
        ({"thoughtsTokenCount": 3}, Usage(output=3, reasoning=3)),
        ({"promptTokenCount": "many"}, None),
    ],
)
def test_usage(
    whole: Callable[[Any], Reply], candidate: Callable[..., Any], raw: Any, ours: Usage | None
) -> None:
    reply = whole({**candidate({"text": "a"}), "usageMetadata": raw})
    assert reply.usage == ours
    assert reply.usage is None or reply.usage.raw == raw


def test_the_last_usage_of_a_stream_holds_even_where_it_falls(
    parse: Callable[..., list[Event]], candidate: Callable[..., Any]
) -> None:
    counts = [{"promptTokenCount": 9, "candidatesTokenCount": 8}, {"promptTokenCount": 3}]
    pieces = [
        {**candidate({"text": "a"}, finish="STOP" if n else None), "usageMetadata": counts[n]} for n in (0, 1)
    ]
    events = parse(*(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n" for piece in pieces))
    assert [event.usage for event in events if isinstance(event, UsageUpdate)] == [
        Usage(input=9, output=8),
        Usage(input=3),
    ]
    assert fold(events).usage == Usage(input=3)


def test_a_call_is_told_in_deltas_and_then_whole(
    parse: Callable[..., list[Event]], candidate: Callable[..., Any]
) -> None:
    piece = candidate({"text": "a"}, {"text": "b"}, {"functionCall": CALLS[0], "thoughtSignature": "c2ln"})
    events = parse(b"data: " + json.dumps(piece, ensure_ascii=False).encode() + b"\n\n")
    kinds = [type(event) for event in events if not isinstance(event, UsageUpdate)][1:]
    assert kinds == [TextDelta, TextDelta, ToolCallDelta, PartDone, Finished]
    assert [event.index for event in events if isinstance(event, TextDelta)] == [0, 0]
    assert fold(events).text == "ab"


def test_a_further_candidate_is_left_alone(
    whole: Callable[[Any], Reply], candidate: Callable[..., Any]
) -> None:
    first, second = candidate({"text": "a"}), candidate({"text": "b"}, index=1)
    assert whole({"candidates": [*first["candidates"], *second["candidates"]]}).text == "a"


async def test_a_completion_is_a_chat_of_one_turn(server: GeminiServer, provider: Gemini) -> None:
    await provider.call(Completion("Once upon", max_tokens=5, stop=("x",)).to("gemini-x"))
    assert server.requests[0].json == {
        "contents": [{"role": "user", "parts": [{"text": "Once upon"}]}],
        "generationConfig": {"maxOutputTokens": 5, "stopSequences": ["x"]},
    }


async def test_a_whole_answer_where_a_stream_was_asked_and_the_other_way_round(
    server: GeminiServer, provider: Gemini, candidate: Callable[..., Any], play: Play
) -> None:
    body = candidate({"text": "all"})
    assert (await play(body=body, stream=True)).text == "all"
    assert (await play(body=[body], stream=False)).text == "all"
    streamed = b"data: " + json.dumps(body).encode() + b"\n\n"
    assert (await play(body=streamed, stream=False)).text == "all"


async def test_gzip_and_small_pieces_change_nothing(play: Play) -> None:
    expected = await play(text="Grüße 你好 😀 and more", thinking="hm")
    for form in ("sse", "array"):
        for fields in ({"gzip": True}, {"chunk": 1}, {"chunk": 3, "newline": "\r\n"}):
            found = await play(
                text="Grüße 你好 😀 and more", thinking="hm", config={"stream_format": form}, **fields
            )
            assert found == expected


async def test_the_server_is_asked_by_model_in_the_path_and_key_in_the_header(
    server: GeminiServer, provider: Gemini
) -> None:
    for stream in (False, True):
        server.answers.append(Answer("x"))
        answer = await provider.call(Chat("hi").to("models/gemini-x", stream=stream))
        if not isinstance(answer, Reply):
            await answer.collect()
    whole_call, stream_call = server.requests
    assert whole_call.path == "/v1beta/models/gemini-x:generateContent"
    assert (stream_call.path, stream_call.query) == (
        "/v1beta/models/gemini-x:streamGenerateContent",
        "alt=sse",
    )
    assert "x-goog-api-key" in whole_call.headers
    assert "key" not in whole_call.query
