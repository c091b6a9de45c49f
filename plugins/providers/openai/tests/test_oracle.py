"""The vendor's own SDK as an oracle: the same bytes mean the same to both.

`DIFFERENCES` lists where we differ on purpose, each with its reason and its test below.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import openai
import pytest
from gleitzeit_plugin_openai import OpenAI
from openai import AsyncOpenAI

from gleitzeit.errors import GleitzeitError, TruncatedStreamError
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat, Embedding, ImagePart, Message, Reply, Stream

KEY = "sk-canary-0123456789abcdef"
MODEL = "scripted-echo"

DIFFERENCES: Final = {
    "cut stream": "the SDK takes a stream that is cut cleanly for a success; that is silent truncation",
    "refusal": "the SDK has refusals beside the text; ours are text, with a finish reason of their own",
    "finish reason": "ours is decided by what came; the SDK's word is in `raw_finish_reason`",
    "thinking": "the SDK hides reasoning fields among its extras; for us they are thinking parts",
    "whole JSON": "the SDK yields nothing for a JSON body where a stream was asked; we read it",
    "call ids": "the SDK gives None for a call without id; we make one, as answers need it",
    "error bodies": "the SDK's message holds the vendor's whole text; ours is bounded and without keys",
}


class Seen:
    """What one client made of an answer."""

    def __init__(self, text: str, calls: list[tuple[Any, Any, Any]], finish: str | None, usage: Any) -> None:
        self.text, self.calls, self.finish, self.usage = text, calls, finish, usage

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"Seen({self.text!r}, {self.calls!r}, {self.finish!r}, {self.usage!r})"


def ours(reply: Reply) -> Seen:
    calls = [(call.id, call.name, call.raw) for call in reply.tool_calls]
    usage = reply.usage and (
        reply.usage.input,
        reply.usage.output,
        reply.usage.cache_read,
        reply.usage.reasoning,
    )
    return Seen(reply.text, calls, reply.raw_finish_reason, usage)


def _usage(usage: Any) -> Any:
    if usage is None:
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        read.cached_tokens if read else None,
        written.reasoning_tokens if written else None,
    )


def theirs(completion: Any) -> Seen:
    choice = completion.choices[0]
    calls = [
        (call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()
    ]
    return Seen(choice.message.content or "", calls, choice.finish_reason, _usage(completion.usage))


async def theirs_streamed(stream: Any) -> Seen:
    text, finish, usage = "", None, None
    calls: dict[int, list[Any]] = {}
    async for chunk in stream:
        usage = _usage(chunk.usage) or usage
        for choice in chunk.choices[:1]:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                slot = calls.setdefault(call.index, [None, None, ""])
                slot[0], slot[1] = call.id or slot[0], call.function.name or slot[1]
                slot[2] += call.function.arguments or ""
    return Seen(text, [tuple(call) for call in calls.values()], finish, usage)


@pytest.fixture
async def sdk(server: OpenAIServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def both(server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI) -> Callable[..., Any]:
    """Gives the same answer to both clients, and what each made of it."""

    async def run(answer: Answer, *, stream: bool) -> tuple[Seen, Seen]:
        server.answers.extend([answer, answer])
        reply = await provider.call(Chat("hi").to(MODEL, stream=stream))
        found = ours(await reply.collect() if isinstance(reply, Stream) else reply)
        messages: Any = [{"role": "user", "content": "hi"}]
        if stream:
            options: Any = {"include_usage": True}
            expected = await theirs_streamed(
                await sdk.chat.completions.create(
                    model=MODEL, messages=messages, stream=True, stream_options=options
                )
            )
        else:
            expected = theirs(await sdk.chat.completions.create(model=MODEL, messages=messages))
        return found, expected

    return run


USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
CALLS = tuple(
    {"id": f"call_{city}", "name": "get_weather", "arguments": {"city": city}} for city in ("Zürich", "Oslo")
)
ANSWERS = {
    "text": Answer("Grüße 你好 😀, and so on."),
    "empty": Answer(""),
    "limit": Answer("cut short", finish_reason="length", usage=USAGE),
    "one call": Answer(calls=CALLS[:1], usage=USAGE),
    "text and parallel calls": Answer("Let me look.", calls=CALLS),
    "no usage": Answer("hi", usage=None),
    "no done": Answer("hi", done=False),
    "filtered": Answer("hi", finish_reason="content_filter"),
}


@pytest.mark.feature("S004-04")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_text_calls_usage_and_finish_are_the_sdks(
    both: Callable[..., Any], answer: Answer, stream: bool
) -> None:
    found, expected = await both(answer, stream=stream)
    assert found == expected


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("gzip", [False, True])
async def test_pieces_of_any_size_with_crlf_change_nothing(
    both: Callable[..., Any], server: OpenAIServer, provider: OpenAI, size: int, gzip: bool
) -> None:
    answer = Answer("Grüße 你好 😀", calls=CALLS[:1], usage=USAGE, chunk=size, newline="\r\n", gzip=gzip)
    found, expected = await both(answer, stream=True)
    assert found == expected
    assert found.text == "Grüße 你好 😀"


async def test_what_we_send_is_what_the_sdk_sends(
    server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI
) -> None:
    picture = ImagePart(url="https://example.org/a.png", detail="low")
    turns = [Message.system("be brief"), Message.user(["what is this?", picture])]
    await provider.call(
        Chat(turns, temperature=0.5, max_tokens=9, options={"openai": {"verbosity": "low"}}).to(MODEL)
    )
    await sdk.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                ],
            },
        ],
        temperature=0.5,
        max_tokens=9,
        verbosity="low",
        stream=False,
    )
    assert server.requests[0].json == server.requests[1].json


async def test_embeddings_are_the_sdks(server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI) -> None:
    texts = ["one", "two", "drei"]
    reply = await provider.call(Embedding(texts).to("scripted-embedding"))
    assert isinstance(reply, Reply)
    expected = await sdk.embeddings.create(model="scripted-embedding", input=texts)  # asks for base64
    assert server.requests[1].json["encoding_format"] == "base64"
    assert reply.vectors == tuple(tuple(item.embedding) for item in expected.data)
    assert reply.usage is not None
    assert reply.usage.input == expected.usage.prompt_tokens


async def test_the_list_of_models_is_the_sdks(provider: OpenAI, sdk: AsyncOpenAI) -> None:
    expected = [model.id async for model in sdk.models.list()]
    assert [model.name for model in await provider.provide_models()] == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
async def test_refusals_have_the_sdks_status_and_text(
    server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI, status: int
) -> None:
    answer = Answer.error(status, "This is why.", code="some_code")
    server.answers.extend([answer, answer])
    with pytest.raises(GleitzeitError) as mine:
        await provider.call(Chat("hi").to(MODEL))
    with pytest.raises(openai.APIStatusError) as their:
        await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert (mine.value.status, mine.value.vendor_code) == (their.value.status_code, their.value.code)
    assert "This is why." in str(mine.value)
    assert mine.value.request_id is not None


# --- the differences


async def test_difference_cut_stream(server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI) -> None:
    answer = Answer("one two three", fault="cut", after=3)
    server.answers.extend([answer, answer])
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert (await theirs_streamed(stream)).text == "one two"
    answered = await provider.call(Chat("hi").to(MODEL, stream=True))
    assert isinstance(answered, Stream)
    with pytest.raises(TruncatedStreamError):
        await answered.collect()


async def test_difference_whole_json(server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "whole"}, "finish_reason": "stop"}]}
    server.answers.extend([Answer(body=body), Answer(body=body)])
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert (await theirs_streamed(stream)).text == ""
    answered = await provider.call(Chat("hi").to(MODEL, stream=True))
    assert isinstance(answered, Stream)
    assert (await answered.collect()).text == "whole"


async def test_difference_refusal_and_finish_reason(
    both: Callable[..., Any], provider: OpenAI, server: OpenAIServer
) -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]
    }
    found, expected = await both(Answer(body=body), stream=False)
    assert (found.text, expected.text, found.finish) == ("No.", "", expected.finish)
    server.answers.append(Answer(body=body))
    reply = await provider.call(Chat("hi").to(MODEL))
    assert isinstance(reply, Reply)
    assert reply.finish_reason == "refusal"


async def test_difference_thinking_and_call_ids(both: Callable[..., Any]) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
    found, expected = await both(Answer(body={"choices": [{"index": 0, "message": message}]}), stream=False)
    assert (found.text, expected.text) == ("", "")
    assert expected.calls == [(None, "f", "{}")]
    assert found.calls[0][1:] == ("f", "{}")
    assert found.calls[0][0]


async def test_difference_error_bodies(server: OpenAIServer, provider: OpenAI, sdk: AsyncOpenAI) -> None:
    answer = Answer(status=400, body=json.dumps({"error": {"message": f"bad key {KEY} " + "x" * 5000}}))
    server.answers.extend([answer, answer])
    with pytest.raises(openai.BadRequestError) as their:
        await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(GleitzeitError) as mine:
        await provider.call(Chat("hi").to(MODEL))
    assert KEY in str(their.value)
    assert KEY not in str(mine.value)
    assert len(str(mine.value)) < 400 < len(str(their.value))
