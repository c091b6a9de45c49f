"""Addresses: how ours are written, what gRPC calls them, and who can reach them."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from attrs import frozen

from gleitzeit.errors import ConfigError

__all__ = ["Address", "parse"]

_FORMS = "write grpc://HOST:PORT, grpcs://HOST:PORT (TLS) or unix:/PATH"


@frozen
class Address:
    """`target` in gRPC's words; `tls` None where the address does not say."""

    target: str
    tls: bool | None
    #: Can nobody beyond this machine reach it, or hear what travels?
    local: bool


def parse(text: str, where: str) -> Address:
    """Read `grpc://host:port`, `grpcs://host:port`, `host:port` or `unix:/path`; `where` is for the error."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("//") else path
        if not path.startswith("/"):
            raise ConfigError(f"{where}: {text!r} names no absolute path", hint=_FORMS)
        return Address(f"unix:{path}", None, local=True)
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "", text
    if scheme not in ("", "grpc", "grpcs"):
        raise ConfigError(f"{where}: {scheme}:// is no address for gRPC", hint=_FORMS)
    split = urlsplit(f"//{rest}")
    try:
        host, port = split.hostname, split.port
    except ValueError:
        host = port = None
    if not host or port is None or split.username is not None or split.path.strip("/") or split.query:
        # Not quoted: it may hold a password.
        raise ConfigError(f"{where}: expected a host and a port and nothing else", hint=_FORMS)
    bare = f"[{host}]" if ":" in host else host
    return Address(f"{bare}:{port}", None if not scheme else scheme == "grpcs", local=_loopback(host))


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
