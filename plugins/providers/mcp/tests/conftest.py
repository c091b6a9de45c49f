"""Providers of scripted and published servers."""

import asyncio
import json
import os
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from gleitzeit_plugin_mcp import McpConfig, McpProvider
from gleitzeit_plugin_mcp.eras import ERAS
from gleitzeit_plugin_mcp.supervisor import Supervisor
from gleitzeit_plugin_mcp_stdio import StdioConfig, StdioTransport

from gleitzeit.testing import FakeContext
from gleitzeit.values import Elicited, Reply, Request, Target

SERVER = str(Path(__file__).with_name("server.py"))


class Context(FakeContext):
    """A context with the stdio transport; `may_ask` and `may_elicit` follow from there being answers."""

    def __init__(
        self, name: str, replies: tuple[Reply, ...] = (), answers: tuple[Elicited, ...] = ()
    ) -> None:
        stdio = StdioTransport(StdioConfig(grace=0.5), FakeContext("stdio"))
        super().__init__(name, drivers={("transport", "stdio"): stdio}, replies=replies, answers=answers)
        self.announced = asyncio.Event()
        self.updated = asyncio.Event()

    def changed(self, resource: str | None = None) -> None:
        super().changed(resource)
        (self.announced if resource is None else self.updated).set()


class Running(McpProvider):
    """A provider with shorthands for tests."""

    context: Context

    async def reply(self, request: Request) -> Reply:
        """The reply to a request whose target is the name of a tool, model or prompt."""
        found = await self.call(self.aimed(request))
        return found if isinstance(found, Reply) else await found.collect()

    def aimed(self, request: Request) -> Request:
        """The request as the corridor hands it on."""
        return request.evolve(target=Target(self.context.name, name=str(request.target), plugin="mcp"))

    @property
    def _supervisor(self) -> Supervisor:
        """Of the first instance."""
        return self._pool.members[0].supervisor

    async def pid(self) -> int:
        """The process id of the server."""
        pid: int = (await self._supervisor.ready()).wire.diagnostics()["pid"]
        return pid


Start: TypeAlias = Callable[..., Any]


@pytest.fixture(autouse=True)
def _eras() -> None:
    """Tests do not know what others found out."""
    ERAS.forget()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., McpConfig]:
    """The configuration of a scripted server; options of the script by `server`."""

    def make(server: dict[str, Any] | None = None, **fields: Any) -> McpConfig:
        options = {"log": str(tmp_path / "heard.jsonl"), **(server or {})}
        command = {"command": sys.executable, "args": [SERVER, json.dumps(options)]}
        return McpConfig(**{**command, "timeout": 20, "probe_timeout": 0.5, **fields})

    return make


@pytest.fixture
def start(config: Callable[..., McpConfig]) -> Start:
    """Runs a provider of a scripted server, or of another by `config`."""

    @asynccontextmanager
    async def run(
        server: dict[str, Any] | None = None,
        *,
        replies: tuple[Reply, ...] = (),
        answers: tuple[Elicited, ...] = (),
        **fields: Any,
    ) -> AsyncIterator[Running]:
        given = fields.pop("config", None) or config(server, **fields)
        running = Running(given, Context("scripted", replies, answers))
        async with running.lifespan(), asyncio.timeout(60):
            yield running

    return run


@pytest.fixture
def heard(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The messages that the scripted server heard, by method and tool."""

    def read(method: str, tool: str | None = None) -> list[dict[str, Any]]:
        log = tmp_path / "heard.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [message for message in map(json.loads, lines) if message.get("method") == method]
        return [each for each in found if tool is None or each["params"].get("name") == tool]

    return read


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Awaitable[Any]]:
    """Waits until something is true, for things that announce themselves in no other way."""

    async def wait(check: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < deadline, f"never true: {check}"
            await asyncio.sleep(0.005)
        return found

    return wait


@pytest.fixture
def published() -> Callable[[str], str]:
    """The path of a published server's command."""

    def find(name: str) -> str:
        path = os.path.join(sysconfig.get_path("scripts"), name)
        if not os.path.exists(path):
            pytest.skip(f"{name} is not installed")
        return path

    return find


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Has the process ended (a zombie has)?"""

    def check(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return check
