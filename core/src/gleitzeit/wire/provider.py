"""A base for providers that speak HTTP to one server: all but what the vendor says and how."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import httpx2

from gleitzeit.errors import (
    AccessError,
    AuthenticationError,
    ConfigError,
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
    Invoke,
    Model,
    RateLimits,
    Reply,
    Request,
    Stream,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire.client import make_client
from gleitzeit.wire.connection import ConnectionConfig, revealed
from gleitzeit.wire.exchange import Answer, Exchange, encode
from gleitzeit.wire.limits import rate_limits
from gleitzeit.wire.options import as_chat
from gleitzeit.wire.source import Parser, ResponseEvents

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Dialect", "HttpProvider", "read_reply"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
#: Seconds until secrets that were refused are asked for anew again.
_PATIENCE: Final = 10.0
_PAGES: Final = 50
#: Addresses to remember; with names of models in them there may be any number.
_URLS: Final = 256
#: Headers that may carry a credential.
_CREDENTIALS: Final = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key"})


class Dialect(Parser, Protocol):
    """A parser that reads whole answers, too."""

    #: What the answer's headers say of rate limits; set before anything is read.
    limits: RateLimits | None

    def whole(self, body: bytes, events: deque[Event]) -> None:
        """Append the events of a whole body."""


def read_reply(answer: Answer, dialect: Dialect) -> Reply:
    """What a model has answered, read by `dialect`."""
    dialect.limits = answer.limits
    events: deque[Event] = deque()
    dialect.whole(answer.body, events)
    return fold(events).evolve(raw=answer.body)


class HttpProvider(Provider):
    """Base of a provider that speaks HTTP through the host's client.

    It has the client (one of its own where proxy or certificates are its own), headers with the credential,
    health, and what an error says beyond the vendor's words. To write: `chat`, `completion` (by default a
    chat of one turn), `embedding` and `invoke`, of which those that are not written are refused, and
    `provide_models`. They send by `fetch`, `open` and `generate`, which raise `GleitzeitError`, and ask once
    more with fresh secrets where a server says 401: nothing was done then.
    """

    Config: ClassVar[Any] = ConnectionConfig
    config: ConnectionConfig
    #: What to ask for, told to those who ask for something else.
    offers: ClassVar[str] = "chat or completion"
    #: The variable that holds the key where nothing else does, for hints.
    key_variable: ClassVar[str | None] = None
    accepts: ClassVar[str] = "application/json, text/event-stream"

    def __init__(self, config: ConnectionConfig, context: Context) -> None:
        super().__init__(config, context)
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: httpx2.Headers | None = None
        self._urls: dict[str, httpx2.URL] = {}
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None
        self._renewal = asyncio.Lock()
        self._in_vain: float | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.context.name!r} at {self.config.root}>"

    # --- what a vendor writes

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        """Answer a chat."""
        raise self.unsupported(chat.kind)

    async def completion(self, request: Request, completion: Completion) -> Reply | Stream:
        """Continue a text; without an override, as a chat of one turn."""
        return await self.chat(request, as_chat(completion))

    async def embedding(self, request: Request, embedding: Embedding) -> Reply:
        """Give vectors."""
        raise self.unsupported(embedding.kind)

    async def invoke(self, request: Request, invoke: Invoke) -> Reply | Stream:
        """Answer another method."""
        raise self.unsupported(invoke.method)

    async def provide_models(self) -> list[Model]:
        """The models that the server lists."""
        return []

    async def probe(self, deep: bool) -> Health:
        """How the server fares, by a question that costs nothing; raises where it gives no answer."""
        return Health("ok", detail=f"{len(await self.provide_models())} models")

    def credential(self) -> dict[str, str]:
        """The headers that carry the credential; none without one."""
        key = revealed(self.config.api_key)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def own_headers(self) -> dict[str, str]:
        """Further headers of every request."""
        return {}

    def key_hint(self) -> str:
        """The next step for those whose key is missing or refused."""
        variable = f", or the variable {self.key_variable}" if self.key_variable else ""
        return f"set `api_key` in [providers.{self.context.name}] of gleitzeit.toml{variable}"

    def hints(self) -> dict[type[GleitzeitError], str]:
        """The next step, by class of error."""
        return {AuthenticationError: self.key_hint()}

    # --- what the host asks

    @property
    def local(self) -> bool:
        """True for a server on a loopback address; what it passes on elsewhere cannot be seen from here."""
        return self.config.loopback

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Closes the instance's own client, if one was needed."""
        try:
            yield
        finally:
            own, self._own, self._sent_headers = self._own, None, None
            if own is not None:
                await own.aclose()

    async def call(self, request: Request) -> Reply | Stream:
        """Answer, and remember what that says of the server's health."""
        operation = request.operation
        answer: Reply | Stream
        try:
            if isinstance(operation, Chat):
                answer = await self.chat(request, operation)
            elif isinstance(operation, Completion):
                answer = await self.completion(request, operation)
            elif isinstance(operation, Embedding):
                answer = await self.embedding(request, operation)
            elif isinstance(operation, Invoke):
                answer = await self.invoke(request, operation)
            else:
                raise self.unsupported(operation.kind)
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the server's health
                self._failed, self._succeeded = error, None
            raise
        self._failed, self._succeeded = None, time.monotonic()
        return answer

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by `probe`; neither costs anything.

        A server without a good list of models is healthy as long as calls go well.
        """
        if not deep and self._succeeded is not None and time.monotonic() - self._succeeded < _FRESH:
            return Health("ok", detail="the last call went well")
        begun = time.monotonic()
        try:
            found = await self.probe(deep)
        except GleitzeitError as error:
            return self._unanswered(error)
        if found.status != "ok":
            return found
        if isinstance(self._failed, AccessError):
            return Health("error", detail=f"the server answers, but calls are refused: {self._failed.code}")
        return Health("ok", detail=found.detail, latency=time.monotonic() - begun, data=found.data)

    # --- what a vendor uses

    def unsupported(self, what: str) -> UnsupportedError:
        """The refusal of what this API does not offer."""
        name = self.context.name
        return UnsupportedError(
            f"{name}: {what} is not what this API offers",
            hint=f"ask for {self.offers}",
            provider=name,
            sent=False,
        )

    @cached_property
    def exchange(self) -> Exchange:
        """Made at the first call, as the host's client is."""
        config, timeout = self.config, None
        if config.connect_timeout is not None or config.read_timeout is not None:
            connect = config.connect_timeout or self.context.http.timeout.connect
            timeout = httpx2.Timeout(None, connect=connect, read=config.read_timeout)
        exchange = Exchange(self.context.name, self._client, timeout=timeout, hints=self.hints())
        exchange.secrets = config.secrets
        return exchange

    def url(self, path: str) -> httpx2.URL:
        """The address of a path below the root."""
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= _URLS:
                self._urls.clear()
            url = self._urls[path] = httpx2.URL(self.config.root + path)
        return url

    async def fetch(
        self, method: str, url: httpx2.URL, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The whole answer to one request. A body that is no bytes goes as JSON."""
        content = body if body is None or isinstance(body, bytes) else encode(body)
        used = self.config
        try:
            return await self.exchange.fetch(method, url, self._headers(headers), content)
        except AuthenticationError as error:
            if error.status is None or not await self._renewed(used):
                raise
        return await self.exchange.fetch(method, url, self._headers(headers), content)

    async def open(
        self, method: str, url: httpx2.URL, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """An answer whose body has yet to be read; the caller closes it."""
        # As in `fetch`, and not shared with it: one more coroutine is a microsecond for every call.
        content = body if body is None or isinstance(body, bytes) else encode(body)
        used = self.config
        try:
            return await self.exchange.open(method, url, self._headers(headers), content)
        except AuthenticationError as error:
            if error.status is None or not await self._renewed(used):
                raise
        return await self.exchange.open(method, url, self._headers(headers), content)

    async def generate(
        self,
        stream: bool,
        url: httpx2.URL,
        body: object,
        dialect: Dialect,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | Stream:
        """What a model answers, read by `dialect`, which is new for each request."""
        if stream:
            return Stream(await self.events(url, body, dialect, headers))
        return read_reply(await self.fetch("POST", url, body, headers), dialect)

    async def events(
        self, url: httpx2.URL, body: object, dialect: Dialect, headers: Mapping[str, str] | None = None
    ) -> ResponseEvents:
        """The events of an answer while it arrives, for a `Stream`."""
        response = await self.open("POST", url, body, headers)
        dialect.limits = rate_limits(response.headers)
        return ResponseEvents(self.exchange, response, dialect)

    async def listed(
        self, url: httpx2.URL, read: Callable[[bytes], tuple[list[Model], Mapping[str, str] | None]]
    ) -> list[Model]:
        """The models of a list in pages; `read` gives those of one, and the query of the next."""
        models: dict[str, Model] = {}
        page = url
        for _ in range(_PAGES):
            found, following = read((await self.fetch("GET", page)).body)
            models.update((model.name, model) for model in found)
            if following is None:
                break
            page = url.copy_merge_params(following)
        return list(models.values())

    # --- inside

    def _unanswered(self, error: GleitzeitError) -> Health:
        # Who may call need not be allowed to list: only what also stops calls is an error by itself.
        if isinstance(error, AuthenticationError | WireError):
            return Health("error", detail=str(error))
        what = f"the server answers, but lists no models ({error.code})"
        if self._succeeded is not None:
            return Health("ok", detail=f"calls go well; {what}")
        if self._failed is not None:
            return Health("error", detail=f"{what}, and the last call failed: {self._failed.code}")
        return Health("unknown", detail=f"{what}, and nothing was called yet")

    async def _renewed(self, used: ConnectionConfig) -> bool:
        """Are there other secrets than those in `used`, which were refused?"""
        async with self._renewal:
            if self.config is not used:
                return True  # another call was faster
            if self._in_vain is not None and time.monotonic() - self._in_vain < _PATIENCE:
                return False
            try:
                fresh = await self.context.renewed(used)
            except ConfigError:
                fresh = used
            if fresh == used:
                self._in_vain = time.monotonic()
                return False
            self.config, self._sent_headers = fresh, None
            self.exchange.secrets = (*fresh.secrets, *used.secrets)
            return True

    def _headers(self, extra: Mapping[str, str] | None) -> httpx2.Headers:
        headers = self._sent_headers
        if headers is None:
            headers = self._sent_headers = self.exchange.headers(self._written())
        if extra:
            headers = headers.copy()
            headers.update(extra)
        return headers

    def _written(self) -> dict[str, str]:
        config = self.config
        own = {"Accept": self.accepts, "Content-Type": "application/json", **self.own_headers()}
        own |= self.credential()
        own |= {name: text.get_secret_value() for name, text in config.headers.items()}
        if config.official and not _CREDENTIALS & {name.lower() for name in own}:
            raise AuthenticationError(
                f"{self.context.name}: there is no key for {config.host}",
                hint=self.key_hint(),
                provider=self.context.name,
                sent=False,
            )
        return own

    def _client(self) -> httpx2.AsyncClient:
        """The host's client; one of our own where proxy or certificates are the instance's matter."""
        config = self.config
        if config.verify_ssl and config.proxy is None and config.ca_file is None:
            return self.context.http
        if self._own is None:
            self._own = make_client(
                {
                    "verify_ssl": config.verify_ssl,
                    "ca_file": config.ca_file,
                    "proxy": revealed(config.proxy),
                    "connect_timeout": self.context.http.timeout.connect,
                },
                place=f"providers.{self.context.name}",
            )
        return self._own
