"""Reasoning in its spellings, and what of it goes back to the model that it came from."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.values import Chat, Event, Message, Reply, TextPart, ThinkingPart, ToolResultPart
from gleitzeit.values.fold import fold
from gleitzeit.wire.codec import dumps, loads

Parse = Callable[..., list[Event]]
Chunk = Callable[..., dict[str, Any]]
Sse = Callable[..., bytes]
Whole = Callable[..., Reply]
Play = Callable[..., Awaitable[Reply]]

SPELLINGS = ["reasoning_content", "reasoning", "thinking"]


@pytest.mark.parametrize("field", SPELLINGS)
def test_thinking_in_a_whole_message(whole: Whole, field: str) -> None:
    reply = whole({"choices": [{"message": {"content": "42", field: "let me see"}, "finish_reason": "stop"}]})
    assert (reply.thinking, reply.text) == ("let me see", "42")


@pytest.mark.parametrize("field", SPELLINGS)
def test_thinking_in_a_stream(parse: Parse, chunk: Chunk, sse: Sse, field: str) -> None:
    frames = [chunk(**{field: "let "}), chunk(**{field: "me see"}), chunk(content="42"), chunk(finish="stop")]
    reply = fold(parse(sse(*frames)))
    assert (reply.thinking, reply.text) == ("let me see", "42")
    assert isinstance(reply.parts[0], ThinkingPart)


def test_a_thought_in_two_spellings_is_heard_once(whole: Whole) -> None:
    message = {
        "content": "42",
        "reasoning_content": "hm",
        "reasoning": "hm",
        "reasoning_details": [{"text": "hm"}],
    }
    assert whole({"choices": [{"message": message}]}).thinking == "hm"


def test_details_alone_are_thinking(whole: Whole) -> None:
    details = [{"type": "reasoning.summary", "summary": "a"}, {"type": "reasoning.text", "text": "b"}]
    assert whole({"choices": [{"message": {"content": "x", "reasoning_details": details}}]}).thinking == "ab"


@pytest.mark.parametrize("odd", [3, [], {"a": 1}, True])
def test_thinking_of_a_strange_type_is_none(whole: Whole, odd: Any) -> None:
    assert whole({"choices": [{"message": {"content": "x", "reasoning_content": odd}}]}).thinking == ""


DETAILS = [
    {"type": "reasoning.encrypted", "data": 'gAAA+/=ü\u2028"\\', "id": "r1", "format": "x", "index": 0},
    {"type": "reasoning.text", "text": "let me see", "signature": "sig==", "index": 1},
]


async def again(
    provider: OpenAI, server: OpenAIServer, reply: Reply, model: str = "scripted-echo"
) -> dict[str, Any]:
    """The assistant turn as it is sent in the next request, after a night in storage."""
    stored = loads(Message, dumps(reply.message))
    messages = [Message.user("x"), stored, Message.user("go on")]
    if stored.tool_calls:
        messages[2] = Message.tool(*(ToolResultPart(call.id, parts="y") for call in stored.tool_calls))
    await provider.call(Chat(messages).to(model))
    sent: dict[str, Any] = server.requests[-1].json["messages"][1]
    return sent


@pytest.fixture
def sent_back(
    make: Callable[..., OpenAI], play: Play, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[dict[str, Any]]]:
    """What goes back of a message; our server's own check does not know these fields."""
    monkeypatch.setattr("gleitzeit.testing.openai_server.server.problem", lambda kind, body: None)

    async def run(
        *frames: Any, body: Any = None, model: str = "scripted-echo", **config: Any
    ) -> dict[str, Any]:
        reply = await play(*frames, body=body)
        return await again(make(**config), server, reply, model)

    return run


SentBack = Callable[..., Awaitable[dict[str, Any]]]


