"""What comes back of chats, completions, embeddings and classifications."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    PluginError,
    ServerFaultError,
    TooLongError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    ImagePart,
    Message,
    ReadResource,
    Reply,
    ResponseSchema,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

Ask = Callable[..., Awaitable[Reply]]
STATUS = Tool("git/status", description="What changed.", input_schema={"type": "object", "properties": {}})


async def sent(ask: Ask, operation: Any) -> dict[str, Any]:
    """The job as the model gets it."""
    job: dict[str, Any] = json.loads((await ask(operation, "echo")).text)
    return job


async def test_a_reply_has_text_usage_and_the_models_name(ask: Ask) -> None:
    reply = await ask("grüße 你好 😀")
    assert reply.text == "pong, grüße 你好 😀"
    assert (reply.finish_reason, reply.model) == ("stop", "good")
    assert reply.usage == Usage(input=5, output=len(reply.text.encode()))


async def test_a_stream_comes_in_pieces_that_are_whole_characters(provider: Any) -> None:
    stream = await provider.call(Chat("ü😀").to("good", stream=True))
    pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert pieces == list("pong, ü😀")


async def test_a_completion_goes_on_as_it_is(ask: Ask) -> None:
    assert (await ask(Completion("once"))).text == "once and so on"
    assert (await ask(Completion("<think>x"), "good")).text == "<think>x and so on"


@pytest.mark.parametrize("model,text", [("think", "let me see"), ("inside", "so it is")])
@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_a_part_of_its_own(provider: Any, model: str, text: str, stream: bool) -> None:
    answer = await provider.call(Chat("x").to(model, stream=stream))
    reply = await answer.collect() if stream else answer
    assert (reply.text, reply.thinking) == ("42", text)


async def test_thinking_streams_before_the_text(provider: Any) -> None:
    stream = await provider.call(Chat("x").to("think", stream=True))
    kinds = [type(event) async for event in stream if isinstance(event, (TextDelta, ThinkingDelta))]
    assert kinds[0] is ThinkingDelta
    assert kinds[-1] is TextDelta
    assert kinds == sorted(kinds, key=lambda kind: kind is TextDelta)


@pytest.mark.parametrize("model,before", [("call", "So be it."), ("mistral", "")])
async def test_calls_are_parts_where_tools_were_offered(ask: Ask, model: str, before: str) -> None:
    reply = await ask(Chat("x", tools=[STATUS]), model)
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("git/status", {"path": "."})
    assert reply.text.strip() == before
    assert reply.finish_reason == "tool_calls"
    assert reply.raw_finish_reason == "stop"


async def test_a_call_streams_whole_with_an_id_of_its_own(provider: Any) -> None:
    ids = set()
    for _ in range(2):
        stream = await provider.call(Chat("x", tools=[STATUS]).to("call", stream=True))
        (delta,) = [event async for event in stream if isinstance(event, ToolCallDelta)]
        ids.add(delta.id)
    assert len(ids) == 2


@pytest.mark.parametrize("chat", [Chat("x"), Chat("x", tools=[STATUS], tool_choice="none")])
async def test_text_is_left_alone_where_no_tools_were_offered(ask: Ask, chat: Chat) -> None:
    reply = await ask(chat, "call")
    assert "<tool_call>" in reply.text
    assert reply.tool_calls == ()


async def test_settings_reach_the_model(ask: Ask) -> None:
    options = {"huggingface": {"top_k": 4, "generation": {"repetition_penalty": 1.1}, "template": {"a": 1}}}
    chat = Chat(
        "hi",
        max_tokens=2000,
        temperature=0.5,
        top_p=0.9,
        stop=["\n\n"],
        seed=-3,
        options=options,
        reasoning="off",
    )
    job = await sent(ask, chat)
    expected = {
        "do": "generate",
        "task": "text",
        "model": "echo",
        "source": {"path": "/models/echo"},
        "max_tokens": 2000,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "stop": ["\n\n"],
        "seed": 2**63 - 3,
        "generation": {"repetition_penalty": 1.1},
        "template": {"a": 1, "enable_thinking": False},
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [],
    }
    assert {name: job[name] for name in expected} == expected


async def test_a_tool_round_is_written_as_templates_take_it(ask: Ask) -> None:
    call = ToolCallPart("c1", name="git/status", arguments={"path": "."})
    messages = [
        Message.system("be brief"),
        Message("user", "status?", name="ann"),
        Message.assistant([ThinkingPart("whose?"), call]),
        Message.tool(ToolResultPart("c1", parts="clean")),
    ]
    job = await sent(ask, Chat(messages, tools=[STATUS]))
    assert job["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "status?", "name": "ann"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "c1",
                    "function": {"name": "git__status", "arguments": {"path": "."}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "clean", "name": "git__status"},
    ]
    assert job["tools"][0]["function"]["name"] == "git__status"


async def test_thinking_goes_back_to_its_own_model_only(ask: Ask, make: Any) -> None:
    reply = await ask("x", "think")
    messages = [Message.user("x"), reply.message, Message.user("y")]
    same = await ask(Chat(messages), "echo")
    assert "reasoning_content" not in same.text
    thinker = await make(paths={"think": "/models/echo"})
    back = await ask(Chat(messages), "think", by=thinker)
    assert json.loads(back.text)["messages"][1] == {
        "role": "assistant",
        "content": "42",
        "reasoning_content": "let me see",
    }


async def test_a_limit_of_tokens_and_a_stop_string_end_the_answer(ask: Ask) -> None:
    short = await ask(Chat("x", max_tokens=3))
    assert (short.text, short.finish_reason) == ("pon", "length")
    assert short.usage is not None
    assert short.usage.output == 3
    stopped = await ask(Chat("x", stop=["g,", "zzz"]))
    assert (stopped.text, stopped.finish_reason) == ("pon", "stop")


async def test_a_configured_limit_holds_where_the_request_says_nothing(ask: Ask, make: Any) -> None:
    brief = await make(max_tokens=2)
    assert (await ask("x", by=brief)).text == "po"
    assert (await ask(Chat("x", max_tokens=3), by=brief)).text == "pon"


async def test_embeddings_are_exact_and_in_order(ask: Ask) -> None:
    reply = await ask(Embedding(["a", "abc"]))
    assert reply.vectors == ((1.0, 2.0, 3.0), (3.0, 4.0, 5.0))
    assert reply.usage == Usage(input=7)
    assert (await ask(Embedding("a", dimensions=2))).vectors == ((1.0, 2.0),)


@pytest.mark.feature("S002-04")
async def test_labels_come_best_first_for_each_text(ask: Ask) -> None:
    reply = await ask(Classification(["x", "y"], labels=["red", "blue"]))
    assert reply.labels is not None
    assert [[label.name for label in row] for row in reply.labels] == [["red", "blue"]] * 2
    assert reply.labels[0][1].score == 0.5


@pytest.mark.parametrize(
    "operation,kind,word",
    [
        (Chat([]), InvalidRequestError, "message"),
        (Chat("x", tools=[STATUS], tool_choice="required"), UnsupportedError, "tool_choice"),
        (Chat("x", tools=[STATUS], parallel_tool_calls=False), UnsupportedError, "several tools"),
        (Chat("x", response_schema=ResponseSchema({})), UnsupportedError, "schema"),
        (Chat("x", reasoning="high"), UnsupportedError, "reasoning"),
        (Chat(Message.user([ImagePart(data=b"x", media_type="image/png")])), UnsupportedError, "image"),
        (Chat(Message.user([ToolCallPart("c", name="t", arguments={})])), InvalidRequestError, "user turn"),
        (Chat("x", temperature=-1.0), InvalidRequestError, "temperature"),
        (Chat("x", options={"huggingface": {"logprobs": True}}), UnsupportedError, "log probabilities"),
        (Chat("x", options={"huggingface": {"nonsense": 1}}), InvalidRequestError, "nonsense"),
        (
            Chat("x", options={"huggingface": {"generation": {"num_beams": 4}}}),
            InvalidRequestError,
            "num_beams",
        ),
        (Chat("x", options={"huggingface": {"template": {"tools": []}}}), InvalidRequestError, "template"),
        (Chat("x", options={"huggingface": {"template": {"a": {1, 2}}}}), InvalidRequestError, "JSON"),
        (Embedding([]), InvalidRequestError, "empty"),
        (Classification([]), InvalidRequestError, "empty"),
        (
            Classification("x", options={"huggingface": {"hypothesis": "no"}}),
            InvalidRequestError,
            "hypothesis",
        ),
        (ReadResource("file:///x"), UnsupportedError, "read_resource"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anything_is_sent(
    ask: Ask, provider: Any, operation: Any, kind: type[GleitzeitError], word: str
) -> None:
    with pytest.raises(kind, match=word) as caught:
        await ask(operation)
    assert caught.value.sent is not True
    assert caught.value.provider == "here"
    assert provider.worker.asked == 0


@pytest.mark.parametrize(
    "model,kind,word,retryable",
    [
        ("full", OverloadedError, "no memory", True),
        ("faulty", ServerFaultError, "RuntimeError: a bare exception", False),
        ("long", TooLongError, "9 tokens", False),
        ("unloadable", UnknownModelError, "files are broken", False),
        ("packageless", PluginError, "no package 'torch'", False),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_job_is_the_error_that_fits(
    ask: Ask, model: str, kind: type[GleitzeitError], word: str, retryable: bool, stream: bool
) -> None:
    with pytest.raises(kind, match=word) as caught:
        await ask("x", model, stream=stream)
    assert caught.value.retryable is retryable
    assert caught.value.sent is True
    assert (await ask("still there?")).text == "pong, still there?"
