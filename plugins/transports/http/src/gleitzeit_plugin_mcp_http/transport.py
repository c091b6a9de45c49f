"""MCP over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx2

from gleitzeit.errors import ConfigError
from gleitzeit.kinds import Context, Endpoint
from gleitzeit.plugin import Plugin
from gleitzeit.wire.client import make_client
from gleitzeit.wire.closing import surely
from gleitzeit_plugin_mcp_http.link import Link
from gleitzeit_plugin_mcp_http.oauth import OAuth
from gleitzeit_plugin_mcp_http.settings import McpHttpConfig, ServerOptions, server_options
from gleitzeit_plugin_mcp_http.tokens import FileTokens, MemoryTokens, TokenStore
from gleitzeit_plugin_mcp_http.wire import HttpWire

__all__ = ["McpHttpTransport"]


class McpHttpTransport(Plugin):
    """Reaches servers over HTTP; see `gleitzeit.kinds.Transport`.

    `tokens` keeps what OAuth gave, in place of the file that the configuration names.
    """

    Config: ClassVar[Any] = McpHttpConfig
    manifest: ClassVar[Any] = {"summary": "MCP over HTTP: streamable, stateless, and HTTP+SSE, with OAuth."}
    config: McpHttpConfig

    def __init__(
        self, config: McpHttpConfig | None, context: Context, tokens: TokenStore | None = None
    ) -> None:
        super().__init__(config or McpHttpConfig(), context)
        file = self.config.token_file
        self._tokens = tokens or (MemoryTokens() if file is None else FileTokens(file))
        self._clients: dict[tuple[Any, ...], asyncio.Future[httpx2.AsyncClient]] = {}
        self._authorities: dict[tuple[Any, ...], OAuth] = {}
        #: Addresses that turned out to speak HTTP+SSE.
        self._older: set[str] = set()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Closes the connections of servers that have settings of their own, and ends what signs in."""
        try:
            yield
        finally:
            for authority in self._authorities.values():
                await authority.close()
            for making in self._clients.values():
                await (await making).aclose()
            self._authorities.clear()
            self._clients.clear()

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[HttpWire]:
        """A wire to the server at the endpoint's `url`, with its headers on every request.

        Nothing is connected before the first message, but for HTTP+SSE, where what fails raises here.
        Raises `ConfigError` for an address or options that cannot be meant.
        """
        name = endpoint.name
        url = _address(endpoint)
        options = server_options(name, self.config, endpoint.options)
        client = await self._client(options)
        authority = self._authority(endpoint, url, options, client)
        link = Link(
            name,
            url,
            client,
            headers=endpoint.headers,
            authority=authority,
            connect_timeout=options.connect_timeout or client.timeout.connect,
            read_timeout=options.read_timeout,
            secrets=endpoint.options.get("secrets", endpoint.headers.values()),
        )
        address = str(url)
        wire = HttpWire(
            link,
            limit=options.max_message_bytes,
            auto=options.mode == "auto",
            found=lambda: self._older.add(address),
        )
        try:
            if options.mode == "sse" or (options.mode == "auto" and address in self._older):
                self._older.discard(address)  # whatever fails now is found out anew
                await wire.open_sse()
                self._older.add(address)
            yield wire
        finally:
            await surely(wire.close())

    async def _client(self, options: ServerOptions) -> httpx2.AsyncClient:
        """The host's client, or one for the settings that differ from the host's."""
        given = (options.verify_ssl, options.ca_file, options.proxy)
        if given == (None, None, None):
            return self.context.http
        making = self._clients.get(given)
        if making is None:
            verify, ca_file, proxy = given
            settings = {"verify_ssl": verify, "ca_file": ca_file, "proxy": proxy}
            # A context for TLS takes long to make.
            making = self._clients[given] = asyncio.ensure_future(asyncio.to_thread(make_client, settings))
        try:
            return await asyncio.shield(making)
        except ConfigError:
            self._clients.pop(given, None)
            raise

    def _authority(
        self, endpoint: Endpoint, url: httpx2.URL, options: ServerOptions, client: httpx2.AsyncClient
    ) -> OAuth | None:
        """What gets tokens for the server; one for all its connections, so that they share a sign-in.

        Each principal has its own.
        """
        if options.oauth is None:
            return None
        key = (endpoint.name, str(url), options, endpoint.principal)
        if key not in self._authorities:
            self._authorities[key] = OAuth(
                endpoint.name,
                str(url),
                options.oauth,
                self._tokens,
                client,
                self.context.logger,
                principal=endpoint.principal,
            )
        return self._authorities[key]


def _address(endpoint: Endpoint) -> httpx2.URL:
    what = f"servers.{endpoint.name}.url"
    if endpoint.url is None:
        raise ConfigError(f"{what} is missing", hint="give the address of the server, such as https://…/mcp")
    try:
        url = httpx2.URL(endpoint.url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError(f"{what} is no URL", hint="write it as https://HOST/PATH") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{what} is no http:// or https:// URL", hint="write it as https://HOST/PATH")
    return url
