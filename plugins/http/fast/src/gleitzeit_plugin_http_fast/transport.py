"""The transport under the host's HTTP client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable
from typing import Any, Final

import httpx2

from gleitzeit_plugin_http_fast.dial import dial
from gleitzeit_plugin_http_fast.head import build_head
from gleitzeit_plugin_http_fast.pool import Pool
from gleitzeit_plugin_http_fast.routes import Route, Routes

__all__ = ["FastTransport"]

_NONE: Final[dict[str, Any]] = {}


class FastTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 over asyncio, parsed by llhttp; for one event loop.

    `context` is for servers and https:// proxies alike. `proxy` is a URL; None asks the environment,
    `""` neither. `keepalive` is how many seconds an idle connection is kept. Nothing is ever sent twice.
    Raises `ValueError` for a proxy that it cannot use.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        proxy: str | None = None,
        max_connections: int = 1000,
        keepalive: float = 30.0,
        connect_timeout: float | None = None,
    ) -> None:
        self._context = httpx2.create_ssl_context() if context is None else context
        self._context.set_alpn_protocols(["http/1.1"])
        self._routes = Routes(environment=dict) if proxy == "" else Routes(proxy)
        self._pool = Pool(max_connections, keepalive)
        self._connect_timeout = connect_timeout

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; gives the response as soon as its head is there.

        Honours the extensions `timeout`, `sni_hostname` and `target`. Raises the exceptions of httpx2 that
        the stock transport raises. Cancelled, it closes the connection.
        """
        extensions = request.extensions
        timeouts = extensions.get("timeout") or _NONE
        url = request.url
        route = self._routes.find(url, extensions.get("sni_hostname"))
        method = request.method.encode("ascii", "replace")
        headers = request.headers.raw
        target = extensions.get("target")
        if target is None:
            target = url.raw_path
            if route.forward:
                target, headers = _forwarded(url, target, headers, route)
        head = build_head(method, target, headers)
        body: bytes | AsyncIterable[bytes]
        try:
            body = request.content
        except httpx2.RequestNotRead:
            if not isinstance(request.stream, httpx2.AsyncByteStream):
                raise RuntimeError("an async transport cannot send the body of a sync request") from None
            body = request.stream
        connection = await self._pool.lease(route, timeouts.get("pool"))
        if connection is None:
            connection = await self._dial(route, timeouts.get("connect", self._connect_timeout))
        answer = await connection.ask(head, body, method, timeouts.get("write"), timeouts.get("read"))
        return httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=answer,
            extensions={"http_version": answer.version, "reason_phrase": answer.reason},
        )

    async def aclose(self) -> None:
        """Close all connections; what is under way ends with an error."""
        await self._pool.aclose()

    async def _dial(self, route: Route, seconds: float | None) -> Any:
        try:
            connection = await dial(self._pool, route, self._context, seconds)
        except BaseException:
            self._pool.free()
            raise
        if self._pool.closed:
            connection.abort(httpx2.ConnectError("closed"))
            self._pool.free()
            raise httpx2.ConnectError("the transport is closed")
        return connection


def _forwarded(
    url: httpx2.URL, path: bytes, headers: list[tuple[bytes, bytes]], route: Route
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What a proxy wants that reads the request: the whole address, and its own headers before the others."""
    assert route.proxy is not None
    if path == b"*":
        path = b""
    own = {name.lower() for name, _ in headers}
    extra = [field for field in route.proxy.headers if field[0].lower() not in own]
    return b"%s://%s%s" % (url.raw_scheme, url.netloc, path), [*extra, *headers]
