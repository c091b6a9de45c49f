"""Clients that others wrote, each with `gleitzeit mcp serve`: `python -m tests.conformance.clients`.

The last line of the output is a JSON list of what was found; a row with a `fault` did not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.conformance import parts
from tests.conformance.npm import installed
from tests.conformance.suite import LOCAL

__all__ = ["main"]

Work: TypeAlias = Callable[[], dict[str, str]]
SCRIPT: Final = str(Path(__file__).with_name("peer.py"))
DONE: Final = "{tools} tools listed, 5 called (one of a model, one with {progress} progress messages), "
REST: Final = "a resource read, a prompt rendered, an unknown tool refused"
#: The protocol's newest era is the default of those that know it.
ERAS: Final = (("auto", "2026-07-28"), ("legacy", "2025-11-25"))


@contextmanager
def _wires(folder: Path) -> Iterator[dict[str, list[str]]]:
    """What to hand to a client on each wire: a command, and a URL of a server that runs."""
    time = {"command": str(Path(sys.executable).with_name("mcp-server-time"))}
    config = parts.configured(folder, {"everything": LOCAL, "time": time})
    serve = ("mcp", "serve", "--config", str(config))
    with parts.serving(parts.gleitzeit(*serve, "--transport", "http", "--port", "0")) as url:
        yield {"stdio": parts.gleitzeit(*serve), "HTTP": [url]}


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
        raise RuntimeError(f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def _script(python: Path, kind: str, era: str, protocol: str, target: list[str]) -> dict[str, str]:
    found = json.loads(_run([str(python), "-W", "ignore", SCRIPT, kind, era, *target]).splitlines()[-1])
    if found["protocol"] != protocol:
        raise RuntimeError(f"it came to speak {found['protocol']}, not {protocol}")
    return {"era": protocol, "exercised": DONE.format(**found) + REST}


def _inspector(folder: Path, target: list[str]) -> dict[str, str]:
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
    return {"era": ask("initialize")["protocolVersion"], "exercised": done}


def main() -> None:
    rows: list[dict[str, str]] = []

    def scripted(kind: str, python: Callable[[], Path], era: tuple[str, str], target: list[str]) -> Work:
        return lambda: _script(python(), kind, *era, target)

    with tempfile.TemporaryDirectory() as place, _wires(Path(place)) as wires:
        for wire, target in wires.items():
            for era in ERAS:
                sdk = scripted("sdk", lambda: Path(sys.executable), era, target)
                _row(rows, ("MCP SDK for Python", "PyPI", wire), sdk)
                fast = scripted("fastmcp", lambda: parts.programs("peers") / "python", era, target)
                _row(rows, ("FastMCP", "PyPI", wire), fast)
            _row(rows, ("MCP Inspector", "npm", wire), partial(_inspector, Path(place), target))
    print(json.dumps(sorted(rows, key=lambda row: row["client"]), ensure_ascii=False))


def _row(rows: list[dict[str, str]], who: tuple[str, str, str], work: Work) -> None:
    row = dict(zip(("client", "from", "wire"), who, strict=True))
    try:
        rows.append({**row, **work()})
    except parts.Missing as missing:
        sys.stderr.write(f"{who[0]}: SKIPPED: {missing}\n")
    except (
        AssertionError,
        KeyError,
        RuntimeError,
        StopIteration,
        ValueError,
        subprocess.TimeoutExpired,
    ) as error:
        rows.append({**row, "fault": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
