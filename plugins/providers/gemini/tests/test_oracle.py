"""The vendor's own SDK as an oracle, on what no recording covers: the same bytes mean the same to both.

The recordings are replayed to both in tests/replay. `DIFFERENCES` lists where we differ on purpose,
each with its reason and its test below.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from gleitzeit_plugin_gemini import Gemini
from google import genai
from google.genai import errors, types

from gleitzeit.errors import ContentRefusedError, GleitzeitError, TruncatedStreamError
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat, Embedding, FilePart, ImagePart, Message, Reply, Tool
from gleitzeit.wire.client import make_client

KEY: Final = "AIza-canary-0123456789abcdef"
MODEL: Final = "gemini-x"
CALLS: Final = tuple({"name": "get_weather", "args": {"city": city}} for city in ("Zürich", "Oslo"))

DIFFERENCES: Final = {
    "cut stream": "the SDK takes a stream that is cut cleanly for a success; that is silent truncation",
    "blocked prompt": "the SDK gives an empty answer; we raise ContentRefusedError",
    "call ids": "the SDK gives None for a call without id; we make one, as answers need it",
    "finish reason": "ours is decided by what came; the SDK's word is in `raw_finish_reason`",
    "thinking": "the SDK marks thoughts among the parts; for us they are parts of their own",
    "error bodies": "the SDK's error holds the vendor's whole text; ours is bounded and without keys",
}


@pytest.fixture
async def sdk(server: GeminiServer) -> AsyncIterator[genai.Client]:
    async with make_client() as client:
        options = types.HttpOptions(base_url=server.url, api_version="v1beta", httpx_async_client=client)
        yield genai.Client(api_key=KEY, vertexai=False, http_options=options)


def theirs(pieces: list[types.GenerateContentResponse]) -> tuple[Any, ...]:
    """Text, thinking, calls, finish and usage as the SDK has them."""
    parts = [
        part
        for piece in pieces
        for candidate in (piece.candidates or [])[:1]
        for part in (candidate.content and candidate.content.parts) or ()
    ]
    text = "".join(part.text or "" for part in parts if not part.thought)
    thinking = "".join(part.text or "" for part in parts if part.thought)
    calls = [(part.function_call.name, part.function_call.args or {}) for part in parts if part.function_call]
    words = [
        one.finish_reason.value for piece in pieces for one in piece.candidates or () if one.finish_reason
    ]
    usage = pieces[-1].usage_metadata
    return text, thinking, calls, words[-1], usage and (usage.prompt_token_count, usage.total_token_count)


def ours(reply: Reply) -> tuple[Any, ...]:
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    usage = reply.usage
    told = usage and (usage.input, (usage.input or 0) + (usage.output or 0))
    return reply.text, reply.thinking, calls, reply.raw_finish_reason, told


@pytest.fixture
def both(server: GeminiServer, provider: Gemini, sdk: genai.Client) -> Callable[..., Any]:
    """Gives the same answer to both clients, and what each made of it."""

    async def run(answer: Answer, *, stream: bool) -> tuple[Any, Any]:
        server.answers.extend([answer, answer])
        reply = await provider.call(Chat("hi").to(MODEL, stream=stream))
        found = ours(reply if isinstance(reply, Reply) else await reply.collect())
        if stream:
            pieces = await sdk.aio.models.generate_content_stream(model=MODEL, contents="hi")
            return found, theirs([piece async for piece in pieces])
        return found, theirs([await sdk.aio.models.generate_content(model=MODEL, contents="hi")])

    return run


ANSWERS = {
    "text": Answer("Grüße 你好 😀, and so on."),
    "limit": Answer("cut short", finish_reason="MAX_TOKENS"),
    "thinking": Answer("so", thinking="hm"),
    "one call": Answer(calls=CALLS[:1]),
    "text and parallel calls": Answer("Let me look.", calls=CALLS, signature="QUJD"),
    "no usage": Answer("hi", usage=None),
    "filtered": Answer("hi", finish_reason="SAFETY"),
    "malformed": Answer("hi", finish_reason="MALFORMED_FUNCTION_CALL"),
    "gzip": Answer("Grüße", gzip=True, newline="\r\n", chunk=3),
}


@pytest.mark.feature("S004-10")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_text_calls_usage_and_finish_are_the_sdks(
    both: Callable[..., Any], answer: Answer, stream: bool
) -> None:
    found, expected = await both(answer, stream=stream)
    assert found == expected


async def test_what_we_send_is_what_the_sdk_sends(
    server: GeminiServer, provider: Gemini, sdk: genai.Client
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    turn: list[Any] = [
        "what is this?",
        ImagePart(data=b"\xfb\xff", media_type="image/png"),
        FilePart(url="gs://b/a.pdf"),
    ]
    chat = Chat(
        [Message.system("be brief"), Message.user(turn)],
        tools=[Tool("weather", description="d", input_schema=schema)],
        tool_choice="required",
        temperature=0.5,
        max_tokens=9,
        reasoning="low",
        options={"gemini": {"generationConfig": {"topK": 4}}},
    )
    body = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    server.faults[f"/v1beta/models/{MODEL}:generateContent"] = Answer(body=body)  # no check: see `_camel`
    await provider.call(chat.to(MODEL))
    function = types.FunctionDeclaration(name="weather", description="d", parameters_json_schema=schema)
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    parts = [
        types.Part.from_text(text="what is this?"),
        types.Part.from_bytes(data=b"\xfb\xff", mime_type="image/png"),
        types.Part.from_uri(file_uri="gs://b/a.pdf", mime_type="application/pdf"),
    ]
    await sdk.aio.models.generate_content(
        model=MODEL,
        contents=types.Content(role="user", parts=parts),
        config=types.GenerateContentConfig(
            system_instruction="be brief",
            tools=[types.Tool(function_declarations=[function])],
            tool_config=types.ToolConfig(function_calling_config=calling),
            temperature=0.5,
            max_output_tokens=9,
            top_k=4,
            thinking_config=types.ThinkingConfig(
                thinking_level=types.ThinkingLevel.LOW, include_thoughts=True
            ),
        ),
    )
    mine, their = (_camel(call.json) for call in server.requests)
    their["systemInstruction"].pop("role", None)
    their["contents"][0]["parts"][1]["inlineData"]["data"] = "+/8="  # theirs has the alphabet of addresses
    assert mine == their
    assert server.requests[0].path == server.requests[1].path


def _camel(item: Any) -> Any:
    """The SDK spells some keys with underscores, which the API takes as well."""
    if isinstance(item, list):
        return [_camel(inner) for inner in item]
    if not isinstance(item, dict):
        return item
    names = {name: re.sub("_([a-z])", lambda found: found[1].upper(), name) for name in item}
    return {names[name]: _camel(inner) for name, inner in item.items()}


async def test_embeddings_and_models_are_the_sdks(
    server: GeminiServer, provider: Gemini, sdk: genai.Client
) -> None:
    texts: Any = ["one", "two"]
    model = "gemini-embedding-001"  # by other names the SDK takes several texts for one
    reply = await provider.call(Embedding(texts).to(model))
    assert isinstance(reply, Reply)
    found = await sdk.aio.models.embed_content(model=model, contents=texts)
    assert reply.vectors == tuple(tuple(item.values or ()) for item in found.embeddings or ())
    mine, their = (call.json for call in server.requests)
    for asked in their["requests"]:
        asked["content"].pop("role")
    assert mine == their
    names = [model.name async for model in await sdk.aio.models.list()]
    assert [f"models/{model.name}" for model in await provider.provide_models()] == names


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_refusals_have_the_sdks_status_and_text(
    server: GeminiServer, provider: Gemini, sdk: genai.Client, status: int
) -> None:
    answer = Answer.error(status, f"This is why: {KEY}", word="SOME_WORD")
    server.answers.extend([answer, answer])
    with pytest.raises(GleitzeitError) as mine:
        await provider.call(Chat("hi").to(MODEL))
    with pytest.raises(errors.APIError) as their:
        await sdk.aio.models.generate_content(model=MODEL, contents="hi")
    assert (mine.value.status, mine.value.vendor_code) == (their.value.code, their.value.status)
    assert "This is why" in str(mine.value)
    assert KEY in str(their.value)
    assert KEY not in str(mine.value)


async def test_difference_cut_stream(server: GeminiServer, provider: Gemini, sdk: genai.Client) -> None:
    answer = Answer("one two three", fault="cut", after=2)
    server.answers.extend([answer, answer])
    pieces = await sdk.aio.models.generate_content_stream(model=MODEL, contents="hi")
    assert "".join([piece.text or "" async for piece in pieces]) == "one two"
    stream = await provider.call(Chat("hi").to(MODEL, stream=True))
    assert not isinstance(stream, Reply)
    with pytest.raises(TruncatedStreamError):
        await stream.collect()


async def test_difference_blocked_prompt(server: GeminiServer, provider: Gemini, sdk: genai.Client) -> None:
    answer = Answer(body={"promptFeedback": {"blockReason": "SAFETY"}})
    server.answers.extend([answer, answer])
    found = await sdk.aio.models.generate_content(model=MODEL, contents="hi")
    assert not found.text
    with pytest.raises(ContentRefusedError):
        await provider.call(Chat("hi").to(MODEL))
