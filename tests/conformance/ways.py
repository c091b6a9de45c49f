"""How a server of others is reached: over a wire of its own, or over one that a bridge gives it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import evolve, field, frozen

from tests.conformance import parts
from tests.conformance.npm import installed, script

__all__ = [
    "PROGRAMS",
    "Program",
    "Way",
    "at",
    "behind_mcp_proxy",
    "behind_mcp_remote",
    "behind_supergateway",
    "node",
    "npm",
    "own",
    "python",
]

#: Given a folder, makes the server ready for as long as it is open; gives its entry in `[servers]`.
Opened: TypeAlias = Callable[[Path], AbstractContextManager[dict[str, Any]]]
PROGRAMS: Final = Path(__file__).parent / "programs"


@frozen(kw_only=True)
class Way:
    """A wire as the table names it, the protocol that is to be spoken over it, and how it is opened."""

    wire: str = field(kw_only=False)
    protocol: str = field(kw_only=False)
    opened: Opened = field(kw_only=False)
    #: Said in the entry; the era is found out by the host where it is `auto`.
    mode: str = "auto"
    #: What does not come through: "progress", "questions" of the server, "cancelling", "changes" of its list.
    lacks: frozenset[str] = frozenset()


@frozen(kw_only=True)
class Program:
    """A command, its first words looked up when it is started; `{folder}` and `{port}` are filled in."""

    begin: Callable[[], list[str]]
    words: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(factory=dict)
    #: Does it need `node` on its PATH?
    on_node: bool = False

    def command(self, folder: Path, port: int = 0) -> list[str]:
        """The command line. Raises `Missing` where the program is not installed."""
        return [*self.begin(), *(word.format(folder=folder, port=port) for word in self.words)]

    def environment(self, folder: Path, port: int = 0) -> dict[str, str]:
        """The variables that it wants."""
        path = {"PATH": parts.node_path()} if self.on_node else {}
        return {**path, **{k: v.format(folder=folder, port=port) for k, v in self.variables.items()}}


def python(environment: str, name: str, *words: str) -> Program:
    """A program of an environment of Python, ours where it is empty."""

    def begin() -> list[str]:
        where = parts.programs(environment) if environment else Path(sys.executable).parent
        return [str(where / name)]

    return Program(begin=begin, words=words)


def npm(environment: str, name: str, *words: str, **variables: str) -> Program:
    """A program of `environments/ENVIRONMENT.npm`, or a script of a package there."""

    def begin() -> list[str]:
        file = str(installed(environment) / name)
        return [str(parts.node() / "node"), file] if name.endswith(".js") else [file]

    return Program(begin=begin, words=words, variables=variables, on_node=True)


def node(environment: str, file: str, *words: str) -> Program:
    """A script of ours, with the modules of `environments/ENVIRONMENT.npm`."""

    def begin() -> list[str]:
        return [str(parts.node() / "node"), str(script(environment, PROGRAMS / file))]

    return Program(begin=begin, words=words, on_node=True)


def own(program: Program) -> Opened:
    """The host starts the program and speaks to it over standard streams."""

    @contextmanager
    def opened(folder: Path) -> Iterator[dict[str, Any]]:
        command, *arguments = program.command(folder)
        yield {"command": command, "args": arguments, "env": program.environment(folder)}

    return opened


def at(program: Program, path: str = "/mcp", scheme: str = "http") -> Opened:
    """The program serves at a port that it is told."""

    @contextmanager
    def opened(folder: Path) -> Iterator[dict[str, Any]]:
        with parts.reserved_port() as port:
            environment = program.environment(folder, port)
            with parts.listening(program.command(folder, port), port, environment):
                yield {"url": f"{scheme}://127.0.0.1:{port}{path}"}

    return opened


def behind_mcp_proxy(program: Program, path: str) -> Opened:
    """mcp-proxy serves both wires at once: `/mcp` is streamable HTTP, `/sse` is HTTP+SSE."""

    @contextmanager
    def opened(folder: Path) -> Iterator[dict[str, Any]]:
        words = ("--port", "{port}", "--pass-environment", "--", *program.command(folder))
        front = evolve(python("old", "mcp-proxy", *words), variables=program.environment(folder))
        with at(front, path)(folder) as entry:
            yield entry

    return opened


def behind_supergateway(program: Program, path: str, wire: str) -> Opened:
    """supergateway serves one wire: `streamableHttp` at `/mcp`, `sse` at `/sse`."""

    @contextmanager
    def opened(folder: Path) -> Iterator[dict[str, Any]]:
        words = ["--stdio", shlex.join(program.command(folder)), "--outputTransport", wire]
        words += ["--port", "{port}", "--logLevel", "none", *(["--stateful"] if wire != "sse" else [])]
        front = npm("bridges", "supergateway", *words, **program.environment(folder))
        with at(front, path)(folder) as entry:
            yield entry

    return opened


def behind_mcp_remote(program: Program, path: str = "/mcp") -> Opened:
    """mcp-remote, which the host starts, speaks to a server that serves HTTP."""

    @contextmanager
    def opened(folder: Path) -> Iterator[dict[str, Any]]:
        with at(program, path)(folder) as entry:
            bridge = npm("bridges", "mcp-remote", entry["url"], "--allow-http", HOME="{folder}")
            with own(bridge)(folder) as started:
                yield started

    return opened
