"""The HTTP side of an instance: its client, addresses and headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import httpx2

from gleitzeit.errors import AuthenticationError, GleitzeitError
from gleitzeit.plugin import Provider
from gleitzeit.wire.client import make_client
from gleitzeit.wire.exchange import Exchange
from gleitzeit_plugin_openai.config import OpenAIConfig

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Connected"]


#: Addresses to remember; with deployments in them there may be any number.
_URLS: Final = 256


class Connected(Provider):
    """A provider that speaks HTTP through the host's client, or one of its own."""

    #: The variable that holds the key where nothing else does.
    key_variable: ClassVar[str] = "OPENAI_API_KEY"

    def __init__(self, config: OpenAIConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: httpx2.Headers | None = None
        self._urls: dict[str, httpx2.URL] = {}
        self._key = config.api_key.get_secret_value() if config.api_key is not None else ""

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Closes the instance's own client, if one was needed."""
        try:
            yield
        finally:
            own, self._own, self._sent_headers = self._own, None, None
            if own is not None:
                await own.aclose()

    @cached_property
    def _exchange(self) -> Exchange:
        """Made at the first call, as the host's client is."""
        settings = self._settings
        timeout = None
        if settings.connect_timeout is not None or settings.read_timeout is not None:
            connect = settings.connect_timeout or self.context.http.timeout.connect
            timeout = httpx2.Timeout(None, connect=connect, read=settings.read_timeout)
        exchange = Exchange(self.context.name, self._client, timeout=timeout, hints=self._hints())
        exchange.secrets = tuple(text for text in self._secrets() if len(text) >= 4)
        return exchange

    def _client(self) -> httpx2.AsyncClient:
        """The host's client; one of our own only where certificates must not be checked."""
        if self._settings.verify_ssl:
            return self.context.http
        if self._own is None:
            connect = self.context.http.timeout.connect
            self._own = make_client({"verify_ssl": False, "connect_timeout": connect})
        return self._own

    def _hints(self) -> dict[type[GleitzeitError], str]:
        """The next step, by class of error."""
        return {AuthenticationError: self._key_hint()}

    def _secrets(self) -> list[str]:
        """What must appear in no error."""
        return [self._key, *(text.get_secret_value() for text in self._settings.headers.values())]

    def _url(self, path: str, model: str | None = None) -> httpx2.URL:
        """The address of a path; `model` is what the request there is about."""
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= _URLS:
                self._urls.clear()
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
        own |= self._credential()
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

    def _credential(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _key_hint(self) -> str:
        name, variable = self.context.name, self.key_variable
        return f"set `api_key` in [providers.{name}] of gleitzeit.toml, or the variable {variable}"
