"""The host's one HTTP client, and what its exceptions mean."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2

from gleitzeit.errors import (
    CannotConnectError,
    ConfigError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    ResetError,
)
from gleitzeit.wire.inflate import ACCEPTED

__all__ = ["CONNECT_TIMEOUT", "MAX_CONNECTIONS", "make_client", "map_http_error", "tls_context"]

#: Seconds to connect. There is no read timeout: the corridor owns deadlines and ends stalls.
CONNECT_TIMEOUT: Final = 5.0
#: Open connections over all upstreams; how many calls one upstream gets is for bulkheads to say.
MAX_CONNECTIONS: Final = 1000
#: Seconds that an idle connection is kept: below the 60 s after which the usual proxies drop it.
_KEEPALIVE: Final = 30.0
#: Idle connections that are kept: each costs every call about 11 µs, as the pool looks at all of them.
_IDLE: Final = 100
_LOOPBACK: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def make_client(
    http: Mapping[str, Any] | object | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    *,
    place: str = "host.http",
) -> httpx2.AsyncClient:
    """A client for all instances: HTTP/1.1 with keep-alive, no retries, no redirects, no cookies.

    `http` has `verify_ssl`, `ca_file`, `proxy`, `max_connections` and `connect_timeout`, as keys or
    attributes; proxies of the environment hold where it names none, but never for loopback
    addresses. With a `transport`, these are the transport's matter. Raises `ConfigError` for settings
    that cannot hold, of the table `place`.
    """
    settings = http if isinstance(http, Mapping) else {name: getattr(http, name, None) for name in _SETTINGS}
    limit = settings.get("max_connections") or MAX_CONNECTIONS
    try:
        return httpx2.AsyncClient(
            headers={"User-Agent": "gleitzeit", "Accept-Encoding": ACCEPTED},
            timeout=httpx2.Timeout(None, connect=settings.get("connect_timeout") or CONNECT_TIMEOUT),
            limits=httpx2.Limits(
                max_connections=limit,
                max_keepalive_connections=min(limit, _IDLE),
                keepalive_expiry=_KEEPALIVE,
            ),
            # One context for the direct transport and those behind proxies: each costs 10-20 ms.
            verify=True if transport is not None else tls_context(settings, place),
            proxy=None if transport is not None else settings.get("proxy") or None,
            mounts=None if transport is not None else dict.fromkeys(_LOOPBACK),
            # What one instance is given as a cookie must not travel with another's calls.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=transport,
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise ConfigError(f"[{place}]: the proxy cannot be used: {type(error).__name__}") from None


_SETTINGS: Final = ("verify_ssl", "ca_file", "proxy", "max_connections", "connect_timeout")


def tls_context(http: Mapping[str, Any] | object, place: str = "host.http") -> ssl.SSLContext:
    """What `verify_ssl` and `ca_file` mean, as keys or attributes. Takes 10-20 ms; raises `ConfigError`."""
    settings = http if isinstance(http, Mapping) else {name: getattr(http, name, None) for name in _SETTINGS}
    if settings.get("verify_ssl") is False:
        return httpx2.create_ssl_context(verify=False)
    ca_file = settings.get("ca_file")
    if not ca_file:
        return httpx2.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"[{place}] ca_file: {ca_file}: {reason}") from None


_NO_RESPONSE: Final = "the connection was closed before an answer came"
_MEANINGS: Final[tuple[tuple[type[Exception], type[GleitzeitError], str], ...]] = (
    (httpx2.ConnectTimeout, CannotConnectError, "connecting took too long"),
    (httpx2.PoolTimeout, CannotConnectError, "no connection became free in time"),
    (httpx2.ConnectError, CannotConnectError, "cannot connect"),
    (httpx2.ProxyError, CannotConnectError, "the proxy gives no connection"),
    (httpx2.ReadTimeout, DeadlineError, "no byte came within the read timeout"),
    (httpx2.WriteTimeout, DeadlineError, "the request could not be written in time"),
    (httpx2.LocalProtocolError, InvalidRequestError, "the request is not valid HTTP"),
    (httpx2.DecodingError, MalformedAnswerError, "the answer's content encoding is broken"),
    (httpx2.RemoteProtocolError, ResetError, "the answer broke off, or is not HTTP"),
    (httpx2.ReadError, ResetError, "the connection was reset while reading"),
    (httpx2.WriteError, ResetError, "the connection was reset while writing"),
    (httpx2.TransportError, ResetError, "the connection failed"),
    (OSError, ResetError, "the connection failed"),
)
_HINTS: Final[Mapping[type[Exception], str]] = {
    httpx2.ConnectError: "check the address and that the server runs",
    httpx2.ConnectTimeout: "check the address and that the server runs",
    httpx2.LocalProtocolError: "check the configured key and headers for line breaks and foreign characters",
}


def map_http_error(error: Exception, *, provider: str | None = None, url: object = None) -> GleitzeitError:
    """Our error for an exception of the HTTP client, with what is known of `sent`.

    Only the reason of a failed connection is quoted: other texts may repeat headers or content.
    """
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return InvalidRequestError(
            f"{_where(provider, url)}the address is not an http:// or https:// URL",
            hint="correct `base_url`",
            provider=provider,
            sent=False,
        )
    kind, ours, what = next((row for row in _MEANINGS if isinstance(error, row[0])), _MEANINGS[-1])
    if isinstance(error, httpx2.ConnectError) and str(error):
        what = f"{what}: {str(error)[:200]}"
    elif isinstance(error, httpx2.RemoteProtocolError) and "without sending" in str(error):
        what = _NO_RESPONSE
    return ours(
        f"{_where(provider, url)}{what}",
        hint=_HINTS.get(kind),
        provider=provider,
        sent=not issubclass(ours, CannotConnectError | InvalidRequestError),
    )


def _where(provider: str | None, url: object) -> str:
    """Instance and address, without user, path and query, where keys may stand."""
    place = ""
    if url is not None:
        parsed = httpx2.URL(str(url))
        place = f"{parsed.scheme}://{parsed.netloc.decode('ascii', 'replace')}"
    return (
        f"{provider} at {place}: "
        if provider and place
        else f"{provider or place}: "
        if provider or place
        else ""
    )
