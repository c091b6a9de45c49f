"""Whatever a fake answers holds to its vendor's published schema, and is read by the vendor's SDK in full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import anthropic.types as anthropic
import httpx2
import ollama
import openai.types as openai
import openai.types.chat as openai_chat
import openai.types.responses as openai_responses
import pydantic
import pytest
from attrs import frozen
from google.genai import types as genai

from gleitzeit.testing import anthropic_server, gemini_server, ollama_server, openai_server
from gleitzeit.testing.faulty import Answer, FaultyServer
from tests.strict import specs
from tests.strict.served import Served

OpenAI, Anthropic = openai_server.Answer, anthropic_server.Answer
Gemini, Ollama = gemini_server.Answer, ollama_server.Answer
HI: Final = [{"role": "user", "content": "hi"}]
CALL: Final = {"name": "f", "arguments": {"a": 1}}


@frozen(kw_only=True)
class Said:
    """A way to ask a fake, what it may be told to answer, and what that must be."""

    vendor: str
    fake: Callable[[], FaultyServer[Any]]
    path: str
    body: Mapping[str, Any] | None
    answers: Mapping[str, Answer | None]
    #: The schema of a body, and the SDK's type.
    whole: tuple[str, Any]
    #: Those of a frame of a stream, where it can be streamed.
    event: tuple[str, Any] | None = None
    #: How a stream is asked for: by another path, or by a field.
    stream: str = ""
    #: Gives a body or frame without what the published schema cannot say; the reason stands with it.
    known: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body


def _script() -> FaultyServer[Any]:
    return openai_server.OpenAIServer(openai_server.Script({}, default=()))


def _without_reasoning(body: dict[str, Any]) -> dict[str, Any]:
    """`reasoning_content` is a field of compatible servers, which the fake plays too."""
    for choice in body.get("choices", ()):
        for name in ("message", "delta"):
            choice.get(name, {}).pop("reasoning_content", None)
    return body


def _as_whole(body: dict[str, Any]) -> dict[str, Any]:
    """There is no schema for pieces of older completions: what is null in them until the end is set."""
    for choice in body["choices"]:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    if body.get("usage", {}) is None:
        del body["usage"]
    return body


def _undone(body: dict[str, Any]) -> dict[str, Any]:
    """The schema of a line lacks what the last line has, and the schema of a whole answer has."""
    if body.get("done"):
        for name in ("done_reason", "eval_count", "prompt_eval_count", "total_duration"):
            body.pop(name, None)
    return body


_OPENAI: Final[Mapping[str, Answer | None]] = {
    "text": OpenAI("Grüße, you"),
    "thinking": OpenAI("so", thinking="hm, well"),
    "calls": OpenAI("both", calls=(CALL, CALL)),
    "length": OpenAI("cut", finish_reason="length"),
    "no usage": OpenAI("hi", usage=None),
}
_ANTHROPIC: Final[Mapping[str, Answer | None]] = {
    "text": Anthropic("Grüße, you"),
    "thinking": Anthropic("so", thinking="hm, well"),
    "calls": Anthropic("both", calls=({"name": "f", "input": {"a": 1}}, {"name": "g"})),
    "length": Anthropic("cut", stop_reason="max_tokens"),
    "paused": Anthropic("wait", stop_reason="pause_turn"),
}
_GEMINI: Final[Mapping[str, Answer | None]] = {
    "text": Gemini("Grüße, you"),
    "thinking": Gemini("so", thinking="hm, well"),
    "calls": Gemini("both", calls=({"name": "f", "args": {"a": 1}}, {"name": "g"}), signature="QUJD"),
    "length": Gemini("cut", finish_reason="MAX_TOKENS"),
    "no usage": Gemini("hi", usage=None),
}
_OLLAMA: Final[Mapping[str, Answer | None]] = {
    "text": Ollama("Grüße, you"),
    "thinking": Ollama("so", thinking="hm, well"),
    "length": Ollama("cut", done_reason="length"),
}
_NONE: Final[Mapping[str, Answer | None]] = {"": None}
_CONTENTS: Final = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
_PARTS: Final = {"content": {"parts": [{"text": "hi"}]}}
_GOOGLE: Final = "/v1beta/models/m:"


def _openai(path: str, body: Any, whole: Any, event: Any = None, **more: Any) -> Said:
    more.setdefault("answers", _OPENAI)
    return Said(
        vendor="openai", fake=_script, path=path, body=body, whole=whole, event=event, stream="stream", **more
    )


def _gemini(path: str, body: Any, whole: Any, **more: Any) -> Said:
    fake = gemini_server.GeminiServer
    return Said(vendor="gemini", fake=fake, path=path, body=body, whole=whole, **{"answers": _NONE, **more})


def _ollama(path: str, body: Any, whole: Any, event: Any = None, **more: Any) -> Said:
    fake = ollama_server.OllamaServer
    more = {"answers": _NONE, "stream": "stream", **more}
    return Said(vendor="ollama", fake=fake, path=path, body=body, whole=whole, event=event, **more)


def _anthropic(path: str, body: Any, whole: Any, event: Any = None, **more: Any) -> Said:
    fake = anthropic_server.AnthropicServer
    more = {"answers": _NONE, "stream": "stream", **more}
    return Said(vendor="anthropic", fake=fake, path=path, body=body, whole=whole, event=event, **more)


SAID: Final[Mapping[str, Said]] = {
    "chat": _openai(
        "/v1/chat/completions",
        {"model": "m", "messages": HI},
        ("CreateChatCompletionResponse", openai_chat.ChatCompletion),
        ("CreateChatCompletionStreamResponse", openai_chat.ChatCompletionChunk),
        known=_without_reasoning,
    ),
    "completions": _openai(
        "/v1/completions",
        {"model": "m", "prompt": "x"},
        ("CreateCompletionResponse", openai.Completion),
        ("CreateCompletionResponse", openai.Completion),
        known=_as_whole,
    ),
    "responses": _openai(
        "/v1/responses",
        {"model": "m", "input": "x"},
        ("Response", openai_responses.Response),
        ("ResponseStreamEvent", openai_responses.ResponseStreamEvent),
    ),
    "embeddings": _openai(
        "/v1/embeddings",
        {"model": "m", "input": ["x", "y"]},
        ("CreateEmbeddingResponse", openai.CreateEmbeddingResponse),
        answers={"": OpenAI()},
    ),
    "models": _openai("/v1/models", None, ("ListModelsResponse", None), answers=_NONE),
    "messages": _anthropic(
        "/v1/messages",
        {"model": "scripted-echo", "max_tokens": 9, "messages": HI},
        ("Message", anthropic.Message),
        ("MessageStreamEvent", anthropic.RawMessageStreamEvent | dict[str, str]),
        answers=_ANTHROPIC,
    ),
    "count_tokens": _anthropic(
        "/v1/messages/count_tokens",
        {"model": "m", "messages": HI},
        ("CountMessageTokensResponse", anthropic.MessageTokensCount),
    ),
    "claude models": _anthropic("/v1/models", None, ("ListResponse_ModelInfo_", None)),
    "generateContent": _gemini(
        _GOOGLE + "generateContent",
        _CONTENTS,
        ("GenerateContentResponse", genai.GenerateContentResponse),
        event=("GenerateContentResponse", genai.GenerateContentResponse),
        stream=_GOOGLE + "streamGenerateContent?alt=sse",
        answers=_GEMINI,
    ),
    "countTokens": _gemini(
        _GOOGLE + "countTokens", _CONTENTS, ("CountTokensResponse", genai.CountTokensResponse)
    ),
    "embedContent": _gemini(_GOOGLE + "embedContent", _PARTS, ("EmbedContentResponse", None)),
    "batchEmbedContents": _gemini(
        _GOOGLE + "batchEmbedContents", {"requests": [_PARTS]}, ("BatchEmbedContentsResponse", None)
    ),
    "gemini models": _gemini("/v1beta/models", None, ("ListModelsResponse", None)),
    "api/chat": _ollama(
        "/api/chat",
        {"model": "scripted", "messages": HI},
        ("ChatResponse", ollama.ChatResponse),
        ("ChatStreamEvent", ollama.ChatResponse),
        answers={**_OLLAMA, "calls": Ollama("both", calls=(CALL, CALL))},
        known=_undone,
    ),
    "api/generate": _ollama(
        "/api/generate",
        {"model": "scripted", "prompt": "x"},
        ("GenerateResponse", ollama.GenerateResponse),
        ("GenerateStreamEvent", ollama.GenerateResponse),
        answers=_OLLAMA,
    ),
    "api/embed": _ollama(
        "/api/embed", {"model": "embed", "input": ["x"]}, ("EmbedResponse", ollama.EmbedResponse)
    ),
    "api/show": _ollama("/api/show", {"model": "scripted"}, ("ShowResponse", ollama.ShowResponse)),
    "api/pull": _ollama(
        "/api/pull",
        {"model": "new"},
        ("StatusResponse", ollama.StatusResponse),
        ("StatusEvent", ollama.ProgressResponse),
    ),
    "api/tags": _ollama("/api/tags", None, ("ListResponse", ollama.ListResponse)),
    "api/ps": _ollama("/api/ps", None, ("PsResponse", ollama.ProcessResponse)),
    "api/version": _ollama("/api/version", None, ("VersionResponse", None)),
}
#: What the schema has and the SDK's types do not name: the random filling of events.
UNTYPED: Final = {".obfuscation"}
CASES: Final = [
    pytest.param(one, answer, streamed, id=f"{name}-{kind or 'plain'}-{'stream' if streamed else 'whole'}")
    for name, one in SAID.items()
    for kind, answer in one.answers.items()
    for streamed in (False, True)
    if not streamed or one.event
]


async def said(one: Said, answer: Answer | None, *, stream: bool) -> list[Any]:
    """The body, or the frames, that a fake answers with."""
    fake = one.fake()
    if isinstance(fake, ollama_server.OllamaServer):
        fake.library["new:latest"] = 9
        fake.loaded["scripted:latest"] = "5m"
    if answer is not None:
        fake.answers.append(answer)
    path, body = one.path, None if one.body is None else dict(one.body)
    if stream and one.stream.startswith("/"):
        path = one.stream
    elif body is not None and one.stream and one.event is not None and not one.stream.startswith("/"):
        body["stream"] = stream
        if stream and "/completions" in path:
            body["stream_options"] = {"include_usage": True}
    served = Served(fake)
    headers = {"anthropic-version": "2023-06-01"}
    async with httpx2.AsyncClient(transport=served, headers=headers) as client:
        method = "GET" if body is None else "POST"
        await client.request(method, f"http://vendor{path}", json=body)
    found = served.sent[-1].answer
    assert found.status == 200, found.body
    frames = [found.body] if found.frames is None else [each for each in found.frames if each != "[DONE]"]
    return [json.loads(json.dumps(each)) for each in frames]


@pytest.mark.shared
@pytest.mark.parametrize("one, answer, stream", CASES)
async def test_every_answer_holds_to_the_published_schema(
    one: Said, answer: Answer | None, stream: bool
) -> None:
    schema = (one.event or one.whole)[0] if stream else one.whole[0]
    found = [
        problem
        for body in await said(one, answer, stream=stream)
        for problem in specs.raw_problems(one.vendor, schema, one.known(body))
    ]
    assert found == []


@pytest.mark.parametrize("one, answer, stream", CASES)
async def test_every_answer_is_read_in_full_by_the_sdk(
    one: Said, answer: Answer | None, stream: bool
) -> None:
    declared = (one.event or one.whole)[1] if stream else one.whole[1]
    for body in await said(one, answer, stream=stream):
        if declared is not None:
            read = pydantic.TypeAdapter(declared).validate_json(json.dumps(one.known(body)))
            assert set(unknown(read)) <= UNTYPED


def unknown(read: Any, at: str = "") -> Iterator[str]:
    """The fields that a model of the SDK took without knowing them."""
    if isinstance(read, pydantic.BaseModel):
        yield from (f"{at}.{name}" for name in read.model_extra or ())
        for name in type(read).model_fields:
            yield from unknown(getattr(read, name), f"{at}.{name}")
    elif isinstance(read, list):
        for place, each in enumerate(read):
            yield from unknown(each, f"{at}[{place}]")


ERRORS: Final = {
    "openai": (_script, "/v1/chat/completions", "ErrorResponse", OpenAI.error(429, "slow", code="x")),
    "anthropic": (
        anthropic_server.AnthropicServer,
        "/v1/messages",
        "ErrorResponse",
        Anthropic.error(529, "busy", type="overloaded_error"),
    ),
    "ollama": (ollama_server.OllamaServer, "/api/chat", "ErrorResponse", Ollama.error(503, "busy")),
}


@pytest.mark.shared
@pytest.mark.parametrize("vendor", ERRORS)
async def test_errors_hold_to_the_published_schema(vendor: str) -> None:
    fake, path, schema, told = ERRORS[vendor]
    served = Served(fake())
    async with httpx2.AsyncClient(transport=served) as client:
        await client.post(f"http://vendor{path}", json={"bogus": 1})
    refusal = served.sent[-1].answer
    assert refusal.status == 400
    for body in (refusal.body, told.body):
        assert specs.raw_problems(vendor, schema, body) == []


@pytest.mark.shared
async def test_errors_of_gemini_hold_to_the_published_status() -> None:
    served = Served(gemini_server.GeminiServer())
    async with httpx2.AsyncClient(transport=served) as client:
        await client.post(f"http://vendor{_GOOGLE}generateContent", json={"bogus": 1})
    for body in (served.sent[-1].answer.body, Gemini.error(429, "slow").body):
        error = body["error"]
        assert error.keys() == {"code", "message", "status", "details"}
        assert error["status"].isupper()
        status = {"code": error["code"], "message": error["message"], "details": error["details"]}
        assert specs.raw_problems("gemini", "Status", status) == []
