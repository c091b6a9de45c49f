"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import httpx2

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
from gleitzeit.values import Chat, Completion, Event, Health, Invoke, Model, Reply, Request, Stream
from gleitzeit.values.fold import fold
from gleitzeit.wire.client import make_client
from gleitzeit.wire.exchange import Exchange
from gleitzeit.wire.limits import rate_limits
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.source import ResponseEvents
from gleitzeit_plugin_anthropic.bodies import chat_body, count_body, encode, options_of
from gleitzeit_plugin_anthropic.config import AnthropicConfig
from gleitzeit_plugin_anthropic.counting import COUNT, read_count, to_count
from gleitzeit_plugin_anthropic.listing import next_page, read_models
from gleitzeit_plugin_anthropic.marks import state_owner
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.refusals import Refusals
from gleitzeit_plugin_anthropic.stream import MessageParser, read_whole

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Anthropic"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
_PAGES: Final = 50
T = TypeVar("T")


class Anthropic(Provider):
    """Chat with the models of Anthropic, and of servers that speak its Messages API."""

    Config: ClassVar[Any] = AnthropicConfig
    complete: ClassVar[bool] = False
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("claude-*",),
        "capabilities": ("chat", "completion", "streaming", "tools", "vision", "documents", "thinking"),
        "secrets": {"api_key": "ANTHROPIC_API_KEY"},
    }

    def __init__(self, config: AnthropicConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: dict[tuple[str, ...], httpx2.Headers] = {}
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None
        self._known: dict[str, Model] = {}
        self._refusals = Refusals()
        self._owner = state_owner(config)

    def __repr__(self) -> str:
        return f"<Anthropic {self.context.name!r} at {self._settings.base_url}>"

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
            own, self._own = self._own, None
            self._sent_headers.clear()
            if own is not None:
                await own.aclose()

    async def provide_models(self) -> list[Model]:
        """The models that the server lists, without those that are retired."""
        models: dict[str, Model] = {}
        url = self._url("/v1/models").copy_set_param("limit", "1000")
        for _ in range(_PAGES):
            answer = await self._exchange.fetch("GET", url, self._headers())
            found, page = read_models(answer.body)
            models.update((model.name, model) for model in found)
            after = next_page(page)
            if after is None:
                break
            url = url.copy_set_param("after_id", after)
        self._known = models
        return list(models.values())

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by the list of models; neither costs anything."""
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
        """Answer a chat, a completion, or the method `count_tokens`."""
        operation = request.operation
        answer: Reply | Stream
        try:
            if isinstance(operation, Completion):
                operation = _as_chat(operation)
            if isinstance(operation, Chat):
                answer = await self._chat(request, operation)
            elif isinstance(operation, Invoke) and operation.method == COUNT:
                answer = await self._count(operation)
                answer = Stream.of(answer) if request.stream else answer
            else:
                raise UnsupportedError(
                    f"{self.context.name}: {operation.kind} is not what this API offers",
                    hint=f"ask for chat or completion, or invoke {COUNT}",
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

    async def _chat(self, request: Request, chat: Chat) -> Reply | Stream:
        names = WireNames()
        model = request.name
        known = self._known.get(model)
        body = chat_body(chat, model, request.stream, self._settings, names, known)
        reader = AnswerReader(names, self._owner)
        headers, url = self._headers(chat), self._url("/v1/messages")
        if request.stream:

            async def opened(content: bytes) -> httpx2.Response:
                return await self._exchange.open("POST", url, headers, content)

            response = await self._asked(body, opened)
            reader.limits = rate_limits(response.headers)
            parser = MessageParser(reader, self._exchange.error)
            return Stream(ResponseEvents(self._exchange, response, parser))
        answer = await self._asked(body, lambda content: self._exchange.fetch("POST", url, headers, content))
        reader.limits = answer.limits
        events: deque[Event] = deque()
        read_whole(answer.body, reader, self._exchange.error, events)
        return fold(events).evolve(raw=answer.body)

    async def _asked(self, body: dict[str, Any], ask: Callable[[bytes], Awaitable[T]]) -> T:
        """Ask; where the model refuses a sampling parameter, once more without it."""
        if not self._settings.adapt:
            return await ask(encode(body))
        body = self._refusals.adapt(body)
        try:
            return await ask(encode(body))
        except InvalidRequestError as error:
            if not self._refusals.learn(body, error):
                raise
            fewer = self._refusals.adapt(body)
            left_out = ", ".join(sorted(body.keys() - fewer.keys()))
            self.context.logger.info("%s: %s takes no %s", self.context.name, body["model"], left_out)
        return await ask(encode(fewer))

    async def _count(self, operation: Invoke) -> Reply:
        model, chat = to_count(operation)
        body = count_body(chat, model, self._settings, WireNames(), self._known.get(model))
        url = self._url("/v1/messages/count_tokens")
        answer = await self._exchange.fetch("POST", url, self._headers(chat), encode(body))
        return read_count(answer.body).evolve(limits=answer.limits)

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
        given = (settings.api_key, settings.auth_token, *settings.headers.values())
        secrets = [secret.get_secret_value() for secret in given if secret is not None]
        exchange.secrets = tuple(text for text in secrets if len(text) >= 4)
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
        return httpx2.URL(self._settings.base_url + path)

    def _headers(self, chat: Chat | None = None) -> httpx2.Headers:
        """The headers of a request; `chat` may name further betas in its options."""
        betas = self._settings.betas
        asked = options_of(chat, self._settings).get("betas") if chat is not None else None
        if asked:
            if isinstance(asked, str) or not all(isinstance(word, str) for word in asked):
                raise InvalidRequestError("option 'betas' is a list of names, as the vendor spells them")
            betas = tuple(dict.fromkeys((*betas, *asked)))
        headers = self._sent_headers.get(betas)
        if headers is None:
            if len(self._sent_headers) >= 64:
                self._sent_headers.clear()
            headers = self._sent_headers[betas] = self._exchange.headers(self._own_headers(betas))
        return headers

    def _own_headers(self, betas: tuple[str, ...]) -> dict[str, str]:
        settings = self._settings
        own = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "anthropic-version": settings.version,
        }
        if betas:
            own["anthropic-beta"] = ",".join(betas)
        key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
        token = settings.auth_token.get_secret_value() if settings.auth_token is not None else ""
        if token:
            own["Authorization"] = f"Bearer {token}"
        elif key:
            own["x-api-key"] = key
        own.update((name, text.get_secret_value()) for name, text in settings.headers.items())
        if settings.official and not {"authorization", "x-api-key", "api-key"} & {n.lower() for n in own}:
            raise AuthenticationError(
                f"{self.context.name}: there is no key for {settings.host}",
                hint=self._key_hint(),
                provider=self.context.name,
                sent=False,
            )
        return own

    def _key_hint(self) -> str:
        name = self.context.name
        return f"set `api_key` in [providers.{name}] of gleitzeit.toml, or the variable ANTHROPIC_API_KEY"


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
