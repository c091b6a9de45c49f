"""Clients that others wrote, each with `gleitzeit mcp serve`: `python -m tests.conformance.clients`.

The last line of the output is a JSON list of what was found; a row with a `fault` did not hold. Words after
the command choose the clients and wires that hold one of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from tests.conformance import parts
from tests.conformance.npm import installed
from tests.conformance.suite import LOCAL
from tests.conformance.ways import PROGRAMS, Program, node, npm, python

__all__ = ["CLIENTS", "Client", "main"]

#: What to hand to a client: a URL, or a command.
Target: TypeAlias = list[str]
MODERN: Final = ("auto", "2026-07-28")
LEGACY: Final = ("legacy", "2025-11-25")
#: Clients that know one era are told none.
ONLY: Final = ("-", "2025-11-25")
PEER: Final = str(PROGRAMS / "peer.py")
AGENT: Final = str(PROGRAMS / "frameworks.py")


@frozen(kw_only=True)
class Client:
    """A program of a client, the eras that it is told to speak, and the wires that it has."""

    name: str = field(kw_only=False)
    source: str
    #: It is given the era and the target, and ends its output with JSON.
    program: Callable[[str], Program]
    eras: tuple[tuple[str, str], ...] = (MODERN, LEGACY)
    wires: tuple[str, ...] = ("stdio", "HTTP")
    #: A program between, that makes a command of a URL.
    bridge: Program | None = None


def _python(environment: str, script: str, kind: str) -> Callable[[str], Program]:
    return lambda era: python(
        environment, "python", "-W", "ignore", script, kind, *([era] if script == PEER else [])
    )


def _typescript(environment: str, version: str) -> Callable[[str], Program]:
    return lambda era: node(environment, "asked.mjs", version, era)


def _bridged(name: str, bridge: Program, *, whole: bool) -> Client:
    """The SDK's client, which starts a bridge that speaks HTTP to us; is it a `whole` one, in both eras?"""
    return Client(
        f"{name}, used by the MCP SDK for Python",
        source="PyPI" if name == "mcp-proxy" else "npm",
        program=_python("", PEER, "sdk" if whole else "sdk-that-is-not-asked"),
        eras=(MODERN, LEGACY) if whole else (LEGACY,),
        wires=("HTTP",),
        bridge=bridge,
    )


CLIENTS: Final = (
    Client("MCP SDK for Python", source="PyPI", program=_python("", PEER, "sdk")),
    Client("MCP SDK for Python, 1.x", source="PyPI", program=_python("old", PEER, "old"), eras=(ONLY,)),
    Client("FastMCP", source="PyPI", program=_python("peers", PEER, "fastmcp")),
    Client("FastMCP 2", source="PyPI", program=_python("fastmcp2", PEER, "fastmcp"), eras=(ONLY,)),
    Client("MCP SDK for TypeScript", source="npm", program=_typescript("sdk", "2")),
    Client("MCP SDK for TypeScript, 1.x", source="npm", program=_typescript("sdk", "1"), eras=(ONLY,)),
    Client(
        "MCP SDK for TypeScript, 1.x, with mcp-grpc-transport",
        source="npm",
        program=_typescript("grpc", "1"),
        eras=(ONLY,),
        wires=("gRPC",),
    ),
    Client("OpenAI Agents", source="PyPI", program=_python("openai", AGENT, "openai"), eras=(MODERN,)),
    Client("Pydantic AI", source="PyPI", program=_python("pydantic", AGENT, "pydantic"), eras=(MODERN,)),
    Client("LangChain", source="PyPI", program=_python("langchain", AGENT, "langchain"), eras=(ONLY,)),
    _bridged("mcp-remote", npm("bridges", "mcp-remote", "{url}", "--allow-http"), whole=True),
    _bridged("mcp-proxy", python("old", "mcp-proxy", "--transport", "streamablehttp", "{url}"), whole=False),
    _bridged(
        "supergateway",
        npm("bridges", "supergateway", "--streamableHttp", "{url}", "--logLevel", "none"),
        whole=False,
    ),
)


