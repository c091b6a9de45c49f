"""What the vendor wants back comes back, byte for byte, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gleitzeit_plugin_gemini import Gemini
from gleitzeit_plugin_gemini.parts import FOREIGN

from gleitzeit.errors import InvalidRequestError
from gleitzeit.testing import FakeContext
from gleitzeit.testing.gemini_server import Answer, GeminiServer, problem
from gleitzeit.values import (
    Chat,
    Message,
    ProviderState,
    Reply,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.codec import dumps, loads

SIGNED: dict[str, dict[str, Any]] = {
    "call": {
        "functionCall": {"name": "f", "args": {"n": 1.0, "é": "\u2028"}},
        "thoughtSignature": "Ab+/Zw==",
    },
    "text": {"text": "hello", "thoughtSignature": "QQ=="},
    "empty text": {"text": "", "thoughtSignature": "Qg=="},
    "own tool's call": {
        "toolCall": {"id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "args": {"q": ["x"]}},
        "thoughtSignature": "Qw==",
    },
    "own tool's answer": {
        "toolResponse": {"id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "response": {}},
        "thoughtSignature": "RA==",
    },
    "code": {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}, "thoughtSignature": "RQ=="},
    "result of code": {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    "thought": {"text": "hm", "thought": True, "thoughtSignature": "Rg=="},
    "picture": {"inlineData": {"mimeType": "image/png", "data": "+/8="}, "thoughtSignature": "Rw=="},
    "call with id": {"functionCall": {"id": "x1", "name": "f", "args": {}}},
    "bare signature": {"thoughtSignature": "SA=="},
}


def _turn(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "model", "parts": [part]}]}


async def again(
    provider: Gemini, server: GeminiServer, parts: list[Any], *, stream: bool, model: str = "gemini-x"
) -> tuple[Reply, list[Any]]:
    """The reply made of `parts`, and what of it goes to `model` after a rest in storage."""
    server.answers.append(Answer(parts=parts))
    answer = await provider.call(Chat("hi").to("gemini-x", stream=stream))
    reply = answer if isinstance(answer, Reply) else await answer.collect()
    stored = loads(Message, dumps(reply.message))
    results = [ToolResultPart(call.id, parts="y") for call in stored.tool_calls]
    after = Message.tool(*results) if results else Message.user("go on")
    if any("oneof" in (problem("generateContent", _turn(part)) or "") for part in parts):
        # The fake wants content beside a signature.
        path = f"/v1beta/models/{model}:generateContent"
        server.faults[path] = Answer(body={"candidates": [{"content": {}}]})
    await provider.call(Chat([Message.user("hi"), stored, after]).to(model))
    sent = [content for content in server.requests[-1].json["contents"] if content["role"] == "model"]
    return reply, sent[0]["parts"] if sent else []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", SIGNED)
async def test_a_part_comes_back_as_it_came(
    provider: Gemini, server: GeminiServer, kind: str, stream: bool
) -> None:
    _, sent = await again(provider, server, [SIGNED[kind]], stream=stream)
    assert sent == [SIGNED[kind]]


@pytest.mark.parametrize("stream", [False, True])
async def test_all_kinds_in_one_answer_keep_their_places(
    provider: Gemini, server: GeminiServer, stream: bool
) -> None:
    parts = [*SIGNED.values(), {"text": "plain"}]
    _, sent = await again(provider, server, parts, stream=stream)
    assert sent == parts


async def test_a_signature_stays_on_its_own_piece_of_the_text(provider: Gemini, server: GeminiServer) -> None:
    parts = [{"text": "a"}, {"text": "b", "thoughtSignature": "QQ=="}, {"text": "c"}, {"text": "d"}]
    reply, sent = await again(provider, server, parts, stream=True)
    assert reply.text == "abcd"
    assert sent == [{"text": "a"}, {"text": "b", "thoughtSignature": "QQ=="}, {"text": "cd"}]


async def test_bytes_of_arguments_come_back_as_they_came(
    provider: Gemini, server: GeminiServer, candidate: Callable[..., Any]
) -> None:
    raw = (
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x": 1.50, "y":1e3}}}]}}]}'
    )
    server.answers.append(Answer(body=raw))
    reply = await provider.call(Chat("hi").to("gemini-x"))
    assert isinstance(reply, Reply)
    turns = [
        Message.user("hi"),
        reply.message,
        Message.tool(ToolResultPart(reply.tool_calls[0].id, parts="y")),
    ]
    await provider.call(Chat(turns).to("gemini-x"))
    assert b'"args":{"x": 1.50, "y":1e3}' in server.requests[-1].body


async def test_another_model_gets_the_conversation_without_state(
    provider: Gemini, server: GeminiServer
) -> None:
    parts = [SIGNED["code"], SIGNED["text"], SIGNED["thought"], SIGNED["call with id"]]
    _, sent = await again(provider, server, parts, stream=False, model="gemini-y")
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": FOREIGN}
    assert sent == [{"text": "hello"}, call]


async def test_state_of_another_vendor_is_dropped_alone(provider: Gemini, server: GeminiServer) -> None:
    alien = ProviderState("anthropic", data='{"signature": "x"}')
    turns = [
        Message.user("hi"),
        Message.assistant(
            [ThinkingPart("secret", provider_state=alien), TextPart("shown", provider_state=alien)]
        ),
        Message.user("go on"),
    ]
    await provider.call(Chat(turns).to("gemini-x"))
    assert server.requests[-1].json["contents"][1] == {"role": "model", "parts": [{"text": "shown"}]}


@pytest.fixture
async def strict() -> AsyncIterator[GeminiServer]:
    """A server that wants a signature on the first call of each turn."""
    async with GeminiServer(signed=True) as running:
        yield running


@pytest.mark.parametrize("mark", [True, False])
async def test_calls_of_another_vendor_are_accepted_because_they_are_marked(
    strict: GeminiServer, mark: bool
) -> None:
    calls = [ToolCallPart(id, name="f", arguments={"n": 1}) for id in ("a", "b")]
    results = Message.tool(*(ToolResultPart(id, parts="y") for id in ("b", "a")))
    chat = Chat([Message.user("hi"), Message.assistant(calls), results])
    async with FakeContext("acme") as context:
        provider = Gemini(Gemini.Config(base_url=strict.url, sign_foreign_calls=mark), context)
        if not mark:
            with pytest.raises(InvalidRequestError, match="thought_signature"):
                await provider.call(chat.to("gemini-x"))
            return
        await provider.call(chat.to("gemini-x"))
    sent = strict.requests[-1].json["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in sent] == [FOREIGN, None]


async def test_our_own_calls_without_signature_are_not_marked(provider: Gemini, server: GeminiServer) -> None:
    plain = {"functionCall": {"name": "f", "args": {"n": 1}}}
    _, sent = await again(provider, server, [plain], stream=False)
    assert sent == [plain]


async def test_arguments_that_were_changed_are_sent_as_they_are_now(
    provider: Gemini, server: GeminiServer
) -> None:
    call = ToolCallPart("a", name="f", arguments={"n": 2}, raw='{"n": 1}')
    chat = Chat([Message.user("hi"), Message.assistant(call), Message.tool(ToolResultPart("a", parts="y"))])
    await provider.call(chat.to("gemini-x"))
    assert server.requests[-1].json["contents"][1]["parts"][0]["functionCall"]["args"] == {"n": 2}