@pytest.mark.parametrize("field", SPELLINGS)
async def test_thinking_goes_back_under_its_own_name(sent_back: SentBack, field: str) -> None:
    message = {"content": "42", field: 'let me "see" ü\n'}
    sent = await sent_back(body={"choices": [{"message": message}]})
    assert sent == {"role": "assistant", **message}


async def test_streamed_thinking_goes_back_whole(sent_back: SentBack, chunk: Chunk) -> None:
    frames = [chunk(reasoning_content="let "), chunk(reasoning_content="me see"), chunk(content="42")]
    sent = await sent_back(*frames, chunk(finish="stop"))
    assert sent == {"role": "assistant", "content": "42", "reasoning_content": "let me see"}


async def test_details_go_back_byte_for_byte(sent_back: SentBack, server: OpenAIServer) -> None:
    message = {"content": "42", "reasoning": "let me see", "reasoning_details": DETAILS}
    sent = await sent_back(body={"choices": [{"message": message}]})
    assert sent["reasoning_details"] == DETAILS
    assert json.dumps(DETAILS, ensure_ascii=False).encode() in server.requests[-1].body


async def test_details_in_fragments_are_joined(sent_back: SentBack, chunk: Chunk) -> None:
    fragments = [
        [{"type": "reasoning.text", "text": "let ", "index": 0, "signature": None}],
        [{"type": "reasoning.text", "text": "me see", "index": 0}],
        [{"type": "reasoning.text", "text": "", "index": 0, "signature": "sig=="}],
        [DETAILS[0] | {"index": 1}],
    ]
    frames = [chunk(reasoning_details=details) for details in fragments]
    sent = await sent_back(*frames, chunk(content="42"), chunk(finish="stop"))
    assert sent["reasoning_details"] == [
        {"type": "reasoning.text", "text": "let me see", "index": 0, "signature": "sig=="},
        DETAILS[0] | {"index": 1},
    ]


async def test_encrypted_reasoning_without_text_goes_back(sent_back: SentBack, chunk: Chunk) -> None:
    frames = [chunk(reasoning_details=[DETAILS[0]]), chunk(finish="stop")]
    assert (await sent_back(*frames))["reasoning_details"] == [DETAILS[0]]


EXTRA = {"google": {"thought_signature": "AbC+/=="}}


@pytest.mark.parametrize("stream", [False, True])
async def test_signatures_of_the_gemini_twin_go_back_on_message_and_call(
    sent_back: SentBack, chunk: Chunk, stream: bool
) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": EXTRA}
    message = {"content": "hm", "tool_calls": [call], "extra_content": EXTRA}
    if stream:
        sent = await sent_back(chunk(**message), chunk(finish="stop"))
    else:
        sent = await sent_back(body={"choices": [{"message": message}]})
    assert sent["extra_content"] == EXTRA
    assert sent["tool_calls"][0]["extra_content"] == EXTRA
    assert sent["tool_calls"][0]["id"]


async def test_state_stays_with_its_model(sent_back: SentBack) -> None:
    message = {"content": "42", "reasoning": "hm", "reasoning_details": DETAILS}
    sent = await sent_back(body={"choices": [{"message": message}]}, model="scripted-slow")
    assert sent == {"role": "assistant", "content": "42"}


async def test_state_stays_with_its_server(sent_back: SentBack, server: OpenAIServer) -> None:
    message = {"content": "42", "reasoning": "hm"}
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    sent = await sent_back(body={"choices": [{"message": message}]}, base_url=elsewhere)
    assert sent == {"role": "assistant", "content": "42"}


async def test_returning_can_be_switched_off(sent_back: SentBack) -> None:
    message = {"content": "42", "reasoning": "hm"}
    sent = await sent_back(body={"choices": [{"message": message}]}, return_reasoning=False)
    assert sent == {"role": "assistant", "content": "42"}


def test_a_message_without_state_carries_none(whole: Whole) -> None:
    assert whole({"choices": [{"message": {"content": "x"}}]}).parts == (TextPart("x"),)
