"""Where a request's connection leads: straight to its server, or by a proxy."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.request import getproxies

import httpx2

__all__ = ["Proxy", "Route", "Routes"]

#: As with the stock transport: what runs on this machine is never asked for through a proxy.
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_PORTS: Final = {"http": 80, "https": 443}
#: Routes that are remembered; a program that asks ever other servers must not grow by it.
_MANY: Final = 1024


class Proxy(NamedTuple):
    """An HTTP proxy. Its headers may hold a password."""

    host: str
    port: int
    tls: bool
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __repr__(self) -> str:
        return f"<Proxy {self.host}:{self.port}>"


class Route(NamedTuple):
    """Requests of one route can share connections."""

    host: str
    port: int
    tls: bool
    #: The name that the server's certificate must have.
    name: str = ""
    proxy: Proxy | None = None

    @property
    def forward(self) -> bool:
        """Does the proxy read the requests? Else it only passes on bytes."""
        return self.proxy is not None and not self.tls


def read_proxy(address: str) -> Proxy:
    """Raises `ValueError` for what is no URL of an HTTP proxy, without quoting it."""
    proxy = httpx2.Proxy(address if "://" in address else f"http://{address}")
    if proxy.url.scheme not in _PORTS:
        raise ValueError("only http:// and https:// proxies")
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if proxy.raw_auth is not None:
        headers = ((b"Proxy-Authorization", b"Basic " + b64encode(b":".join(proxy.raw_auth))),)
    port = proxy.url.port or _PORTS[proxy.url.scheme]
    return Proxy(proxy.url.host, port, proxy.url.scheme == "https", headers)


class Routes:
    """Finds routes, and remembers them. `proxy` is the operator's; without it the environment's hold.

    The environment is read once. Raises `ValueError` for proxies that cannot be used.
    """

    def __init__(
        self, proxy: str | None = None, environment: Callable[[], Mapping[str, str]] = getproxies
    ) -> None:
        found = {"all": proxy} if proxy else environment()
        self._proxies = {
            scheme: read_proxy(found[scheme]) for scheme in ("http", "https", "all") if found.get(scheme)
        }
        self._direct = [] if proxy else [word.strip().lower() for word in found.get("no", "").split(",")]
        self._known: dict[tuple[bytes, bytes, int | None, str | None], Route] = {}

    def find(self, url: httpx2.URL, name: str | None = None) -> Route:
        """The route to a URL's server; `name` is another name for its certificate.

        Raises `httpx2.UnsupportedProtocol`.
        """
        key = (url.raw_scheme, url.raw_host, url.port, name)
        route = self._known.get(key)
        if route is None:
            if len(self._known) >= _MANY:
                self._known.clear()
            route = self._known[key] = self._make(url, name)
        return route

    def _make(self, url: httpx2.URL, name: str | None) -> Route:
        if url.scheme not in _PORTS or not url.host:
            raise httpx2.UnsupportedProtocol("the address is not an http:// or https:// URL")
        host = url.raw_host.decode("ascii")
        port, tls = url.port or _PORTS[url.scheme], url.scheme == "https"
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy is not None and (host in _LOOPBACK or self._excepted(host.lower(), port)):
            proxy = None
        if proxy is not None and not tls:
            return Route(proxy.host, proxy.port, False, "", proxy)
        return Route(host, port, tls, (name or host) if tls else "", proxy)

    def _excepted(self, host: str, port: int) -> bool:
        """Does NO_PROXY name this host: itself, a domain above it, or a network around it?"""
        for word in self._direct:
            if word == "*":
                return True
            word, _, wanted = word.rpartition(":") if word.count(":") == 1 else (word, "", "")
            if not word or (wanted and wanted != str(port)):
                continue
            if host in (word, word.strip("[]")) or host.endswith(word if word[0] == "." else f".{word}"):
                return True
            if "/" in word and _within(host, word):
                return True
        return False


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
