"""The vendor's own SDK as an oracle over the fake: the same bytes mean the same to both.

What others recorded is compared in `tests/replay`.
One more is in the headers: the SDK speaks a newer version of the API (2026-10-21 in 2.12), and sends its key
as a bearer token; ours speaks the version that is configured, and sends `x-api-key`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.errors import GleitzeitError, TruncatedStreamError
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat, ImagePart, Message, Reply, ResponseSchema, Stream, Tool

KEY = "sk-ant-canary-0123456789abcdef"
MODEL = "scripted-echo"
ASKED: Any = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def sdk(server: AnthropicServer) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


ANSWERS = {
    "text": Answer("Grüße 你好 😀, and so on."),
    "thinking and parallel calls": Answer(
        "Let me look.",
        thinking="hm, well",
        calls=tuple({"name": "weather", "input": {"city": city}} for city in ("Zürich", "Oslo")),
    ),
    "limit": Answer("cut short", stop_reason="max_tokens"),
    "paused": Answer("wait", stop_reason="pause_turn"),
    "refused": Answer(
        "no", stop_reason="refusal", told={"stop_details": {"type": "refusal", "category": "bio"}}
    ),
}


@pytest.mark.feature("S004-07")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_text_calls_usage_and_finish_are_the_sdks(
    server: AnthropicServer, provider: Anthropic, sdk: AsyncAnthropic, answer: Answer, stream: bool
) -> None:
    server.answers.extend([answer, answer])
    reply = await provider.call(Chat("hi").to(MODEL, stream=stream))
    reply = await reply.collect() if isinstance(reply, Stream) else reply
    if stream:
        async with sdk.messages.stream(**ASKED) as theirs:
            expected: Any = await theirs.get_final_message()
    else:
        expected = await sdk.messages.create(**ASKED)
    texts = [block.text for block in expected.content if block.type == "text"]
    thoughts = [block.thinking for block in expected.content if block.type == "thinking"]
    calls = [(block.name, block.input) for block in expected.content if block.type == "tool_use"]
    assert (reply.text, reply.thinking) == ("".join(texts), "".join(thoughts))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == calls
    assert reply.usage is not None
    assert (reply.usage.input, reply.usage.output) == (
        expected.usage.input_tokens,
        expected.usage.output_tokens,
    )
    assert reply.raw_finish_reason == expected.stop_reason


@pytest.mark.feature("S004-07")
async def test_what_we_send_is_what_the_sdk_sends(
    server: AnthropicServer, provider: Anthropic, sdk: AsyncAnthropic
) -> None:
    turns = [
        Message.system("be brief"),
        Message.user(["what is this?", ImagePart(url="https://e.org/a.png")]),
    ]
    schema = {"type": "object", "properties": {}}
    chat = Chat(
        turns,
        tools=[Tool("git/log", input_schema=schema)],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=9,
        stop=["END"],
        response_schema=ResponseSchema(schema),
        reasoning="low",
        options={"anthropic": {"service_tier": "auto"}},
    )
    await provider.call(chat.to(MODEL))
    asked: Any = {  # the types of the SDK are too narrow for schemas in variables
        "model": MODEL,
        "max_tokens": 9,
        "system": "be brief",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}},
                ],
            }
        ],
        "tools": [{"name": "git__log", "input_schema": schema}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "service_tier": "auto",
        "stream": False,
    }
    await sdk.messages.create(**asked)
    assert server.requests[0].json == server.requests[1].json
    assert server.requests[0].headers["content-type"] == server.requests[1].headers["content-type"]


async def test_the_list_of_models_is_the_sdks(
    server: AnthropicServer, provider: Anthropic, sdk: AsyncAnthropic
) -> None:
    server.models, server.page = {f"m{n}": Answer("x") for n in range(5)}, 2
    expected = [model.id async for model in sdk.models.list()]
    assert [model.name for model in await provider.provide_models()] == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529])
async def test_refusals_have_the_sdks_status_and_text(
    server: AnthropicServer, provider: Anthropic, sdk: AsyncAnthropic, status: int
) -> None:
    answer = Answer.error(status, "This is why.", type="some_error", headers={"request-id": "req-3"})
    server.answers.extend([answer, answer])
    with pytest.raises(GleitzeitError) as mine:
        await provider.call(Chat("hi").to(MODEL))
    with pytest.raises(anthropic.APIStatusError) as their:
        await sdk.messages.create(**ASKED)
    assert (mine.value.status, mine.value.request_id) == (their.value.status_code, their.value.request_id)
    assert "This is why." in str(mine.value)
    assert mine.value.vendor_code == "some_error"


async def test_difference_a_cut_stream_is_no_success(
    server: AnthropicServer, provider: Anthropic, sdk: AsyncAnthropic
) -> None:
    answer = Answer("one two three", fault="cut", after=5)
    server.answers.extend([answer, answer])
    stream = await provider.call(Chat("hi").to(MODEL, stream=True))
    assert isinstance(stream, Stream)
    with pytest.raises(TruncatedStreamError) as caught:
        await stream.collect()
    async with sdk.messages.stream(**ASKED) as theirs:
        message = await theirs.get_final_message()
    assert isinstance(caught.value.partial, Reply)
    assert [block.text for block in message.content if block.type == "text"] == [caught.value.partial.text]
