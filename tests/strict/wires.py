"""Every wire that we speak: who speaks it, to which fake, what is asked, and which schema it must hold to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from gleitzeit_plugin_anthropic import Anthropic
from gleitzeit_plugin_gemini import Gemini
from gleitzeit_plugin_ollama import Ollama
from gleitzeit_plugin_openai import AzureOpenAI, OpenAI
from hypothesis import strategies as st

from gleitzeit.testing.anthropic_server import AnthropicServer
from gleitzeit.testing.conversations import chats, completions, embeddings
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.testing.gemini_server import GeminiServer
from gleitzeit.testing.ollama_server import Answer as OllamaAnswer
from gleitzeit.testing.ollama_server import Card, OllamaServer
from gleitzeit.testing.openai_server import Answer as OpenAIAnswer
from gleitzeit.testing.openai_server import OpenAIServer, Rule, Script
from gleitzeit.values import Chat, Completion, Embedding, Invoke, Operation

__all__ = ["PLAIN", "REQUESTS", "WIRES", "Wire", "schema_of"]

KEY: Final = "canary-0123456789abcdef"

#: The schema of the request to each path; of Gemini, to each method.
REQUESTS: Final[Mapping[str, tuple[str, str]]] = {
    "/v1/chat/completions": ("openai", "CreateChatCompletionRequest"),
    "/v1/completions": ("openai", "CreateCompletionRequest"),
    "/v1/embeddings": ("openai", "CreateEmbeddingRequest"),
    "/v1/responses": ("openai", "CreateResponse"),
    "/v1/messages": ("anthropic", "CreateMessageParams"),
    "/v1/messages/count_tokens": ("anthropic", "CountMessageTokensParams"),
    "generateContent": ("gemini", "GenerateContentRequest"),
    "streamGenerateContent": ("gemini", "GenerateContentRequest"),
    "countTokens": ("gemini", "CountTokensRequest"),
    "embedContent": ("gemini", "EmbedContentRequest"),
    "batchEmbedContents": ("gemini", "BatchEmbedContentsRequest"),
    "/api/chat": ("ollama", "ChatRequest"),
    "/api/generate": ("ollama", "GenerateRequest"),
    "/api/embed": ("ollama", "EmbedRequest"),
    "/api/show": ("ollama", "ShowRequest"),
    "/api/pull": ("ollama", "PullRequest"),
}


def schema_of(path: str) -> tuple[str, str] | None:
    """Vendor and schema of a request to `path`; None where nobody publishes one.

    So it is on Vertex AI for predict, and for countTokens, which takes other fields there.
    """
    if "/publishers/" in path and path.endswith(":countTokens"):
        return None
    return REQUESTS.get(path.rpartition(":")[2])


@frozen(kw_only=True)
class Wire:
    """One way to one vendor."""

    plugin: Any
    fake: Callable[[], FaultyServer[Any]]
    #: What is asked, in a way that makes sense.
    operations: st.SearchStrategy[Operation] = field(repr=False)
    #: What may be configured, with the values to try; the plainest goes first.
    configs: Mapping[str, list[Any]] = field(repr=False)
    #: Paths, or methods, that these operations lead to.
    paths: tuple[str, ...]
    model: str = "m"

    def config(self) -> st.SearchStrategy[Mapping[str, Any]]:
        """Some configuration."""
        return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in self.configs.items()})


def _openai() -> OpenAIServer:
    return OpenAIServer(Script({}, default=(Rule(OpenAIAnswer("scripted")),)))


def _anthropic() -> AnthropicServer:
    from gleitzeit.testing.anthropic_server import Answer

    return AnthropicServer({"m": Answer("scripted")})


def _ollama() -> OllamaServer:
    server = OllamaServer(
        {
            "m:latest": Card(
                capabilities=("completion", "tools", "embedding", "thinking", "vision"),
                answer=OllamaAnswer("scripted"),
            )
        }
    )
    server.library["new:latest"] = 1000
    return server


def _counts(argument: str) -> st.SearchStrategy[Operation]:
    chat = chats(without=("seed", "stop"))
    if argument == "chat":
        return chat.map(lambda found: Invoke("count_tokens", arguments={"model": "m", "chat": found}))
    return chat.map(
        lambda found: Invoke(
            "count_tokens", arguments={"model": "m", "messages": found.messages, "tools": found.tools}
        )
    )


_OPENAI: Final = {
    "openai": [
        {"verbosity": "low", "store": False},
        {"logprobs": True, "top_logprobs": 2, "service_tier": "auto", "user": "u"},
        {"presence_penalty": 1, "logit_bias": {"5": 1}, "metadata": {"a": "b"}},
    ]
}
_RESPONSES: Final = {
    "openai": [
        {"text": {"verbosity": "low"}, "truncation": "auto"},
        {"tools": [{"type": "web_search"}], "service_tier": "auto", "store": False},
        {"include": ["reasoning.encrypted_content"], "max_tool_calls": 3},
    ]
}
_ANTHROPIC: Final = {
    "anthropic": [
        {"service_tier": "auto", "top_k": 5, "metadata": {"user_id": "u"}},
        {"thinking": {"type": "disabled"}, "inference_geo": "us"},
    ]
}
_GEMINI: Final = {
    "gemini": [
        {"tools": [{"googleSearch": {}}], "serviceTier": "flex"},
        {
            "generationConfig": {"topK": 3, "responseModalities": ["TEXT"]},
            "cachedContent": "cachedContents/x",
        },
    ]
}
_OLLAMA: Final = {
    "ollama": [{"keep_alive": 0, "options": {"top_k": 1}}, {"logprobs": True, "top_logprobs": 2}]
}
#: What Ollama has no word for.
_BARE: Final = ("parallel_tool_calls", "reasoning", "tool_choice")
_OFFICIAL: Final = {"api_key": [KEY], "system_role": ["system", "developer"], "merge_system": [False, True]}
_COMPATIBLE: Final = {"base_url": ["http://127.0.0.1:1/v1"], "merge_system": [False, True]}
_AZURE: Final = {"api_key": [KEY], "resource": ["acme"], "api_version": [None, "2026-06-01"]}
_VERTEX: Final = {"access_token": [KEY], "project": ["p"], "location": ["global", "europe-west4"]}
_GOOGLE: Final = {
    "api_key": [KEY],
    "schemas": ["json", "openapi"],
    "stream_format": ["sse", "array"],
    "tool_media": ["inside", "after"],
    "thinking_budgets": [{}, {"low": 512}],
    "safety": [{}, {"harassment": "block_none"}],
    "part_resolution": [False, True],
}
_HERE: Final = {"num_ctx": [None, 512], "keep_alive": [None, "5m", 60], "think": [None, True, "low"]}
_CLAUDE: Final = {
    "api_key": [KEY],
    "thinking": ["auto", "budget", "effort"],
    "prompt_caching": [None, "5m", "1h"],
    "max_tokens": [100, 8192],
    "adapt": [False],
}


def _wire(plugin: Any, fake: Any, operations: Any, configs: Any, *paths: str) -> Wire:
    return Wire(plugin=plugin, fake=fake, operations=operations, configs=configs, paths=paths)


_TALKS: Final = chats(_RESPONSES, without=("stop", "seed"), named=False)
METHODS: Final = (
    Invoke("show", arguments={"model": "m"}),
    Invoke("pull", arguments={"model": "new"}),
    Invoke("load", arguments={"model": "m", "keep_alive": 60}),
    Invoke("unload", arguments={"model": "m"}),
)

#: The simplest of each kind.
PLAIN: Final[tuple[Operation, ...]] = (
    Chat("hi"),
    Completion("x"),
    Embedding(["x", "y"]),
    Invoke("count_tokens", arguments={"model": "m", "messages": "hi"}),
    Invoke("count_tokens", arguments={"model": "m", "chat": "hi"}),
    *METHODS,
)

WIRES: Final[Mapping[str, Wire]] = {
    "openai-chat": _wire(OpenAI, _openai, chats(_OPENAI), _OFFICIAL, "/v1/chat/completions"),
    "openai-compatible": _wire(
        OpenAI,
        _openai,
        chats(_OPENAI, without=("stop",)) | embeddings(),
        _COMPATIBLE,
        "/v1/chat/completions",
        "/v1/embeddings",
    ),
    "openai-completions": _wire(
        OpenAI,
        _openai,
        completions(),
        {"api_key": [KEY], "completion_api": ["completions"]},
        "/v1/completions",
    ),
    "openai-embeddings": _wire(
        OpenAI,
        _openai,
        embeddings(),
        {"api_key": [KEY], "embedding_format": [None, "float"], "embedding_batch": [2, 2048]},
        "/v1/embeddings",
    ),
    "openai-responses": _wire(
        OpenAI,
        _openai,
        _TALKS,
        {"api_key": [KEY], "api": ["responses"], "system_role": ["system", "developer"]},
        "/v1/responses",
    ),
    "azure-openai": _wire(
        AzureOpenAI,
        _openai,
        chats(_OPENAI) | embeddings(),
        _AZURE,
        "/v1/chat/completions",
        "/v1/embeddings",
    ),
    "azure-responses": _wire(
        AzureOpenAI,
        _openai,
        _TALKS,
        {"api_key": [KEY], "resource": ["acme"], "api": ["responses"]},
        "/v1/responses",
    ),
    "anthropic-messages": _wire(
        Anthropic, _anthropic, chats(_ANTHROPIC, without=("seed",)), _CLAUDE, "/v1/messages"
    ),
    "anthropic-count": _wire(Anthropic, _anthropic, _counts("chat"), _CLAUDE, "/v1/messages/count_tokens"),
    "gemini-generate": _wire(
        Gemini, GeminiServer, chats(_GEMINI), _GOOGLE, "generateContent", "streamGenerateContent"
    ),
    "gemini-embed": _wire(
        Gemini,
        GeminiServer,
        embeddings({"gemini": [{"taskType": "RETRIEVAL_QUERY", "title": "t"}]}),
        {"api_key": [KEY], "embedding_api": [None, "embedContent"]},
        "batchEmbedContents",
        "embedContent",
    ),
    "gemini-count": _wire(Gemini, GeminiServer, _counts("messages"), _GOOGLE, "countTokens"),
    "vertex-generate": _wire(
        Gemini, GeminiServer, chats(_GEMINI), _VERTEX, "generateContent", "streamGenerateContent"
    ),
    "vertex-count": _wire(Gemini, GeminiServer, _counts("messages"), _VERTEX, "countTokens"),
    "vertex-embed": _wire(Gemini, GeminiServer, embeddings(), _VERTEX, "predict"),
    "ollama-chat": _wire(
        Ollama, _ollama, chats(_OLLAMA) | chats(_OLLAMA, rich=False, without=_BARE), _HERE, "/api/chat"
    ),
    "ollama-generate": _wire(
        Ollama, _ollama, completions({"ollama": [{"raw": True, "suffix": "x"}]}), _HERE, "/api/generate"
    ),
    "ollama-embed": _wire(Ollama, _ollama, embeddings(), _HERE, "/api/embed"),
    "ollama-methods": _wire(
        Ollama, _ollama, st.sampled_from(METHODS), _HERE, "/api/show", "/api/pull", "/api/generate"
    ),
}
