"""No fake takes what its vendor's specification refuses, whichever single thing is changed in a body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from gleitzeit.testing.anthropic_server import problem as anthropic_problem
from gleitzeit.testing.gemini_server import problem as gemini_problem
from gleitzeit.testing.ollama_server.check import problem as ollama_problem
from gleitzeit.testing.openai_server.check import problem as openai_problem
from gleitzeit.testing.openai_server.responses import problem as responses_problem
from gleitzeit.values import (
    AudioPart,
    Chat,
    Completion,
    Embedding,
    FilePart,
    ImagePart,
    Invoke,
    Message,
    Operation,
    ResponseSchema,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from tests.strict import specs
from tests.strict.mutations import mutations
from tests.strict.test_requests import ask
from tests.strict.wires import WIRES, schema_of

SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "/v1/chat/completions": lambda body: openai_problem("chat", body),
    "/v1/completions": lambda body: openai_problem("completion", body),
    "/v1/embeddings": lambda body: openai_problem("embedding", body),
    "/v1/responses": responses_problem,
    "/v1/messages": anthropic_problem,
    "/v1/messages/count_tokens": lambda body: anthropic_problem(body, count=True),
    **{
        method: lambda body, method=method: gemini_problem(method, body)  # type: ignore[misc]
        for method in ("generateContent", "streamGenerateContent", "countTokens", "embedContent")
    },
    "batchEmbedContents": lambda body: gemini_problem("batchEmbedContents", body),
    **{
        path: lambda body, path=path: ollama_problem(path, body)  # type: ignore[misc]
        for path in ("/api/chat", "/api/generate", "/api/embed", "/api/show", "/api/pull")
    },
}
#: What a fake takes though the stored schema does not: by path, patterns of the change, with the reason.
TAKEN: Final[Mapping[str, Mapping[str, str]]] = {
    "/api/embed": {
        r"^keep_alive = -?[\d.]+$": "the file has texts only here, and numbers too for chat and generate; "
        "the server reads all three alike, and the SDK's type says text or number"
    }
}


def conversation(*media: Any, name: str | None = None) -> tuple[Message, ...]:
    """All that a turn may hold."""
    call = ToolCallPart("c1", name="f", arguments={"a": 1})
    return (
        Message.system("be brief"),
        Message("user", [TextPart("look"), *media], name=name),
        Message("assistant", [TextPart("so"), call]),
        Message.tool(ToolResultPart("c1", name="f", parts=[TextPart("done")], is_error=True)),
        Message.user("end"),
    )


def rich(*media: Any, name: str | None = None, **fields: Any) -> Chat:
    """A chat that says everything that can be said."""
    told: dict[str, Any] = {
        "tools": [Tool("f", description="d", input_schema=SCHEMA)],
        "response_schema": ResponseSchema(SCHEMA),
        "reasoning": "low",
        "max_tokens": 5000,
        "temperature": 0.5,
        "top_p": 0.5,
    }
    return Chat(conversation(*media, name=name), **{**told, **fields})


PNG: Final = ImagePart(data=b"\x89PNG\r\n\x1a\n", detail="low")
PDF: Final = FilePart(data=b"%PDF-1.7", name="a.pdf", media_type="application/pdf")
WAV: Final = AudioPart(data=b"RIFF", media_type="audio/wav")
SAMPLED: Final[Mapping[str, Any]] = {"stop": ("x",), "seed": 1}
RICH: Final[Mapping[str, tuple[str, Operation]]] = {
    "chat": (
        "openai-chat",
        rich(
            PNG,
            PDF,
            WAV,
            name="ann",
            tool_choice="f",
            parallel_tool_calls=False,
            options={
                "openai": {
                    "logit_bias": {"5": 1},
                    "metadata": {"a": "b"},
                    "verbosity": "low",
                    "store": True,
                    "service_tier": "auto",
                    "n": 1,
                    "logprobs": True,
                    "top_logprobs": 1,
                    "presence_penalty": 0.5,
                    "user": "u",
                    "safety_identifier": "s",
                    "prompt_cache_key": "k",
                }
            },
            **SAMPLED,
        ),
    ),
    "completion": (
        "openai-completions",
        Completion(
            "x", max_tokens=5, temperature=0.5, options={"openai": {"echo": True, "suffix": "s"}}, **SAMPLED
        ),
    ),
    "embedding": ("openai-embeddings", Embedding(["x", "y"], dimensions=8)),
    "responses": (
        "openai-responses",
        rich(
            PNG,
            PDF,
            tool_choice="f",
            parallel_tool_calls=True,
            options={
                "openai": {
                    "truncation": "auto",
                    "include": ["reasoning.encrypted_content"],
                    "max_tool_calls": 2,
                    "store": False,
                    "metadata": {"a": "b"},
                    "service_tier": "auto",
                    "text": {"verbosity": "low"},
                }
            },
        ),
    ),
    "messages": (
        "anthropic-messages",
        rich(
            ImagePart(data=b"\x89PNG\r\n\x1a\n"),
            PDF,
            tool_choice="f",
            parallel_tool_calls=False,
            stop=("x",),
            reasoning="low",
            options={"anthropic": {"top_k": 5, "metadata": {"user_id": "u"}, "service_tier": "auto"}},
        ),
    ),
    "count": ("anthropic-count", Invoke("count_tokens", arguments={"model": "m", "chat": rich(PDF)})),
    "generate": (
        "gemini-generate",
        rich(
            PNG,
            tool_choice="f",
            options={
                "gemini": {
                    "generationConfig": {"topK": 3, "responseModalities": ["TEXT"]},
                    "tools": [{"googleSearch": {}}],
                    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
                    "serviceTier": "flex",
                    "cachedContent": "cachedContents/x",
                }
            },
            **SAMPLED,
        ),
    ),
    "tokens": (
        "gemini-count",
        Invoke("count_tokens", arguments={"model": "m", "messages": conversation(PDF)}),
    ),
    "embed": (
        "gemini-embed",
        Embedding(["x"], dimensions=8, options={"gemini": {"taskType": "CLUSTERING", "title": "t"}}),
    ),
    "ollama": (
        "ollama-chat",
        rich(
            ImagePart(data=b"\x89PNG\r\n\x1a\n"),
            options={"ollama": {"keep_alive": 5, "logprobs": True, "options": {"top_k": 1}}},
            **SAMPLED,
        ),
    ),
    "ollama-generate": (
        "ollama-generate",
        Completion("x", max_tokens=5, options={"ollama": {"raw": True, "suffix": "x"}}, **SAMPLED),
    ),
    "ollama-embed": ("ollama-embed", Embedding(["x"], dimensions=8)),
    "ollama-pull": ("ollama-methods", Invoke("pull", arguments={"model": "new"})),
    "ollama-show": ("ollama-methods", Invoke("show", arguments={"model": "m"})),
}


async def sent(name: str) -> tuple[str, Any]:
    """The path, or method, and the body that a provider sends for a rich request."""
    wire_name, operation = RICH[name]
    wire = WIRES[wire_name]
    config = {key: values[-1] for key, values in wire.configs.items()}
    error, found = await ask(wire, config, operation, stream=False)
    assert error is None, repr(error)
    return found[-1].path.rpartition(":")[2], found[-1].body


def disagreements(path: str, body: Any) -> Iterator[str]:
    """The changes that the fake takes and the specification does not."""
    schema, check = schema_of(path), CHECKS[path]
    assert schema is not None
    known = TAKEN.get(path, {})
    for done, changed in mutations(body):
        if check(changed) is None and not any(re.search(pattern, done) for pattern in known):
            found = specs.problems(*schema, changed)
            if found:
                yield f"{done}: {found[0]}"


@pytest.mark.shared
@pytest.mark.parametrize("name", RICH)
async def test_the_fake_takes_nothing_that_the_specification_refuses(name: str) -> None:
    path, body = await sent(name)
    schema = schema_of(path)
    assert schema is not None
    assert CHECKS[path](body) is None
    assert specs.problems(*schema, body) == []
    assert list(disagreements(path, body)) == []
