"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Chat, Embedding, Health, Invoke, Model, Reply, Request, Stream
from gleitzeit.wire.connection import revealed
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import idempotency
from gleitzeit.wire.provider import HttpProvider
from gleitzeit.wire.vectors import collected
from gleitzeit_plugin_gemini.adapt import Refusals
from gleitzeit_plugin_gemini.address import path_of, plain_name, state_owner
from gleitzeit_plugin_gemini.bodies import chat_body, count_body
from gleitzeit_plugin_gemini.config import GeminiConfig
from gleitzeit_plugin_gemini.counting import chat_of, read_count
from gleitzeit_plugin_gemini.frames import PieceParser
from gleitzeit_plugin_gemini.listing import read_models
from gleitzeit_plugin_gemini.reader import AnswerReader
from gleitzeit_plugin_gemini.vectors import embedding_bodies, read_vectors

if TYPE_CHECKING:
    import httpx2

    from gleitzeit.kinds import Context

__all__ = ["Gemini"]

#: Fields that one model may refuse one after the other.
_LESSONS: Final = 4


class Gemini(HttpProvider):
    """Chat, completions, embeddings and counts of tokens of Gemini, by the Gemini API or Vertex AI."""

    Config: ClassVar[Any] = GeminiConfig
    config: GeminiConfig
    complete: ClassVar[bool] = False
    offers: ClassVar[str] = "chat, completion, embedding, or invoke count_tokens"
    key_variable: ClassVar[str | None] = "GEMINI_API_KEY"
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("gemini-*", "gemma-*"),
        "capabilities": (
            "chat",
            "completion",
            "embedding",
            "streaming",
            "tools",
            "vision",
            "audio",
            "thinking",
            "count_tokens",
        ),
        "secrets": {"api_key": ("GEMINI_API_KEY", "GOOGLE_API_KEY")},
        "model_data": "models.json",
    }

    def __init__(self, config: GeminiConfig, context: Context) -> None:
        super().__init__(config, context)
        self._refusals = Refusals()

    async def provide_models(self) -> list[Model]:
        """The models that the server lists."""
        return await self.listed(self._models(1000), read_models)

    async def probe(self, deep: bool) -> Health:
        """Asks for the first of the models."""
        read_models((await self.fetch("GET", self._models(1))).body)
        return Health("ok", detail="models are listed")

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        """Answer a chat; with `adapt`, without the fields that the model has refused."""
        config, model, names = self.config, request.name, WireNames()
        body = chat_body(chat, model, config, names)
        dialect = PieceParser(AnswerReader(names, state_owner(config, model)), self.exchange.error)
        self._refusals.apply(model, body)
        method = "streamGenerateContent" if request.stream else "generateContent"
        sse = "?alt=sse" if request.stream and config.stream_format == "sse" else ""
        url = self.url(path_of(model, method, config) + sse)
        lessons = _LESSONS if config.adapt else 0
        while True:
            try:
                return await self.generate(request.stream, url, body, dialect, idempotency(request))
            except (InvalidRequestError, UnsupportedError) as error:
                if not lessons or not self._refusals.learn(model, body, error):
                    raise
                lessons -= 1

    async def embedding(self, request: Request, embedding: Embedding) -> Reply:
        """Give vectors."""
        config, model = self.config, request.name
        method = config.embedding_api or ("predict" if config.vertex else "batchEmbedContents")
        url = self.url(path_of(model, method, config))
        return await collected(
            embedding_bodies(embedding, method, model, config),
            lambda body: self.fetch("POST", url, body, idempotency(request)),
            lambda body, count: read_vectors(body, count, self.exchange.error),
        )

    async def invoke(self, request: Request, invoke: Invoke) -> Reply | Stream:
        """Count tokens."""
        if invoke.method != "count_tokens":
            raise self.unsupported(invoke.method)
        model, chat = chat_of(invoke, request.name, self.context.name)
        body = count_body(chat_body(chat, model, self.config, WireNames()), model, self.config)
        answer = await self.fetch("POST", self.url(path_of(model, "countTokens", self.config)), body)
        return Reply(data=read_count(answer.body), model=plain_name(model), limits=answer.limits)

    def credential(self) -> dict[str, str]:
        """The token of Vertex AI, else the key."""
        if token := revealed(self.config.access_token):
            return {"Authorization": f"Bearer {token}"}
        key = revealed(self.config.api_key)
        return {"x-goog-api-key": key} if key else {}

    def key_hint(self) -> str:
        """The next step for those whose key or token is missing or refused."""
        if not self.config.vertex:
            return super().key_hint()
        return (
            f"set `access_token` in [providers.{self.context.name}] of gleitzeit.toml; tokens of Google "
            "Cloud last an hour, and one behind secret:// is read anew when it is refused"
        )

    def _models(self, size: int) -> httpx2.URL:
        path = "/publishers/google/models" if self.config.vertex else "/models"
        return self.url(path).copy_set_param("pageSize", str(size))
