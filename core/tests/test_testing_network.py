"""The switch that forbids real requests."""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.testing import NetworkForbidden, forbid_network

# `_socket` is asked directly, as the guard of this repository's own tests stands before `socket`.
OUTSIDE = ("192.0.2.1", 443)


def dial(address: tuple[str, int] = OUTSIDE, family: int = socket.AF_INET, how: str = "connect") -> None:
    kind = socket.SOCK_STREAM if how.startswith("connect") else socket.SOCK_DGRAM
    sock: Any = _socket.socket(family, kind)
    with contextlib.closing(sock):
        if how == "sendto":
            sock.sendto(b"x", address)
        elif how == "sendmsg":
            sock.sendmsg([b"x"], [], 0, address)
        else:
            getattr(sock, how)(address)


def dial_and_swallow() -> None:
    with contextlib.suppress(NetworkForbidden):
        dial()


@pytest.mark.parametrize(
    "attempt",
    [
        dial,
        lambda: dial(how="connect_ex"),
        lambda: dial(("2001:db8::1", 443), socket.AF_INET6),
        lambda: dial(("::ffff:192.0.2.1", 443), socket.AF_INET6),
        lambda: dial(how="sendto"),
        lambda: dial(how="sendmsg"),
        lambda: _socket.getaddrinfo("models.example", 443),
        lambda: _socket.getaddrinfo(b"models.example", 443),
        lambda: _socket.gethostbyname("models.example"),
        lambda: _socket.gethostbyaddr("models.example"),
    ],
)
def test_what_leads_beyond_this_machine_raises(attempt: Callable[[], object]) -> None:
    with pytest.raises(NetworkForbidden, match=r"tried to (connect to|look up) "), forbid_network():
        attempt()


def test_an_attempt_whose_error_was_swallowed_raises_at_the_end() -> None:
    with pytest.raises(NetworkForbidden, match=r"192\.0\.2\.1 port 443"), forbid_network():
        dial_and_swallow()


def test_an_attempt_in_another_thread_is_noticed() -> None:
    with pytest.raises(NetworkForbidden), forbid_network(), ThreadPoolExecutor(1) as pool:
        pool.submit(dial_and_swallow)


def test_a_swallowed_attempt_does_not_hide_another_error() -> None:
    def dial_and_fail() -> None:
        dial_and_swallow()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), forbid_network() as guard:
        dial_and_fail()
    assert guard.attempts == ["connect to 192.0.2.1 port 443"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_works(host: str) -> None:
    with (
        forbid_network(),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1])) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"


def test_unix_sockets_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a long path does not fit into the address of a socket
    with forbid_network(), socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        assert client.getpeername() == "s"


def test_the_innermost_block_is_told() -> None:
    with forbid_network() as outer, pytest.raises(NetworkForbidden), forbid_network() as inner:
        dial()
    assert (len(outer.attempts), len(inner.attempts)) == (0, 1)


def test_after_the_block_nothing_is_forbidden() -> None:
    with forbid_network():
        pass
    sys.audit("socket.getaddrinfo", "models.example", 443, 0, 0, 0)


PYTEST = """
import socket
import pytest

pytest_plugins = ["gleitzeit.testing.offline"]

def test_dials():
    with pytest.raises(Exception):
        socket.create_connection(("192.0.2.1", 443), timeout=1)

def test_stays():
    socket.getaddrinfo("localhost", 1)
"""


def test_as_a_pytest_plugin_it_fails_the_test_that_dials(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["gleitzeit.testing.offline"]\n')
    (tmp_path / "test_it.py").write_text(
        PYTEST.replace('pytest_plugins = ["gleitzeit.testing.offline"]\n', "")
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=line", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ERROR test_it.py::test_dials" in run.stdout
    assert "connect to 192.0.2.1 port 443" in run.stdout
    assert "PASSED test_it.py::test_stays" in run.stdout


def test_the_testing_package_needs_neither_pytest_nor_hypothesis_until_they_are_used() -> None:
    code = (
        "import sys; import gleitzeit.testing as t; t.forbid_network; t.ProviderCase; t.verify; "
        "sys.exit(bool({'pytest', 'hypothesis'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
