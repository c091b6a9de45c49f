"""One switch that forbids real requests: only this machine can be reached while it is on."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["NetworkForbidden", "NetworkGuard", "forbid_network"]

_LOOKUPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SENDS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class NetworkForbidden(RuntimeError):
    """Something tried to reach beyond this machine; no `OSError`, or it would pass for a fault of a wire."""


class NetworkGuard:
    """What was tried while the network was forbidden, as texts such as `connect to 192.0.2.1 port 443`."""

    def __init__(self) -> None:
        self.attempts: list[str] = []


_guards: list[NetworkGuard] = []
_hooked = False


@contextmanager
def forbid_network() -> Iterator[NetworkGuard]:
    """Let every attempt to reach beyond this machine raise `NetworkForbidden`, in all threads.

    An attempt whose error was swallowed raises when the block is left. Loopback addresses, names
    of loopback and Unix sockets work. It sees what goes through Python's sockets: not child
    processes, and not event loops with their own sockets, such as uvloop. Of nested blocks the
    innermost is told.
    """
    global _hooked
    if not _hooked:  # an audit hook stays for ever, so there is one; it also sees callers of `_socket`
        sys.addaudithook(_audit)
        _hooked = True
    guard = NetworkGuard()
    _guards.append(guard)
    try:
        yield guard
    finally:
        _guards.remove(guard)
    if guard.attempts:
        raise _forbidden(guard.attempts)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guards:
        return
    if event in _SENDS:
        sock, address = arguments
        if sock.family not in _INTERNET or not isinstance(address, tuple) or _is_here(address[0]):
            return
        what = f"connect to {address[0]} port {address[1]}"
    elif event in _LOOKUPS:
        host = arguments[0]
        if _is_here(host) or _is_address(host):
            return
        what = f"look up {_text(host)}"
    else:
        return
    _guards[-1].attempts.append(what)
    raise _forbidden([what])


def _forbidden(attempts: list[str]) -> NetworkForbidden:
    tried = ", ".join(dict.fromkeys(attempts))
    return NetworkForbidden(
        f"the network is forbidden here, but something tried to {tried}; use a loopback server"
    )


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(host: object) -> bool:
    if host is None:
        return True
    name = _text(host).rstrip(".").lower()
    if name in ("", "localhost", "ip6-localhost") or name.endswith(".localhost"):
        return True
    if not _is_address(name):
        return False
    address = ipaddress.ip_address(name.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return bool(address.is_loopback or address.is_unspecified)
