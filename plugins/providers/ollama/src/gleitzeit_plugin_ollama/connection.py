"""The HTTP side of an instance: its client, addresses, headers and downloads."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import httpx2
import msgspec

from gleitzeit.errors import AuthenticationError, GleitzeitError
from gleitzeit.wire.client import make_client
from gleitzeit.wire.exchange import Answer, Exchange, shut
from gleitzeit_plugin_ollama.config import OllamaConfig
from gleitzeit_plugin_ollama.downloads import read_pull, refused
from gleitzeit_plugin_ollama.pulls import Tell

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Connection", "encode"]

encode: Final = msgspec.json.Encoder().encode


class Connection:
    """Sends requests to one server. Every method raises `GleitzeitError` where that fails."""

    def __init__(self, settings: OllamaConfig, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._own: httpx2.AsyncClient | None = None
        self._sent_headers: httpx2.Headers | None = None
        self._key = settings.api_key.get_secret_value() if settings.api_key is not None else ""

    async def send(self, method: str, path: str, body: Any = None) -> Answer:
        """The whole answer to one request; `body` is bytes, or goes as JSON."""
        content = body if body is None or isinstance(body, bytes) else encode(body)
        return await self.exchange.fetch(method, self._url(path), self._headers(), content)

    async def open(self, path: str, content: bytes) -> httpx2.Response:
        """An answer whose body has yet to be read; the caller closes it."""
        return await self.exchange.open("POST", self._url(path), self._headers(), content)

    async def pull(self, model: str, tell: Tell) -> None:
        """Download a model, and close the connection whatever comes."""
        self._context.logger.info("pulling model %s", model)
        try:
            response = await self.open("/api/pull", encode({"model": model, "stream": True}))
        except GleitzeitError as error:
            raise refused(model, error) from None
        chunks = self.exchange.chunks(response)
        try:
            await read_pull(model, chunks, self.exchange.error, tell)
        except (httpx2.HTTPError, OSError) as error:
            raise self.exchange.broken(error, response.request.url) from None
        finally:
            await shut(response, chunks)
        self._context.logger.info("model %s is there", model)
        self._context.changed()

    async def aclose(self) -> None:
        """Close the instance's own client, if one was needed."""
        own, self._own, self._sent_headers = self._own, None, None
        if own is not None:
            await own.aclose()

    @cached_property
    def exchange(self) -> Exchange:
        """Made at the first call, as the host's client is."""
        settings, name = self._settings, self._context.name
        timeout = None
        if settings.connect_timeout is not None or settings.read_timeout is not None:
            connect = settings.connect_timeout or self._context.http.timeout.connect
            timeout = httpx2.Timeout(None, connect=connect, read=settings.read_timeout)
        hint = f"set `api_key` in [providers.{name}] of gleitzeit.toml"
        exchange = Exchange(name, self._client, timeout=timeout, hints={AuthenticationError: hint})
        secrets = [text.get_secret_value() for text in settings.headers.values()]
        exchange.secrets = tuple(text for text in (self._key, *secrets) if len(text) >= 4)
        return exchange

    def _client(self) -> httpx2.AsyncClient:
        """The host's client; one of our own only where certificates must not be checked."""
        if self._settings.verify_ssl:
            return self._context.http
        if self._own is None:
            connect = self._context.http.timeout.connect
            self._own = make_client({"verify_ssl": False, "connect_timeout": connect})
        return self._own

    def _url(self, path: str) -> httpx2.URL:
        return httpx2.URL(self._settings.base_url + path)

    def _headers(self) -> httpx2.Headers:
        headers = self._sent_headers
        if headers is None:
            own = {"Accept": "application/json, application/x-ndjson", "Content-Type": "application/json"}
            if self._key:
                own["Authorization"] = f"Bearer {self._key}"
            own.update((name, text.get_secret_value()) for name, text in self._settings.headers.items())
            headers = self._sent_headers = self.exchange.headers(own)
        return headers
