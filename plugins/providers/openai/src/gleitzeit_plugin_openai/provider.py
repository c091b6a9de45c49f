"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx2
import msgspec

from gleitzeit.errors import (
    AccessError,
    AuthenticationError,
    GleitzeitError,
    RequestError,
    UnsupportedError,
    WireError,
)
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    Event,
    Health,
    Model,
    RateLimits,
    Reply,
    Request,
    Stream,
    Usage,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire.client import make_client
from gleitzeit.wire.exchange import Exchange
from gleitzeit.wire.limits import rate_limits
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.source import ResponseEvents
from gleitzeit_plugin_openai.bodies import chat_body, completion_body, embedding_body, state_owner
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.filters import Filter, TextCalls, ThinkTags
from gleitzeit_plugin_openai.listing import next_page, read_models
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.stream import ChatParser, read_whole
from gleitzeit_plugin_openai.usage import usage_of
from gleitzeit_plugin_openai.vectors import Vector, read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["OpenAI"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
_PAGES: Final = 50
_encode: Final = msgspec.json.Encoder().encode


class OpenAI(Provider):
    """Chat, completions and embeddings of OpenAI and of servers that speak its API."""

    Config: ClassVar[Any] = OpenAIConfig
    complete: ClassVar[bool] = False
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("gpt-*", "o[0-9]*", "text-embedding-*", "chatgpt-*"),
        "capabilities": ("chat", "completion", "embedding", "streaming", "tools", "vision"),
        "secrets": {"api_key": "OPENAI_API_KEY"},
    }

    def __init__(self, config: OpenAIConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: httpx2.Headers | None = None
        self._urls: dict[str, httpx2.URL] = {}
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None
        self._key = config.api_key.get_secret_value() if config.api_key is not None else ""

    def __repr__(self) -> str:
        return f"<OpenAI {self.context.name!r} at {self._settings.base_url}>"

    @property
    def local(self) -> bool:
        """True for a server on a loopback address; what it passes on elsewhere cannot be seen from here."""
        return self._settings.loopback

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Closes the instance's own client, if one was needed."""
        try:
            yield
        finally:
            own, self._own, self._sent_headers = self._own, None, None
            if own is not None:
                await own.aclose()

    async def provide_models(self) -> list[Model]:
        """The models that the server lists."""
        models: dict[str, Model] = {}
        url = self._url("/models")
        for _ in range(_PAGES):
            answer = await self._exchange.fetch("GET", url, self._headers(None))
            found, page = read_models(answer.body)
            models.update((model.name, model) for model in found)
            after = next_page(page)
            if after is None:
                break
            url = self._url("/models").copy_merge_params({"after": after})
        return list(models.values())

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by the list of models; neither costs anything.

        A server without a good list is healthy as long as calls go well.
        """
        if not deep and self._succeeded is not None and time.monotonic() - self._succeeded < _FRESH:
            return Health("ok", detail="the last call went well")
        begun = time.monotonic()
        try:
            models = await self.provide_models()
        except GleitzeitError as error:
            return self._without_list(error)
        if isinstance(self._failed, AccessError):
            return Health("error", detail=f"models are listed, but calls are refused: {self._failed.code}")
        return Health("ok", detail=f"{len(models)} models", latency=time.monotonic() - begun)

    def _without_list(self, error: GleitzeitError) -> Health:
        if isinstance(error, AccessError | WireError):
            return Health("error", detail=str(error))
        what = f"the server answers, but lists no models ({error.code})"
        if self._succeeded is not None:
            return Health("ok", detail=f"calls go well; {what}")
        if self._failed is not None:
            return Health("error", detail=f"{what}, and the last call failed: {self._failed.code}")
        return Health("unknown", detail=f"{what}, and nothing was called yet")

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a chat, a completion or an embedding."""
        operation, model = request.operation, request.name
        try:
            if isinstance(operation, Completion) and self._settings.completion_api == "chat":
                operation = _as_chat(operation)
            if isinstance(operation, Chat):
                names = WireNames()
                body = chat_body(operation, model, request.stream, self._settings, names)
                tools = bool(operation.tools)
                answer = await self._generate(request, "/chat/completions", body, names, tools=tools)
            elif isinstance(operation, Completion):
                body = completion_body(operation, model, request.stream, self._settings)
                answer = await self._generate(request, "/completions", body, WireNames(), tools=False)
            elif isinstance(operation, Embedding):
                answer = await self._embed(request, operation)
            else:
                raise UnsupportedError(
                    f"{self.context.name}: {operation.kind} is not what this API offers",
                    hint="ask for chat, completion or embedding",
                    provider=self.context.name,
                    sent=False,
                )
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the server's health
                self._failed, self._succeeded = error, None
            raise
        self._failed, self._succeeded = None, time.monotonic()
        return answer

    async def _generate(
        self, request: Request, path: str, body: dict[str, Any], names: WireNames, *, tools: bool
    ) -> Reply | Stream:
        reader = AnswerReader(names, state_owner(self._settings, request.name), self._filters(tools))
        headers, content = self._headers(request.idempotency_key), _encode(body)
        if request.stream:
            response = await self._exchange.open("POST", self._url(path), headers, content)
            reader.limits = rate_limits(response.headers)
            parser = ChatParser(reader, self._exchange.error)
            return Stream(ResponseEvents(self._exchange, response, parser))
        answer = await self._exchange.fetch("POST", self._url(path), headers, content)
        reader.limits = answer.limits
        events: deque[Event] = deque()
        read_whole(answer.body, reader, self._exchange.error, events)
        return fold(events).evolve(raw=answer.body)

    async def _embed(self, request: Request, embedding: Embedding) -> Reply:
        vectors: list[Vector] = []
        usage: Usage | None = None
        model: str | None = None
        limits: RateLimits | None = None  # of the last batch, as they are the newest
        for start in range(0, len(embedding.inputs), self._settings.embedding_batch):
            inputs = embedding.inputs[start : start + self._settings.embedding_batch]
            body = embedding_body(embedding, inputs, request.name, self._settings)
            headers = self._headers(request.idempotency_key)
            answer = await self._exchange.fetch("POST", self._url("/embeddings"), headers, _encode(body))
            whole, batch = read_vectors(answer.body, len(inputs), self._exchange.error)
            vectors += batch
            limits = answer.limits
            model = whole.model if isinstance(whole.model, str) and whole.model else model
            used = usage_of(whole.usage)
            usage = used if usage is None else usage if used is None else usage + used
        return Reply(vectors=tuple(vectors), usage=usage, model=model, limits=limits)

    def _filters(self, tools: bool) -> tuple[Filter, ...]:
        """What takes thinking and calls out of the text, where the configuration says they are in it."""
        filters: list[Filter] = []
        if self._settings.thinking != "fields":
            filters.append(ThinkTags(open=self._settings.thinking == "open"))
        if tools and self._settings.tool_calls != "fields":
            filters.append(TextCalls(self._settings.tool_calls))
        return tuple(filters)

    @cached_property
    def _exchange(self) -> Exchange:
        """Made at the first call, as the host's client is."""
        settings = self._settings
        timeout = None
        if settings.connect_timeout is not None or settings.read_timeout is not None:
            connect = settings.connect_timeout or self.context.http.timeout.connect
            timeout = httpx2.Timeout(None, connect=connect, read=settings.read_timeout)
        hints: dict[type[GleitzeitError], str] = {AuthenticationError: self._key_hint()}
        exchange = Exchange(self.context.name, self._client, timeout=timeout, hints=hints)
        secrets = [text.get_secret_value() for text in settings.headers.values()]
        exchange.secrets = tuple(text for text in (self._key, *secrets) if len(text) >= 4)
        return exchange

    def _client(self) -> httpx2.AsyncClient:
        """The host's client; one of our own only where certificates must not be checked."""
        if self._settings.verify_ssl:
            return self.context.http
        if self._own is None:
            connect = self.context.http.timeout.connect
            self._own = make_client({"verify_ssl": False, "connect_timeout": connect})
        return self._own

    def _url(self, path: str) -> httpx2.URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx2.URL(self._settings.base_url + path)
        return url

    def _headers(self, idempotency_key: str | None) -> httpx2.Headers:
        headers = self._sent_headers
        if headers is None:
            headers = self._sent_headers = self._exchange.headers(self._own_headers())
        if idempotency_key is not None:
            headers = self._exchange.headers({**self._own_headers(), "Idempotency-Key": idempotency_key})
        return headers

    def _own_headers(self) -> dict[str, str]:
        settings = self._settings
        own = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if self._key:
            own["Authorization"] = f"Bearer {self._key}"
        if settings.organization is not None:
            own["OpenAI-Organization"] = settings.organization
        if settings.project is not None:
            own["OpenAI-Project"] = settings.project
        own.update((name, text.get_secret_value()) for name, text in settings.headers.items())
        if settings.official and not {"authorization", "api-key"} & {name.lower() for name in own}:
            raise AuthenticationError(
                f"{self.context.name}: there is no key for {settings.host}",
                hint=self._key_hint(),
                provider=self.context.name,
                sent=False,
            )
        return own

    def _key_hint(self) -> str:
        name = self.context.name
        return f"set `api_key` in [providers.{name}] of gleitzeit.toml, or the variable OPENAI_API_KEY"


def _as_chat(completion: Completion) -> Chat:
    """A text to continue as a conversation of one turn."""
    return Chat(
        completion.prompt,
        max_tokens=completion.max_tokens,
        temperature=completion.temperature,
        top_p=completion.top_p,
        stop=completion.stop,
        seed=completion.seed,
        options=completion.options,
    )
