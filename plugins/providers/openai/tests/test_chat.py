"""Chats and completions, whole and streamed, against the scripted server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Finished,
    Limit,
    Message,
    RateLimits,
    Reply,
    Started,
    Stream,
    TextDelta,
    TextPart,
    Tool,
    ToolResultPart,
    Usage,
    UsageUpdate,
)

Play = Callable[..., Awaitable[Reply]]
Make = Callable[..., OpenAI]
WEATHER = Tool(
    "weather/now",
    description="the weather",
    input_schema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


async def ask(provider: OpenAI, operation: Any, model: str, **fields: Any) -> Reply:
    answer = await provider.call(operation.to(model, **fields))
    return await answer.collect() if isinstance(answer, Stream) else answer


async def test_a_whole_answer(provider: OpenAI) -> None:
    reply = await ask(provider, Chat("hello"), "scripted-echo")
    assert reply.text.endswith("You said: hello")
    assert (reply.finish_reason, reply.raw_finish_reason) == ("stop", "stop")
    assert reply.usage == Usage(input=4, output=12)
    assert (reply.model, reply.id) == ("scripted-echo", "fake-1")
    assert b"You said" in reply.raw


@pytest.mark.feature("S001-04")
async def test_a_stream_arrives_piece_by_piece_and_ends_with_a_reason(
    provider: OpenAI, server: OpenAIServer
) -> None:
    server.answers.append(Answer("one two three", fault="stall", after=2))
    stream = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(stream, Stream)
    assert [await anext(stream), await anext(stream)] == [
        Started(id="fake-1", model="scripted-echo"),
        TextDelta("one"),
    ]
    assert not server.requests[0].done.is_set()  # the first delta is here before the server has finished
    await stream.aclose()
    whole = await ask(provider, Chat("hello"), "scripted-echo")
    events = [event async for event in await provider.call(Chat("hello").to("scripted-echo", stream=True))]  # type: ignore[union-attr]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == whole.text
    assert isinstance(events[-2], UsageUpdate)
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_rate_limits_of_the_account_come_with_the_reply(
    provider: OpenAI, server: OpenAIServer, stream: bool
) -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-tokens": "9"}
    server.answers.append(Answer("x", headers=headers))
    answer = await provider.call(Chat("hello").to("scripted-echo", stream=stream))
    if isinstance(answer, Stream):
        await answer.prime()
        assert answer.started is not None
        assert answer.started.limits == RateLimits(requests=Limit(60), tokens=Limit(None, 9))
        answer = await answer.collect()
    assert answer.limits == RateLimits(requests=Limit(60), tokens=Limit(None, 9))


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_kept_apart_from_text(provider: OpenAI, stream: bool) -> None:
    reply = await ask(provider, Chat("life"), "scripted-thinking", stream=stream)
    assert (reply.thinking, reply.text) == ("A scripted thought about: life", "Scripted: 42.")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_round_trip(provider: OpenAI, server: OpenAIServer, stream: bool) -> None:
    chat = Chat('use {"city": "Paris"}', tools=(WEATHER,))
    first = await ask(provider, chat, "scripted-tools", stream=stream)
    (call,) = first.tool_calls
    assert (call.name, call.arguments) == ("weather/now", {"city": "Paris"})
    assert first.finish_reason == "tool_calls"
    turns = [*chat.messages, first.message, Message.tool(ToolResultPart(call.id, parts="sunny"))]
    last = await ask(provider, Chat(turns, tools=(WEATHER,)), "scripted-tools", stream=stream)
    assert last.text == "Scripted fake: the tool answered sunny"
    assert server.requests[1].json["tools"][0]["function"]["name"] == "weather__now"


@pytest.mark.parametrize("stream", [False, True])
async def test_parallel_calls_keep_their_order_and_ids(
    provider: OpenAI, server: OpenAIServer, stream: bool
) -> None:
    calls = tuple({"name": "weather__now", "arguments": {"city": city}} for city in ("Paris", "Oslo"))
    server.answers.append(Answer("Let me see.", calls=calls))
    reply = await ask(provider, Chat("both", tools=(WEATHER,)), "scripted-tools", stream=stream)
    assert reply.text == "Let me see."
    assert [call.arguments for call in reply.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    assert len({call.id for call in reply.tool_calls}) == 2
    results = Message.tool(*(ToolResultPart(call.id, parts="x") for call in reply.tool_calls))
    again = await ask(
        provider, Chat([Message.user("both"), reply.message, results], tools=(WEATHER,)), "scripted-tools"
    )
    assert again.text == "Scripted fake: the tool answered x; x"


async def test_the_model_of_the_reply_is_the_one_that_the_server_names(play: Play) -> None:
    body = {"id": "x", "model": "another-model", "choices": [{"message": {"content": "hi"}}]}
    assert (await play(body=body)).model == "another-model"


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_takes_either_road(
    make: Make, server: OpenAIServer, api: str, stream: bool
) -> None:
    provider = make(completion_api=api)
    reply = await ask(provider, Completion("Once", max_tokens=9), "scripted-echo", stream=stream)
    assert reply.text.endswith("You said: Once")
    assert reply.finish_reason == "stop"
    call = server.requests[0]
    assert call.path == ("/v1/chat/completions" if api == "chat" else "/v1/completions")
    assert call.json["max_tokens"] == 9


async def test_what_the_api_does_not_offer_is_refused_unsent(provider: OpenAI, server: OpenAIServer) -> None:
    with pytest.raises(UnsupportedError, match="classification"):
        await provider.call(Classification("x").to("m"))
    assert server.requests == []


async def test_options_are_sent_as_they_are(provider: OpenAI, server: OpenAIServer) -> None:
    chat = Chat("x", options={"openai": {"verbosity": "low", "temperature": 0.5}, "other": {"bogus": 1}})
    await ask(provider, chat, "scripted-echo")
    body = server.requests[0].json
    assert (body["verbosity"], body["temperature"]) == ("low", 0.5)
    assert "bogus" not in body


@pytest.mark.parametrize("name", ["model", "messages", "stream", "tools"])
async def test_options_do_not_overrule_the_request(provider: OpenAI, name: str) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        await ask(provider, Chat("x", options={"openai": {name: "y"}}), "scripted-echo")


async def test_several_answers_are_refused_as_a_reply_holds_one(provider: OpenAI) -> None:
    with pytest.raises(UnsupportedError):
        await ask(provider, Chat("x", options={"openai": {"n": 2}}), "scripted-echo")


async def test_stream_is_always_said(provider: OpenAI, server: OpenAIServer) -> None:
    for stream in (False, True):
        await ask(provider, Chat("x"), "scripted-echo", stream=stream)
    assert [call.json["stream"] for call in server.requests] == [False, True]


async def test_usage_of_streams_is_asked_for_unless_the_server_refuses_that(
    make: Make, server: OpenAIServer
) -> None:
    reply = await ask(make(stream_usage=False), Chat("x"), "scripted-echo", stream=True)
    assert reply.usage is None
    assert "stream_options" not in server.requests[0].json


async def test_headers_of_the_account(make: Make, server: OpenAIServer) -> None:
    provider = make(organization="org-1", project="proj-1", headers={"X-Team": "red"})
    await ask(provider, Chat("x"), "scripted-echo", idempotency_key="once")
    headers = server.requests[0].headers
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["x-team"] == "red"
    assert headers["idempotency-key"] == "once"
    assert headers["user-agent"] == "gleitzeit"


async def test_connections_are_kept_between_calls(provider: OpenAI, server: OpenAIServer) -> None:
    for number in range(6):
        await ask(provider, Chat("x"), "scripted-echo", stream=number % 2 == 0)
    assert server.connections == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_gzip_is_decoded_as_it_arrives(provider: OpenAI, server: OpenAIServer, stream: bool) -> None:
    server.answers.append(Answer("zipped up", gzip=True, chunk=3))
    assert (await ask(provider, Chat("x"), "scripted-echo", stream=stream)).text == "zipped up"


async def test_a_stream_is_read_no_faster_than_its_reader(provider: OpenAI, server: OpenAIServer) -> None:
    """Backpressure: the server stays stuck in its writes while nobody reads."""
    server.answers.append(Answer(f"{'x' * 40_000} " * 500))
    stream = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(stream, Stream)
    for _ in range(5):
        await anext(stream)
    assert not server.requests[0].done.is_set()
    await stream.aclose()
    await server.requests[0].closed.wait()


async def test_json_though_a_stream_was_asked(play: Play, server: OpenAIServer, provider: OpenAI) -> None:
    body = {"id": "x", "model": "m", "choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}
    server.answers.append(Answer(body=body))
    stream = await provider.call(Chat("x").to("m", stream=True))
    assert isinstance(stream, Stream)
    events = [event async for event in stream]
    assert [type(event) for event in events] == [Started, TextDelta, Finished]
    assert stream.reply.text == "whole"


async def test_a_stream_though_json_was_asked(play: Play) -> None:
    choice = '{"delta":{"content":"unasked"},"finish_reason":"stop"}'
    body = f'data: {{"id":"x","choices":[{choice}]}}\n\ndata: [DONE]\n\n'
    reply = await play(body=body, headers={"content-type": "text/event-stream"})
    assert reply.text == "unasked"
    assert reply.parts == (TextPart("unasked"),)


async def test_a_wrong_content_type_is_not_believed(play: Play, chunk: Callable[..., dict[str, Any]]) -> None:
    frames = (chunk(content="right"), chunk(finish="stop"))
    assert (await play(*frames, headers={"content-type": "application/json"})).text == "right"
