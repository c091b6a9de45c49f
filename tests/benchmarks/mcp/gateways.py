"""The gateways that are compared: each stands before one server and serves streamable HTTP itself.

A further one is an entry in `GATEWAYS` and, where its packages do not go together with ours, a file of
pinned versions in `tests/benchmarks/environments/gateways`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.benchmarks.machine import installed
from tests.benchmarks.mcp import FOLDER, LOCAL, TOOL
from tests.benchmarks.peers import python_in
from tests.benchmarks.process import BenchError

#: Seconds that a gateway may take until it accepts connections; one of them migrates a data base first.
PATIENCE: Final = 180

_LOCAL: Final[list[str]] = [LOCAL["command"], *LOCAL["args"]]
_CONFIG: Final = "[servers.bench]\n" + "".join(f"{key} = {json.dumps(LOCAL[key])}\n" for key in LOCAL)


@dataclass(frozen=True)
class Gateway:
    """What is known of a gateway without starting it.

    `command` gives its arguments for a Python, a port, the URL of the server, and a folder of its own.
    `register` tells it of the server once it runs. `tool` is what it calls the tool, `path` where it serves.
    """

    title: str
    distribution: str
    command: Callable[[str, str, str, Path], list[str]]
    environment: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    register: Callable[[str, str], None] | None = None
    tool: str = TOOL
    path: str = "/mcp"

    def missing(self) -> str | None:
        """Why it cannot be measured here, None where it can."""
        if self.environment is None:
            return None if installed(self.distribution) else f"{self.distribution} is not installed"
        if python_in(self.environment) is None:
            made = "the session bench makes it, where packages can be had"
            return f"not here: no environment {self.environment}; {made}"
        return None

    @property
    def python(self) -> str:
        """The interpreter that has its packages."""
        found = sys.executable if self.environment is None else python_in(self.environment)
        assert found is not None
        return found

    def version(self) -> str:
        """What of it is installed."""
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        command = [self.python, "-c", code, self.distribution]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _ours(python: str, port: str, url: str, folder: Path) -> list[str]:
    file = folder / "bench.toml"
    file.write_text(_CONFIG, encoding="utf-8")
    words = ["--transport", "http", "--port", port, "--bare", "bench", "--config", str(file)]
    return [python, "-m", "gleitzeit.cli", "mcp", "serve", *words]


def _mcp_proxy(python: str, port: str, url: str, folder: Path) -> list[str]:
    words = ["--log-level", "ERROR", "--host", "127.0.0.1", "--port", port, "--"]
    return [python, "-m", "mcp_proxy", *words, *_LOCAL]


def _fastmcp(python: str, port: str, *target: str) -> list[str]:
    return [python, "-I", str(FOLDER / "fastmcp_proxy.py"), port, *target]


def _contextforge(python: str, port: str, url: str, folder: Path) -> list[str]:
    return [python, "-m", "mcpgateway.cli", "--host", "127.0.0.1", "--port", port]


def _register(base: str, url: str) -> None:
    body = {"name": "bench", "url": url, "transport": "STREAMABLEHTTP", "visibility": "public"}
    data, head = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{base}/gateways", data, head)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        answer.read()


GATEWAYS: Final[dict[str, Gateway]] = {
    "gleitzeit": Gateway("gleitzeit mcp serve", "gleitzeit-plugin-mcp", _ours),
    "mcp-proxy": Gateway("mcp-proxy", "mcp-proxy", _mcp_proxy, "mcp-proxy"),
    "fastmcp-stdio": Gateway(
        "FastMCP proxy to stdio",
        "fastmcp",
        lambda python, port, url, folder: _fastmcp(python, port, *_LOCAL),
        "fastmcp",
    ),
    "fastmcp-http": Gateway(
        "FastMCP proxy to HTTP",
        "fastmcp",
        lambda python, port, url, folder: _fastmcp(python, port, url),
        "fastmcp",
    ),
    "contextforge": Gateway(
        "ContextForge to HTTP",
        "mcp-contextforge-gateway",
        _contextforge,
        "contextforge",
        # Open to everybody and without limits, with its own defaults otherwise; the secrets are of this run.
        (
            ("AUTH_REQUIRED", "false"),
            ("MCP_REQUIRE_AUTH", "false"),
            ("ALLOW_UNAUTHENTICATED_ADMIN", "true"),
            ("SSRF_ALLOW_LOCALHOST", "true"),
            ("RATE_LIMITING_ENABLED", "false"),
            ("TOOL_RATE_LIMIT", "1000000"),
            ("LOG_LEVEL", "ERROR"),
            ("JWT_SECRET_KEY", secrets.token_urlsafe(48)),
            ("AUTH_ENCRYPTION_SECRET", secrets.token_urlsafe(48)),
        ),
        _register,
        "bench-echo",
        "/mcp/",
    ),
}


class Running:
    """A started gateway with its children; ends with the context."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self._gateway, self._url = gateway, url
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._port = _free()
        folder = Path(self._folder.name)
        # Nothing of this environment: it may hold settings of any of them.
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "NO_PROXY": "127.0.0.1"}
        self.begin = time.perf_counter()
        self._process = subprocess.Popen(
            gateway.command(gateway.python, str(self._port), url, folder),
            env={**env, **dict(gateway.settings)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entry(self) -> dict[str, Any]:
        """How a client reaches its tool, once it runs; raises `BenchError` where it does not come up."""
        base, register = f"http://127.0.0.1:{self._port}", self._gateway.register
        while not self._accepts():
            if self._process.poll() is not None:
                raise BenchError(f"it ended with {self._process.returncode}: {self._tail()}")
            if time.perf_counter() - self.begin > PATIENCE:
                raise BenchError(f"it did not listen within {PATIENCE} s: {self._tail()}")
            time.sleep(0.02)
        if register is not None:
            try:
                register(base, self._url)
            except OSError as error:
                raise BenchError(f"it does not take the server: {error}; {self._tail()}") from None
        return {"url": base + self._gateway.path, "tool": self._gateway.tool}

    def close(self) -> None:
        """End it and whatever it started. Idempotent."""
        if self._process.returncode is None:
            try:
                self._end(signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self._end(signal.SIGKILL)
        self._errors.close()
        self._folder.cleanup()

    def _end(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        self._process.wait(5)

    def cpu(self) -> float | None:
        """Seconds of CPU that it has used, without its children; None where the system does not say."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][-300:] if lines else "no word"


def _free() -> int:
    """A port that nobody listens at, and below those that the system gives to clients by itself."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
