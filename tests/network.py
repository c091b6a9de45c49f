"""No test reaches beyond this machine; one that tries fails, even if it swallows the error.

Names under `.invalid` never exist (RFC 6761): looking one up fails at once, as outside, and is allowed.
Child processes are not covered, nor uvloop, which does not go through `socket`.
"""

import ipaddress
import socket
from collections.abc import Callable, Generator
from typing import Any

import pytest

_offences: list[str] = []


class OutsideError(RuntimeError):
    """A test tried to reach something that is not on this machine."""


def _refuse(what: str) -> OutsideError:
    text = f"this test tried to {what}; tests talk to loopback only (tests/network.py)"
    _offences.append(text)
    return OutsideError(text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(host: object) -> bool:
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        return host is None
    host = host.rstrip(".").lower()
    if host in ("", "localhost", "ip6-localhost", socket.gethostname().lower()) or host.endswith(
        ".localhost"
    ):
        return True
    if not _is_address(host):
        return False
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _check_connect(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
        raise _refuse(f"connect to {address[0]!r} port {address[1]}")


def _check_lookup(host: Any) -> None:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if isinstance(text, str) and text.rstrip(".").lower().endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if not _is_here(text) and not (isinstance(text, str) and _is_address(text)):
        raise _refuse(f"look up {text!r}")


def _guard_sockets() -> None:
    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guarded_method(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        setattr(socket, name, _guarded_lookup(getattr(socket, name)))


def _guarded_method(real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(sock: socket.socket, *args: Any) -> Any:
        _check_connect(sock, args[-1])  # the address is the last argument of all three
        return real(sock, *args)

    return guarded


def _guarded_lookup(real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check_lookup(host)
        return real(host, *args, **kwargs)

    return guarded


_guard_sockets()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _offences:
        report.outcome = "failed"
        report.longrepr = "\n".join([*_offences, str(report.longrepr or "")]).rstrip()
        _offences.clear()
    return report
