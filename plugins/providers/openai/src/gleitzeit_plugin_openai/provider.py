"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx2

from gleitzeit.errors import RequestError
from gleitzeit.values import Chat, Completion, Embedding, Model, Reply, Request, Stream
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.options import idempotency
from gleitzeit.wire.provider import Dialect, HttpProvider
from gleitzeit.wire.vectors import collected
from gleitzeit_plugin_openai.adapt import Adaptations
from gleitzeit_plugin_openai.bodies import (
    chat_body,
    completion_body,
    embedding_bodies,
    sound_type,
    state_owner,
)
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.filters import Filter, TextCalls, ThinkTags
from gleitzeit_plugin_openai.listing import read_models
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.responses.bodies import needs_chat, response_body, response_owner
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.stream import ResponseParser
from gleitzeit_plugin_openai.stream import ChatParser
from gleitzeit_plugin_openai.vectors import read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["OpenAI"]

#: Most fields of one request that may be changed after refusals.
_CHANGES: Final = 4


class OpenAI(HttpProvider):
    """Chat, completions and embeddings of OpenAI and of servers that speak its API."""

    Config: ClassVar[Any] = OpenAIConfig
    config: OpenAIConfig
    complete: ClassVar[bool] = False
    offers: ClassVar[str] = "chat, completion or embedding"
    key_variable: ClassVar[str | None] = "OPENAI_API_KEY"
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("gpt-*", "o[0-9]*", "text-embedding-*", "chatgpt-*"),
        "capabilities": ("chat", "completion", "embedding", "streaming", "tools", "vision"),
        "secrets": {"api_key": "OPENAI_API_KEY"},
        "model_data": "models.json",
    }

    def __init__(self, config: OpenAIConfig, context: Context) -> None:
        super().__init__(config, context)
        self._adaptations = Adaptations(config)

    async def provide_models(self) -> list[Model]:
        """The models that the server lists."""
        return await self.listed(self.url("/models"), read_models)

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        """Answer a chat, by chat completions or by responses."""
        names, model, config = WireNames(), self.wire_model(request.name), self.config
        api = config.api
        if api == "auto":
            api = "responses" if config.official and not needs_chat(chat) else "chat"
        if api == "responses":
            body = response_body(chat, model, request.stream, config, names)
            reader = ResponseReader(names, response_owner(config, model))
            return await self._adapted(
                request, "/responses", body, ResponseParser(reader, self.exchange.error)
            )
        body = chat_body(chat, model, request.stream, config, names)
        dialect = self._dialect(body, names, tools=bool(chat.tools))
        return await self._adapted(request, "/chat/completions", body, dialect)

    async def completion(self, request: Request, completion: Completion) -> Reply | Stream:
        """Continue a text, by a chat or by the older completions."""
        if self.config.completion_api == "chat":
            return await super().completion(request, completion)
        model = self.wire_model(request.name)
        body = completion_body(completion, model, request.stream, self.config)
        dialect = self._dialect(body, WireNames(), tools=False)
        return await self._adapted(request, "/completions", body, dialect)

    async def embedding(self, request: Request, embedding: Embedding) -> Reply:
        """Give vectors."""
        model = self.wire_model(request.name)
        url, headers = self.url("/embeddings", model), idempotency(request)
        return await collected(
            embedding_bodies(embedding, model, self.config),
            lambda body: self.fetch("POST", url, body, headers),
            lambda body, count: read_vectors(body, count, self.exchange.error),
        )

    def wire_model(self, name: str) -> str:
        """What a model is called on the wire."""
        return name

    def url(self, path: str, model: str | None = None) -> httpx2.URL:
        """The address of a path; `model` is what the request there is about."""
        return super().url(path)

    def own_headers(self) -> dict[str, str]:
        """Organization and project."""
        config = self.config
        given = {"OpenAI-Organization": config.organization, "OpenAI-Project": config.project}
        return {name: value for name, value in given.items() if value is not None}

    def _dialect(self, body: dict[str, Any], names: WireNames, *, tools: bool) -> ChatParser:
        sound = sound_type(body) if "audio" in (body.get("modalities") or ()) else None
        owner = state_owner(self.config, body["model"])
        reader = AnswerReader(names, owner, self._filters(tools), sound=sound)
        return ChatParser(reader, self.exchange.error)

    async def _adapted(
        self, request: Request, path: str, body: dict[str, Any], dialect: Dialect
    ) -> Reply | Stream:
        """The answer; where a field is refused by name, it may be changed and asked again."""
        model, url, headers = body["model"], self.url(path, body["model"]), idempotency(request)
        changed = self._adaptations.apply(model, body)
        for _ in range(_CHANGES):
            try:
                return await self.generate(request.stream, url, body, dialect, headers)
            except RequestError as error:
                if request.idempotency_key is not None:
                    raise  # it stands for one body
                if not self._adaptations.learn(model, error, body, changed):
                    raise
        return await self.generate(request.stream, url, body, dialect, headers)

    def _filters(self, tools: bool) -> tuple[Filter, ...]:
        """What takes thinking and calls out of the text, where the configuration says they are in it."""
        filters: list[Filter] = []
        if self.config.thinking != "fields":
            filters.append(ThinkTags(open=self.config.thinking == "open"))
        if tools and self.config.tool_calls != "fields":
            filters.append(TextCalls(self.config.tool_calls))
        return tuple(filters)
