"""Answers: text, thinking, calls, usage, finish, and what of them goes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import UnsupportedError
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import (
    Chat,
    Completion,
    ImagePart,
    Message,
    Reply,
    ResponseSchema,
    ThinkingPart,
    Tool,
    ToolResultPart,
)
from gleitzeit.wire.codec import from_json, to_json

WEATHER = Tool("get/weather", description="Tells.", input_schema={"type": "object"})
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.feature("S002-06")
@pytest.mark.feature("S002-09")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_text_thinking_calls_usage_and_finish(
    play: Callable[..., Awaitable[Reply]], stream: bool
) -> None:
    call = {"name": "get__weather", "arguments": {"city": "Zürich"}, "id": "c7"}
    measured = {"prompt_eval_count": 20, "eval_count": 9, "total_duration": 5, "load_duration": 1, "new": 2}
    answer = Answer("Look.", thinking="hm", calls=(call,), measured=measured)
    reply = await play(answer, Chat("hi", tools=[WEATHER]), stream=stream)
    assert (reply.text, reply.thinking) == ("Look.", "hm")
    (made,) = reply.tool_calls
    assert (made.id, made.name, made.arguments) == ("c7", "get/weather", {"city": "Zürich"})
    assert (reply.finish_reason, reply.raw_finish_reason) == ("tool_calls", "stop")
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output, reply.usage.raw) == (20, 9, measured)
    assert reply.model == "scripted"


@pytest.mark.parametrize(
    "word, ours",
    [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unheard_of", "stop"), (None, "stop")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_finish_reasons(
    play: Callable[..., Awaitable[Reply]], word: str | None, ours: str, stream: bool
) -> None:
    reply = await play(Answer("x", done_reason=word), stream=stream)
    assert (reply.finish_reason, reply.raw_finish_reason) == (ours, word)


async def test_usage_that_did_not_come_is_none(play: Callable[..., Awaitable[Reply]]) -> None:
    assert (await play(Answer("x", measured=None))).usage is None
    reply = await play(Answer("x", measured={"eval_count": 3, "prompt_eval_count": None}))
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (None, 3)


def test_calls_come_in_many_shapes(whole: Callable[..., Reply]) -> None:
    def call(arguments: str, **more: Any) -> bytes:
        rest = "".join(f', "{name}": {json.dumps(value)}' for name, value in more.items())
        return f'{{"function": {{"name": "f"{arguments}}}{rest}}}'.encode()

    calls = [
        call(', "arguments": {"b": 1.0, "a":  2}', id="x"),
        call(', "arguments": {}', id="x"),
        call(', "arguments": null'),
        call(""),
        call(', "arguments": "{\\"a\\": 1}"'),
        call(', "arguments": [1]'),
        b'{"function": {"arguments": {}}}',
        b"{}",
    ]
    reply = whole(b'{"message": {"tool_calls": [' + b",".join(calls) + b']}, "done": true}')
    found = reply.tool_calls
    assert [made.arguments for made in found] == [{"b": 1.0, "a": 2}, {}, {}, {}, {"a": 1}, None]
    assert found[0].raw == '{"b": 1.0, "a":  2}'
    assert len({made.id for made in found}) == 6
    assert found[0].id == "x"


def test_pictures_in_an_answer_are_parts(whole: Callable[..., Reply]) -> None:
    images = [base64.b64encode(PNG).decode(), "?", None]
    reply = whole({"message": {"content": "see", "images": images}, "done": True})
    (picture,) = (part for part in reply.parts if isinstance(part, ImagePart))
    assert picture.data == PNG


@pytest.mark.parametrize("stream", [False, True])
async def test_a_completion_is_one(
    play: Callable[..., Awaitable[Reply]], server: OllamaServer, stream: bool
) -> None:
    reply = await play(Answer("world", thinking="hm"), Completion("hello", max_tokens=5), stream=stream)
    assert (reply.text, reply.thinking) == ("world", "hm")
    sent = server.requests[-1]
    assert (sent.path, sent.json["prompt"], sent.json["options"]) == (
        "/api/generate",
        "hello",
        {"num_predict": 5},
    )


async def test_structured_output_travels_as_format(
    play: Callable[..., Awaitable[Reply]], server: OllamaServer
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await play(Answer('{"a": 1}'), Chat("x", response_schema=ResponseSchema(schema)))
    assert server.requests[-1].json["format"] == schema


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_goes_round(
    play: Callable[..., Awaitable[Reply]], server: OllamaServer, stream: bool
) -> None:
    calls = ({"name": "get__weather", "arguments": {"city": "Oslo"}},)
    first = await play(
        Answer("", thinking="I need it.", calls=calls), Chat("hi", tools=[WEATHER]), stream=stream
    )
    (call,) = first.tool_calls
    turns = [Message.user("hi"), first.message, Message.tool(ToolResultPart(call.id, parts="rain"))]
    await play(Answer("Rain."), Chat(turns, tools=[WEATHER]), stream=stream)
    assert server.requests[-1].json["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "I need it.",
            "tool_calls": [
                {"id": call.id, "function": {"name": "get__weather", "arguments": {"city": "Oslo"}}}
            ],
        },
        {"role": "tool", "content": "rain", "tool_name": "get__weather", "tool_call_id": call.id},
    ]


async def test_thinking_goes_back_byte_for_byte_through_storage_to_its_model_only(
    play: Callable[..., Awaitable[Reply]], server: OllamaServer, make: Callable[..., Ollama]
) -> None:
    thought = 'a "quoted"\n thought \u2028 with 😀 and \\ in it'
    turn = (await play(Answer("x", thinking=thought), stream=True)).message
    stored = from_json(Message, json.loads(json.dumps(to_json(turn))))
    chat = Chat([Message.user("hi"), stored, Message.user("go on")])

    async def sent(model: str, **fields: Any) -> dict[str, Any]:
        await play(Answer("y"), chat, model=model, **fields)
        found: dict[str, Any] = server.requests[-1].json["messages"][1]
        return found

    thinking = [part for part in stored.parts if isinstance(part, ThinkingPart)]
    assert [part.text for part in thinking] == [thought]
    assert (await sent("scripted"))["thinking"] == thought
    assert "thinking" not in await sent("another")
    assert "thinking" not in await sent("scripted", by=make(return_thinking=False))
    assert (await sent("another"))["content"] == "x"


async def test_a_full_context_is_warned_of_once(
    play: Callable[..., Awaitable[Reply]], make: Callable[..., Ollama], caplog: pytest.LogCaptureFixture
) -> None:
    small = make(num_ctx=8)
    for stream, read in ((False, 7), (False, 8), (True, 8), (False, 9)):
        await play(Answer("x", measured={"prompt_eval_count": read}), by=small, stream=stream)
    assert [record.getMessage() for record in caplog.records if "num_ctx" in record.getMessage()] == [
        "model scripted: the prompt fills the context of 8 tokens, and what was over is cut; raise num_ctx"
    ]


async def test_a_model_that_cannot_is_unsupported(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]]
) -> None:
    with pytest.raises(UnsupportedError, match="does not support chat") as caught:
        await ask("hi", "embed")
    assert caught.value.fallback
    server.answers.append(Answer.error(400, '"scripted" does not support thinking'))
    with pytest.raises(UnsupportedError):
        await ask(Chat("hi", reasoning="high"))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_refuses_to_think_is_asked_without_once_and_for_all(
    make: Callable[..., Ollama], server: OllamaServer, ask: Callable[..., Awaitable[Reply]], stream: bool
) -> None:
    refusal = Answer.error(400, '"scripted" does not support thinking')
    server.answers.append(refusal)
    with pytest.raises(UnsupportedError):
        await ask(Chat("hi", reasoning="high"), by=make(), stream=stream)
    provider = make(adapt=True)
    server.answers.append(refusal)
    for model in ("scripted", "scripted:latest"):
        assert (await ask(Chat("hi", reasoning="high"), model, by=provider, stream=stream)).text
    assert ["think" in call.json for call in server.requests] == [True, True, False, False]
    server.answers.append(Answer.error(400, '"scripted" does not support tools'))
    with pytest.raises(UnsupportedError):
        await ask(Chat("hi", tools=[WEATHER]), by=provider, stream=stream)