@contextmanager
def _wires(folder: Path) -> Iterator[dict[str, Target]]:
    """What to hand to a client on each wire: a command, and URLs of servers that run."""
    time = {"command": str(Path(sys.executable).with_name("mcp-server-time"))}
    config = parts.configured(folder, {"everything": LOCAL, "time": time})
    serve = ("mcp", "serve", "--config", str(config))
    with ExitStack() as stack:
        found = {"stdio": parts.gleitzeit(*serve)}
        for wire in ("HTTP", "gRPC"):
            command = parts.gleitzeit(*serve, "--transport", wire.lower(), "--port", "0")
            found[wire] = [stack.enter_context(parts.serving(command))]
        yield found


def _run(command: Sequence[str], **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=parts.ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        sys.stderr.write(f"{said}\n")
        lines = [line.strip(" |") for line in said.splitlines() if line.strip(" |+-")]
        raise RuntimeError(f"exit code {done.returncode}: {lines[-1][:400] if lines else 'nothing was said'}")
    return done.stdout


def _ask(client: Client, era: tuple[str, str], target: Target, folder: Path) -> dict[str, str]:
    """What a client found, over one wire, in one era."""
    word, protocol = era
    program = client.program(word)
    variables = {**program.environment(folder), "HOME": str(folder)}  # some keep files of theirs there
    if client.bridge is not None:
        variables |= client.bridge.environment(folder)
        words = [each.replace("{url}", target[0]) for each in client.bridge.words]
        target = [*client.bridge.begin(), *words]
    found: dict[str, str] = json.loads(
        _run([*program.command(folder), *target], **variables).splitlines()[-1]
    )
    if found["protocol"] != protocol:
        raise RuntimeError(f"it came to speak {found['protocol']}, not {protocol}")
    return found


def _inspector(target: Target, folder: Path) -> dict[str, str]:
    remote = target[0].startswith("http")
    command = {"command": target[0], "args": target[1:], "cwd": str(parts.ROOT)}
    entry = {"type": "streamable-http", "url": target[0]} if remote else command
    config = folder / "inspector.json"
    config.write_text(json.dumps({"mcpServers": {"gleitzeit": entry}}), encoding="utf-8")
    start = [
        str(installed("peers") / "mcp-inspector"),
        "--cli",
        "--config",
        str(config),
        "--server",
        "gleitzeit",
        "--method",
    ]

    def ask(method: str, *words: str) -> Any:
        out = _run([*start, method, *words], PATH=parts.node_path(), MCP_INSPECTOR_SECRET_STORE="memory")
        return json.loads(out)

    tools = ask("tools/list")["tools"]
    said = '[{"role": "user", "content": "forty-two"}]'
    chat = ("--tool-name", "chat", "--tool-arg", "model=scripted/echo", f"messages={said}")
    assert ask("tools/call", *chat)["content"][0]["text"] == "forty-two"
    assert "static text" in ask("resources/read", "--uri", "test://static-text")["contents"][0]["text"]
    prompt = next(each["name"] for each in ask("prompts/list")["prompts"] if "simple" in each["name"])
    assert ask("prompts/get", "--prompt-name", prompt)["messages"]
    done = f"{len(tools)} tools listed, one of a model called, a resource read, a prompt rendered"
    return {"protocol": ask("initialize")["protocolVersion"], "exercised": done}


def main(names: Sequence[str] = ()) -> None:
    rows: list[dict[str, str]] = []

    def row(name: str, source: str, wire: str, work: Callable[[], dict[str, str]]) -> None:
        if names and not any(each in f"{name}, {wire}" for each in names):
            return
        about = {"client": name, "from": source, "wire": wire}
        try:
            rows.append({**about, **work()})
        except parts.Missing as missing:
            sys.stderr.write(f"{name}, {wire}: SKIPPED: {missing}\n")
        except Exception as error:
            rows.append({**about, "fault": f"{type(error).__name__}: {error}"})

    with tempfile.TemporaryDirectory() as place, _wires(Path(place)) as wires:
        folder = Path(place)
        for client in CLIENTS:
            for wire in client.wires:
                for era in client.eras:
                    row(client.name, client.source, wire, partial(_ask, client, era, wires[wire], folder))
        for wire in ("stdio", "HTTP"):
            row("MCP Inspector", "npm", wire, partial(_inspector, wires[wire], folder))
    print(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
