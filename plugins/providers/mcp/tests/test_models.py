"""Models that a server serves through its tools."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.errors import (
    MalformedAnswerError,
    ProcessDiedError,
    ServerFaultError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Finished,
    ImagePart,
    Label,
    Message,
    Model,
    ResponseSchema,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]

STRING, NUMBER, LIST = {"type": "string"}, {"type": "number"}, {"type": "array"}


def tool(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


CHAT = tool(
    model=STRING, messages=LIST, max_tokens=NUMBER, temperature=NUMBER, tools=LIST, response_schema={}
)
GENERATE = tool(prompt=STRING, model_identifier=STRING, max_tokens=NUMBER)


def said(text: str, /, **structured: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"content": content, "structuredContent": structured} if structured else {"content": content}


async def test_the_models_of_the_entry_are_offered(start: Start) -> None:
    models = ["a", {"name": "b", "operations": ["chat"], "capabilities": ["vision"]}]
    async with start(models=models, capabilities=["text"], description="ours") as provider:
        assert await provider.provide_models() == (
            Model("a", capabilities="text", description="ours"),
            Model("b", operations={"chat"}, capabilities={"text", "vision"}, description="ours"),
        )


async def test_a_model_that_the_entry_does_not_list_is_refused_unsent(start: Start, heard: Heard) -> None:
    async with start({"tools": {"chat": CHAT}}, models=["large-one", "small-one"]) as provider:
        with pytest.raises(UnknownModelError, match="did you mean large-one"):
            await provider.reply(Chat("hi").to("large-oen"))
    assert not heard("tools/call")


async def test_a_chat_tool_hears_the_whole_request_in_its_own_words(start: Start) -> None:
    messages = [
        Message.system("be brief"),
        Message.user(["look", ImagePart(data=b"1", media_type="image/png")]),
        Message.assistant([ToolCallPart("c1", name="add", arguments={"a": 1})]),
        Message.tool(ToolResultPart("c1", parts=["2"])),
    ]
    chat = Chat(
        messages,
        max_tokens=9,
        temperature=0.5,
        tools=[Tool("add", description="Adds.")],
        response_schema=ResponseSchema({"type": "object"}),
    )
    async with start({"tools": {"chat": CHAT}}) as provider:
        heard = json.loads((await provider.reply(chat.to("big"))).text)
    assert heard == {
        "model": "big",
        "max_tokens": 9,
        "temperature": 0.5,
        "response_schema": {"type": "object"},
        "tools": [{"name": "add", "description": "Adds.", "inputSchema": {"type": "object"}}],
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "data": "MQ==", "mimeType": "image/png"},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}],
            },
            {
                "role": "tool",
                "content": [
                    {"type": "tool_result", "toolUseId": "c1", "content": [{"type": "text", "text": "2"}]}
                ],
            },
        ],
    }


async def test_a_tool_that_takes_a_prompt_gets_one(start: Start) -> None:
    async with start({"tools": {"generate_text": GENERATE}}) as provider:
        heard = json.loads((await provider.reply(Chat("Hello", max_tokens=5).to("m"))).text)
        assert heard == {"prompt": "Hello", "model_identifier": "m", "max_tokens": 5}
        talk = [
            Message.system("be brief"),
            Message.user("Hi"),
            Message.assistant("Yes?"),
            Message.user("2+2"),
        ]
        heard = json.loads((await provider.reply(Chat(talk).to("m"))).text)
        assert heard["prompt"] == "system: be brief\n\nuser: Hi\n\nassistant: Yes?\n\nuser: 2+2"
        heard = json.loads((await provider.reply(Completion("Once upon").to("m"))).text)
        assert heard == {"prompt": "Once upon", "model_identifier": "m"}


@pytest.mark.parametrize(
    "chat,missing",
    [
        (Chat("hi", temperature=0.1), "temperature"),
        (Chat("hi", tools=[Tool("t")]), "tools"),
        (Chat([Message.user([ImagePart(data=b"1")])]), "anything but text"),
    ],
)
async def test_what_a_tool_has_no_argument_for_is_refused_unsent(
    start: Start, heard: Heard, chat: Chat, missing: str
) -> None:
    async with start({"tools": {"generate_text": GENERATE}}) as provider:
        with pytest.raises(UnsupportedError, match=missing):
            await provider.reply(chat.to("m"))
    assert not heard("tools/call")


async def test_the_table_of_the_entry_overrules_the_names(start: Start) -> None:
    server = {"tools": {"chat": CHAT, "talk": tool(messages=LIST)}}
    async with start(server, operations={"chat": "talk"}) as provider:
        assert json.loads((await provider.reply(Chat("hi").to("m"))).text) == {
            "messages": [{"role": "user", "content": "hi"}]
        }
    async with start(server, operations={"chat": ["nothing"]}) as provider:
        with pytest.raises(UnsupportedError, match="looked for 'nothing'"):
            await provider.reply(Chat("hi").to("m"))


async def test_a_server_without_such_a_tool_says_what_was_looked_for(start: Start) -> None:
    async with start() as provider:
        with pytest.raises(UnsupportedError, match="looked for 'chat', 'generate_text'"):
            await provider.reply(Chat("hi").to("m"))


async def test_an_answer_has_text_reason_usage_and_calls(start: Start) -> None:
    result = said(
        "{}",
        content="Hello",
        finish_reason="length",
        usage={"prompt_tokens": 3, "completion_tokens": 4, "x": 1},
        model="m-2026",
        id="r1",
    )
    calls = said(
        "{}",
        tool_calls=[
            {"id": "1", "name": "add", "arguments": {"a": 1}},
            {"id": "2", "type": "function", "function": {"name": "sub", "arguments": '{"b": 2}'}},
        ],
    )
    server = {"tools": {"chat": CHAT}, "answers": {"chat": {"result": result}}}
    async with start(server) as provider:
        reply = await provider.reply(Chat("hi").to("m"))
    assert reply.text == "Hello"
    assert (reply.finish_reason, reply.raw_finish_reason) == ("length", "length")
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (3, 4)
    assert (reply.model, reply.id) == ("m-2026", "r1")
    async with start({**server, "answers": {"chat": {"result": calls}}}) as provider:
        reply = await provider.reply(Chat("hi").to("m"))
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [
        ("1", "add", {"a": 1}),
        ("2", "sub", {"b": 2}),
    ]
    assert reply.finish_reason == "tool_calls"
    assert reply.text == ""


async def test_deltas_arrive_before_the_server_has_finished(start: Start) -> None:
    server = {"tools": {"chat": CHAT}, "answers": {"chat": {"pieces": ["Hel", "lo"], "gate": True}}}
    async with start(server) as provider:
        async with await provider.call(provider.aimed(Chat("hi").to("m", stream=True))) as stream:
            texts = [event async for event in take(stream, 2)]
            assert texts == [TextDelta("Hel"), TextDelta("lo")]
            await provider.reply(ToolCall({}).to("release"))
            rest = [event async for event in stream]
        assert rest == [Finished("stop", model="m")]
        assert stream.reply.text == "Hello"


async def take(stream: Any, count: int) -> Any:
    async for event in stream:
        if isinstance(event, TextDelta):
            yield event
            count -= 1
            if not count:
                return


@pytest.mark.parametrize(
    "pieces,text",
    [(["Hel", "lo"], "Hello"), (["Hel"], "Hello"), (["Hel", "xx"], "Hello"), ([], "Hello"), (["Hello"], "")],
)
async def test_a_stream_amounts_to_the_answer_whatever_came_before(
    start: Start, pieces: list[str], text: str
) -> None:
    usage = {"input_tokens": 1, "output_tokens": 2}
    result = said("{}", text=text, finish_reason="stop", usage=usage)
    server = {"tools": {"chat": CHAT}, "answers": {"chat": {"pieces": pieces, "result": result}}}
    async with start(server) as provider:
        stream = await provider.call(provider.aimed(Chat("hi").to("m", stream=True)))
        events = [event async for event in stream]
    assert stream.reply.text == "Hello"
    assert stream.reply.usage == Usage(input=1, output=2, raw=usage)
    assert sum(isinstance(event, Finished) for event in events) == 1


async def test_messages_of_progress_can_be_just_that(start: Start) -> None:
    server = {"tools": {"chat": CHAT}, "answers": {"chat": {"pieces": ["loading"], "result": said("Hello")}}}
    async with start(server, deltas=False) as provider:
        stream = await provider.call(provider.aimed(Chat("hi").to("m", stream=True)))
        types = [event.type async for event in stream]
    assert types == ["started", "progress", "text", "finished"]
    assert stream.reply.text == "Hello"


async def test_a_stream_that_death_cuts_keeps_what_had_come(start: Start) -> None:
    async with start({"tools": {"chat": CHAT}, "echoes": True}) as provider:
        stream = await provider.call(provider.aimed(Chat("and then die").to("m", stream=True)))
        with pytest.raises(ProcessDiedError) as caught:
            await stream.collect()
    assert caught.value.partial.text == "and then die"
    assert caught.value.partial.finish_reason is None


@pytest.mark.parametrize(
    "result",
    [
        said("", embeddings=[[1, 2.5], [3, 4]]),
        said("", data=[{"embedding": [1, 2.5], "index": 0}, {"embedding": [3, 4], "index": 1}]),
        said(json.dumps([[1, 2.5], [3, 4]])),
        said("", result=[[1, 2.5], [3, 4]]),
    ],
)
async def test_embeddings_are_found_where_tools_put_them(start: Start, result: dict[str, Any]) -> None:
    server = {"tools": {"embed": tool(inputs=LIST)}, "answers": {"embed": {"result": result}}}
    async with start(server) as provider:
        reply = await provider.reply(Embedding(["a", "b"]).to("m"))
    assert reply.vectors == ((1.0, 2.5), (3.0, 4.0))


async def test_a_tool_of_one_text_is_called_for_each(start: Start, heard: Heard) -> None:
    server = {
        "tools": {"embed": tool(text=STRING)},
        "answers": {"embed": {"result": said("", embedding=[1, 2])}},
    }
    async with start(server) as provider:
        reply = await provider.reply(Embedding(["a", "b", "c"]).to("m"))
    assert reply.vectors == ((1.0, 2.0),) * 3
    assert [message["params"]["arguments"]["text"] for message in heard("tools/call")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "result", [said("no vectors"), said("", embeddings=[[1]]), said("", embeddings=["a", "b"])]
)
async def test_an_answer_without_vectors_is_malformed(start: Start, result: dict[str, Any]) -> None:
    server = {"tools": {"embed": tool(inputs=LIST)}, "answers": {"embed": {"result": result}}}
    async with start(server) as provider:
        with pytest.raises(MalformedAnswerError):
            await provider.reply(Embedding(["a", "b"]).to("m"))


@pytest.mark.parametrize(
    "result",
    [
        said("", labels=[[{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]]),
        said("", results=[{"name": "good", "confidence": 0.75}, {"name": "bad", "confidence": 0.25}]),
        said("", result=[{"good": 0.75, "bad": 0.25}]),
    ],
)
async def test_labels_are_found_where_tools_put_them(start: Start, result: dict[str, Any]) -> None:
    server = {
        "tools": {"classify": tool(inputs=LIST, labels=LIST)},
        "answers": {"classify": {"result": result}},
    }
    async with start(server) as provider:
        reply = await provider.reply(Classification("fine", labels=["good", "bad"]).to("m"))
    assert reply.labels == ((Label("good", score=0.75), Label("bad", score=0.25)),)


async def test_a_model_that_fails_is_an_error_that_others_may_stand_in_for(start: Start) -> None:
    failure = {"content": [{"type": "text", "text": "out of memory"}], "isError": True}
    server = {"tools": {"chat": CHAT}, "answers": {"chat": {"result": failure}}}
    async with start(server) as provider:
        for stream in (False, True):
            with pytest.raises(ServerFaultError, match="out of memory") as caught:
                await provider.reply(Chat("hi").to("m", stream=stream))
            assert caught.value.fallback


async def test_one_failure_of_several_calls_is_the_error_itself(start: Start) -> None:
    failure = {"content": [], "isError": True}
    server = {"tools": {"embed": tool(text=STRING)}, "answers": {"embed": {"result": failure}}}
    async with start(server) as provider:
        with pytest.raises(ServerFaultError):
            await provider.reply(Embedding(["a", "b"]).to("m"))
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0):
                await provider.reply(Embedding(["a", "b"]).to("m"))
