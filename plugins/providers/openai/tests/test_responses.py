"""The Responses API against the scripted server, and its events by hand."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.stream import ResponseParser

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    OverloadedError,
    RateLimitedError,
    ServerFaultError,
    TruncatedStreamError,
    UnsupportedError,
)
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import (
    AudioPart,
    Chat,
    Event,
    ImagePart,
    Message,
    Reply,
    Stream,
    TextDelta,
    TextPart,
    ThinkingPart,
    Tool,
    ToolResultPart,
    UsageUpdate,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

OWNER = "openai-responses:test:m"
CITY = Tool("weather/get", input_schema={"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture
def provider(make: Callable[..., OpenAI]) -> OpenAI:
    """A provider that speaks the Responses API."""
    return make(api="responses")


async def ask(provider: OpenAI, chat: Chat, model: str, *, stream: bool = False) -> Reply:
    answer = await provider.call(chat.to(model, stream=stream))
    return await answer.collect() if isinstance(answer, Stream) else answer


def events_of(*frames: Any) -> list[Event]:
    """What our parser makes of events; raises what it raises."""
    events: deque[Event] = deque()
    parser = ResponseParser(ResponseReader(WireNames(), OWNER), answer_error)
    try:
        for frame in frames:
            data = frame if isinstance(frame, str) else json.dumps(frame)
            parser.feed(f"data: {data}\n\n".encode(), events)
        if not parser.complete:
            parser.close(events)
    except GleitzeitError as error:
        error.partial = fold(events)
        raise
    return list(events)


def done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def delta(index: int, text: str, kind: str = "output_text", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}


def end(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "type": f"response.{status}",
        "response": {"id": "r", "model": "m-1", "status": status, "output": [], **more},
    }


def message(text: str, id: str = "msg_1") -> dict[str, Any]:
    return {"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]}


@pytest.mark.parametrize("stream", [False, True])
async def test_text_thinking_usage_and_finish(provider: OpenAI, stream: bool) -> None:
    reply = await ask(provider, Chat("why?"), "scripted-thinking", stream=stream)
    assert (reply.text, reply.thinking) == ("Scripted: 42.", "A scripted thought about: why?")
    assert (reply.finish_reason, reply.raw_finish_reason) == ("stop", "completed")
    assert reply.usage is not None
    assert (reply.id, reply.usage.output) == ("resp_1", 7)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_round_trip(provider: OpenAI, server: OpenAIServer, stream: bool) -> None:
    question = Message.user('weather of {"city": "Oslo"}')
    first = await ask(provider, Chat([question], tools=(CITY,)), "scripted-tools", stream=stream)
    assert first.finish_reason == "tool_calls"
    (call,) = first.tool_calls
    assert (call.name, call.arguments) == ("weather/get", {"city": "Oslo"})
    turns = [question, first.message, Message.tool(ToolResultPart(call.id, parts="rain"))]
    second = await ask(provider, Chat(turns, tools=(CITY,)), "scripted-tools", stream=stream)
    assert second.text == "Scripted fake: the tool answered rain"
    sent = server.requests[1].json
    assert sent["input"][1]["id"] == "fc_1_0"
    assert sent["input"][2] == {"type": "function_call_output", "call_id": call.id, "output": "rain"}
    assert sent["tools"][0]["strict"] is False


async def test_reasoning_goes_back_as_it_came_and_before_its_successor(
    provider: OpenAI, server: OpenAIServer
) -> None:
    first = await ask(provider, Chat("why?"), "scripted-thinking")
    again = Chat([Message.user("why?"), first.message, Message.user("sure?")])
    await ask(provider, again, "scripted-thinking")
    given = server.requests[1].json["input"]
    assert [item.get("id") for item in given] == [None, "rs_1", "msg_1", None]
    assert given[1]["encrypted_content"] == "fake==1"
    assert server.requests[0].json["include"] == ["reasoning.encrypted_content"]
    assert server.requests[0].json["store"] is False
    # Without its successor it would be refused; another model can read none of it.
    alone = Message.assistant([part for part in first.message.parts if isinstance(part, ThinkingPart)])
    await ask(provider, Chat([Message.user("why?"), alone, Message.user("x")]), "scripted-thinking")
    assert [item["role"] for item in server.requests[2].json["input"]] == ["user", "user"]
    await ask(provider, again, "scripted-echo")
    assert "fake==" not in server.requests[3].body.decode()


async def test_a_changed_answer_goes_back_as_changed(provider: OpenAI, server: OpenAIServer) -> None:
    first = await ask(provider, Chat("x"), "scripted-echo")
    (part,) = first.parts
    changed = Message.assistant([TextPart("[removed]", provider_state=part.provider_state)])
    await ask(provider, Chat([Message.user("x"), changed, Message.user("y")]), "scripted-echo")
    item = server.requests[1].json["input"][1]
    assert (item["id"], item["content"][0]["text"]) == ("msg_1", "[removed]")


async def test_options_join_with_what_the_request_says(provider: OpenAI, server: OpenAIServer) -> None:
    options = {
        "text": {"verbosity": "low"},
        "reasoning": {"summary": "auto"},
        "tools": [{"type": "web_search"}],
        "include": ["web_search_call.action.sources"],
        "previous_response_id": "resp_9",
    }
    await ask(provider, Chat("x", reasoning="low", options={"openai": options}), "scripted-echo")
    sent = server.requests[0].json
    assert sent["reasoning"] == {"effort": "low", "summary": "auto"}
    assert sent["text"] == {"verbosity": "low"}
    assert sent["tools"] == [{"type": "web_search"}]
    assert sent["include"] == ["web_search_call.action.sources", "reasoning.encrypted_content"]
    assert sent["previous_response_id"] == "resp_9"


@pytest.mark.parametrize(
    "chat, error",
    [
        (Chat("x", stop=("a",)), UnsupportedError),
        (Chat("x", seed=1), UnsupportedError),
        (Chat([Message("user", "x", name="ada")]), UnsupportedError),
        (Chat([Message.user(AudioPart(data=b"x", media_type="audio/wav"))]), UnsupportedError),
        (Chat([Message.assistant(ImagePart(url="https://example.org/a.png"))]), UnsupportedError),
        (Chat("x", options={"openai": {"n": 2}}), UnsupportedError),
        (Chat("x", options={"openai": {"input": "y"}}), InvalidRequestError),
        (Chat("x", options={"openai": {"tools": [{"type": "function"}]}}), InvalidRequestError),
        (Chat("x", reasoning="low", options={"openai": {"reasoning": {"effort": ""}}}), InvalidRequestError),
        (Chat([]), InvalidRequestError),
    ],
)  # fmt: skip
async def test_what_the_wire_cannot_carry_is_refused_before_anything_is_sent(
    provider: OpenAI, server: OpenAIServer, chat: Chat, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await ask(provider, chat, "scripted-echo")
    assert not server.requests


async def test_api_by_configuration(make: Callable[..., OpenAI], server: OpenAIServer) -> None:
    for config, path in (({}, "chat/completions"), ({"api": "auto"}, "chat/completions")):
        await ask(make(**config), Chat("x"), "scripted-echo")
        assert server.requests[-1].path == f"/v1/{path}"


def test_items_of_the_vendors_tools_survive_in_their_place() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "x"}, "new": 1}
    reply = fold(
        events_of(
            added(0, type="web_search_call", id="ws_1"),
            {"type": "response.web_search_call.searching", "output_index": 0},
            added(1, type="message", id="msg_1"),
            delta(1, "found"),
            done(0, **search),
            done(1, **message("found")),
            end(),
        )
    )
    assert [part.type for part in reply.parts] == ["thinking", "text"]
    state = reply.parts[0].provider_state
    assert state is not None
    assert json.loads(state.data) == search
    assert (reply.text, reply.thinking) == ("found", "")


def test_what_the_last_event_says_of_an_item_is_the_last_word() -> None:
    early = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "early"}
    late = {**early, "encrypted_content": "late"}
    missing = {"type": "mcp_list_tools", "id": "mcpl_1", "tools": []}
    reply = fold(events_of(done(0, **early), end(output=[late, missing])))
    states = [json.loads(part.provider_state.data) for part in reply.parts if part.provider_state]
    assert states == [late, missing]


def test_summaries_are_set_apart_and_text_is_shown_as_it_comes() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("one", "two")]
    kind = "reasoning_summary_text"
    events = events_of(
        added(0, type="reasoning", id="rs_1"),
        delta(0, "o", kind, summary_index=0),
        delta(0, "ne", kind, summary_index=0),
        delta(0, "two", kind, summary_index=1),
        done(0, type="reasoning", id="rs_1", summary=summary),
        delta(1, "hi"),
        end(output=[]),
    )
    assert fold(events).thinking == "one\n\ntwo" == fold(events[:3]).thinking
    assert TextDelta("hi", index=1) in events


@pytest.mark.parametrize(
    "details, finish, raw",
    [
        ({"reason": "max_output_tokens"}, "length", "incomplete:max_output_tokens"),
        ({"reason": "content_filter"}, "refusal", "incomplete:content_filter"),
        ({"reason": "a_new_reason"}, "stop", "incomplete:a_new_reason"),
        (None, "stop", "incomplete"),
    ],
)
def test_incomplete_responses(details: Any, finish: str, raw: str) -> None:
    reply = fold(events_of(delta(0, "half"), end("incomplete", incomplete_details=details)))
    assert (reply.text, reply.finish_reason, reply.raw_finish_reason) == ("half", finish, raw)


def test_a_refusal_is_text_with_a_finish_of_its_own() -> None:
    item = {"type": "message", "id": "m", "content": [{"type": "refusal", "refusal": "No."}]}
    reply = fold(events_of(delta(0, "No.", "refusal"), done(0, **item), end(output=[item])))
    assert (reply.text, reply.finish_reason) == ("No.", "refusal")


def test_pictures_that_the_model_drew_are_parts() -> None:
    item = {"type": "image_generation_call", "id": "ig_1", "result": "eA==", "output_format": "webp"}
    reply = fold(events_of(done(0, **item), end(output=[item])))
    (part,) = reply.parts
    assert isinstance(part, ImagePart)
    assert (part.data, part.media_type) == (b"x", "image/webp")


def test_citations_and_probabilities_are_in_the_data_of_the_reply() -> None:
    extras: dict[str, Any] = {"annotations": [{"type": "url_citation"}], "logprobs": [{"token": "a"}]}
    part = {"type": "output_text", "text": "a", **extras}
    reply = fold(events_of(end(output=[{"type": "message", "id": "m", "content": [part]}])))
    assert reply.data == {**extras, "logprobs": {"content": extras["logprobs"]}}


@pytest.mark.parametrize(
    "fault, kind",
    [
        ({"type": "error", "code": "server_is_overloaded", "message": "busy"}, OverloadedError),
        ({"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow"}}, RateLimitedError),
        (end("failed", error={"code": "server_error", "message": "x"}), ServerFaultError),
        (end("failed", error={"code": "invalid_prompt", "message": "x"}), InvalidRequestError),
        (end("failed", error=None), ServerFaultError),
        ("[DONE]", TruncatedStreamError),
        ('{"error": "cut by\nloose lines', GleitzeitError),
        (done(0, type="message") | {"item": [1]}, MalformedAnswerError),
    ],
)
def test_faults_inside_a_stream_are_errors_with_what_came(fault: Any, kind: type[GleitzeitError]) -> None:
    with pytest.raises(kind) as caught:
        events_of(delta(0, "so far"), fault)
    assert caught.value.partial.text == "so far"


def test_usage_of_a_failed_response_is_told() -> None:
    usage = {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 2}}
    events: deque[Event] = deque()
    parser = ResponseParser(ResponseReader(WireNames(), OWNER), answer_error)
    with pytest.raises(ServerFaultError):
        parser.feed(f"data: {json.dumps(end('failed', usage=usage))}\n\n".encode(), events)
    (update,) = [event for event in events if isinstance(event, UsageUpdate)]
    assert (update.usage.input, update.usage.cache_read) == (5, 2)


async def test_a_whole_answer_may_fail_or_be_none(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.extend([
        Answer(body=end("failed", error={"code": "rate_limit_exceeded", "message": "x"})["response"]),
        Answer(body={"object": "response.input_tokens", "input_tokens": 3}),
        Answer(body={"error": {"message": "no", "code": "server_is_overloaded"}}),
        Answer(body="<html>"),
    ])  # fmt: skip
    for kind in (RateLimitedError, MalformedAnswerError, OverloadedError, MalformedAnswerError):
        with pytest.raises(kind):
            await ask(provider, Chat("x"), "scripted-echo")


async def test_json_for_a_stream_and_a_stream_for_json(provider: OpenAI, server: OpenAIServer) -> None:
    whole = end(output=[message("whole")])["response"]
    server.answers.append(Answer(body=whole))
    assert (await ask(provider, Chat("x"), "scripted-echo", stream=True)).text == "whole"
    server.answers.append(Answer(body=f"data: {json.dumps(delta(0, 'a'))}\n\ndata: {json.dumps(end())}\n\n"))
    assert (await ask(provider, Chat("x"), "scripted-echo")).text == "a"


async def test_a_response_in_the_background_is_paused(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer(body=end("queued")["response"]))
    reply = await ask(provider, Chat("x", options={"openai": {"background": True}}), "scripted-echo")
    assert (reply.finish_reason, reply.raw_finish_reason, reply.id) == ("paused", "queued", "r")


async def test_results_of_tools_with_free_text(provider: OpenAI, server: OpenAIServer) -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "sh", "input": "ls -l"}
    server.answers.append(Answer(body=end(output=[item])["response"]))
    options = {"openai": {"tools": [{"type": "custom", "name": "sh"}]}}
    reply = await ask(provider, Chat("x", options=options), "scripted-echo")
    (call,) = reply.tool_calls
    assert (call.name, call.arguments, call.raw) == ("sh", None, "ls -l")
    result = Message.tool(ToolResultPart("c1", parts=["a", ImagePart(data=b"\x89PNG")]))
    await ask(provider, Chat([Message.user("x"), reply.message, result], options=options), "scripted-echo")
    sent = server.requests[1].json["input"]
    assert sent[1] == item
    assert (sent[2]["type"], sent[2]["output"][1]["type"]) == ("custom_tool_call_output", "input_image")
