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
    InvalidRequestError,
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
    Invoke,
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
from gleitzeit_plugin_gemini.adapt import Refusals
from gleitzeit_plugin_gemini.address import model_list, plain_name, state_owner, url_of
from gleitzeit_plugin_gemini.bodies import as_chat, chat_body, count_body
from gleitzeit_plugin_gemini.config import GeminiConfig
from gleitzeit_plugin_gemini.counting import chat_of, read_count
from gleitzeit_plugin_gemini.frames import AnswerParser, read_whole
from gleitzeit_plugin_gemini.listing import read_models
from gleitzeit_plugin_gemini.reader import AnswerReader
from gleitzeit_plugin_gemini.vectors import Vector, embedding_bodies, read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Gemini"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
_PAGES: Final = 50
#: Fields that one model may refuse one after the other.
_LESSONS: Final = 4
_encode: Final = msgspec.json.Encoder().encode


class Gemini(Provider):
    """Chat, completions, embeddings and counts of tokens of Gemini, by the Gemini API or Vertex AI."""

    Config: ClassVar[Any] = GeminiConfig
    complete: ClassVar[bool] = False
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
        "secrets": {"api_key": "GEMINI_API_KEY"},
    }

    def __init__(self, config: GeminiConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: httpx2.Headers | None = None
        self._urls: dict[tuple[str, str], httpx2.URL] = {}
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None
        self._refusals = Refusals()
        self._key = _secret(config.api_key)
        self._token = _secret(config.access_token)

    def __repr__(self) -> str:
        return f"<Gemini {self.context.name!r} at {self._settings.root}>"

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
        token: str | None = ""
        for _ in range(_PAGES):
            found, token = await self._page({"pageSize": "1000"} | ({"pageToken": token} if token else {}))
            models.update((model.name, model) for model in found)
            if token is None:
                break
        return list(models.values())

    async def _page(self, query: dict[str, str]) -> tuple[list[Model], str | None]:
        url = httpx2.URL(model_list(self._settings)).copy_merge_params(query)
        return read_models((await self._exchange.fetch("GET", url, self._headers(None))).body)

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by the first of the models; neither costs anything."""
        if not deep and self._succeeded is not None and time.monotonic() - self._succeeded < _FRESH:
            return Health("ok", detail="the last call went well")
        begun = time.monotonic()
        try:
            await self._page({"pageSize": "1"})
        except GleitzeitError as error:
            return self._without_list(error)
        if isinstance(self._failed, AccessError):
            return Health("error", detail=f"models are listed, but calls are refused: {self._failed.code}")
        return Health("ok", detail="models are listed", latency=time.monotonic() - begun)

    def _without_list(self, error: GleitzeitError) -> Health:
        if isinstance(error, AuthenticationError | WireError):
            return Health("error", detail=str(error))
        what = f"the server answers, but lists no models ({error.code})"
        if self._succeeded is not None:
            return Health("ok", detail=f"calls go well; {what}")
        if self._failed is not None:
            return Health("error", detail=f"{what}, and the last call failed: {self._failed.code}")
        return Health("unknown", detail=f"{what}, and nothing was called yet")

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a chat, a completion, an embedding, or `count_tokens`."""
        operation = request.operation
        try:
            if isinstance(operation, Completion):
                operation = as_chat(operation)
            answer: Reply | Stream
            if isinstance(operation, Chat):
                answer = await self._generate(request, operation)
            elif isinstance(operation, Embedding):
                answer = await self._embed(request, operation)
            elif isinstance(operation, Invoke) and operation.method == "count_tokens":
                answer = await self._count(request, operation)
            else:
                what = operation.method if isinstance(operation, Invoke) else operation.kind
                raise UnsupportedError(
                    f"{self.context.name}: {what} is not what this API offers",
                    hint="ask for chat, completion, embedding, or invoke count_tokens",
                    sent=False,
                )
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the server's health
                self._failed, self._succeeded = error, None
            raise
        self._failed, self._succeeded = None, time.monotonic()
        return answer

    async def _generate(self, request: Request, chat: Chat) -> Reply | Stream:
        settings, model, names = self._settings, request.name, WireNames()
        body = chat_body(chat, model, settings, names)
        reader = AnswerReader(names, state_owner(settings, model))
        headers = self._headers(request.idempotency_key)
        self._refusals.apply(model, body)
        method = "streamGenerateContent" if request.stream else "generateContent"
        url = self._url(model, method)
        lessons = _LESSONS if settings.adapt else 0
        while True:
            try:
                return await self._ask(url, headers, body, reader, stream=request.stream)
            except (InvalidRequestError, UnsupportedError) as error:
                if not lessons or not self._refusals.learn(model, body, error):
                    raise
                lessons -= 1

    async def _ask(
        self,
        url: httpx2.URL,
        headers: httpx2.Headers,
        body: dict[str, Any],
        reader: AnswerReader,
        *,
        stream: bool,
    ) -> Reply | Stream:
        if stream:
            response = await self._exchange.open("POST", url, headers, _encode(body))
            reader.limits = rate_limits(response.headers)
            parser = AnswerParser(reader, self._exchange.error)
            return Stream(ResponseEvents(self._exchange, response, parser))
        answer = await self._exchange.fetch("POST", url, headers, _encode(body))
        reader.limits = answer.limits
        events: deque[Event] = deque()
        read_whole(answer.body, reader, self._exchange.error, events)
        return fold(events).evolve(raw=answer.body)

    async def _embed(self, request: Request, embedding: Embedding) -> Reply:
        settings = self._settings
        method = settings.embedding_api or ("predict" if settings.vertex else "batchEmbedContents")
        headers = self._headers(request.idempotency_key)
        vectors: list[Vector] = []
        usage: Usage | None = None
        limits: RateLimits | None = None  # of the last batch, as they are the newest
        for count, body in embedding_bodies(embedding, method, request.name, settings):
            url = self._url(request.name, method)
            answer = await self._exchange.fetch("POST", url, headers, _encode(body))
            batch, used = read_vectors(answer.body, count, self._exchange.error)
            vectors += batch
            limits = answer.limits
            usage = used if usage is None else usage if used is None else usage + used
        return Reply(vectors=tuple(vectors), usage=usage, limits=limits)

    async def _count(self, request: Request, invoke: Invoke) -> Reply:
        model, chat = chat_of(invoke, request.name, self.context.name)
        body = count_body(chat_body(chat, model, self._settings, WireNames()), model, self._settings)
        url = self._url(model, "countTokens")
        answer = await self._exchange.fetch("POST", url, self._headers(None), _encode(body))
        counts = read_count(answer.body)
        return Reply(data=counts, model=plain_name(model), limits=answer.limits)

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
        exchange.secrets = tuple(text for text in (self._key, self._token, *secrets) if len(text) >= 4)
        return exchange

    def _client(self) -> httpx2.AsyncClient:
        """The host's client; one of our own only where certificates must not be checked."""
        if self._settings.verify_ssl:
            return self.context.http
        if self._own is None:
            connect = self.context.http.timeout.connect
            self._own = make_client({"verify_ssl": False, "connect_timeout": connect})
        return self._own

    def _url(self, model: str, method: str) -> httpx2.URL:
        url = self._urls.get((model, method))
        if url is None:
            url = httpx2.URL(url_of(model, method, self._settings))
            if method == "streamGenerateContent" and self._settings.stream_format == "sse":
                url = url.copy_merge_params({"alt": "sse"})
            if len(self._urls) > 1000:  # names come from callers
                self._urls.clear()
            self._urls[model, method] = url
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
        if self._token:
            own["Authorization"] = f"Bearer {self._token}"
        elif self._key:
            own["x-goog-api-key"] = self._key
        own.update((name, text.get_secret_value()) for name, text in settings.headers.items())
        if settings.official and not {"authorization", "x-goog-api-key"} & {name.lower() for name in own}:
            raise AuthenticationError(
                f"{self.context.name}: there is no key for {settings.host}",
                hint=self._key_hint(),
                provider=self.context.name,
                sent=False,
            )
        return own

    def _key_hint(self) -> str:
        where = f"in [providers.{self.context.name}] of gleitzeit.toml"
        if self._settings.vertex:
            return f"set `access_token` {where}; tokens of Google Cloud last an hour"
        return f"set `api_key` {where}, or the variable GEMINI_API_KEY"


def _secret(value: Any) -> str:
    return "" if value is None else str(value.get_secret_value())
