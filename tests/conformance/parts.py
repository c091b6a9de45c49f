"""Where the session put what is not Python of this environment, and how a process of it is run."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["ROOT", "Missing", "configured", "gleitzeit", "node", "node_path", "programs", "serving"]

ROOT: Final = Path(__file__).resolve().parents[2]
#: Seconds for a server to say where it is; loaded machines are slow to import.
START: Final = 120.0


class Missing(Exception):
    """A part that the session could not install; the text names it."""


def programs(environment: str) -> Path:
    """The folder of programs of an environment beside the session's: `node`, `peers` or `old`."""
    python = os.environ.get(f"CONFORMANCE_{environment.upper()}")
    if not python:
        raise Missing(f"the environment conformance-{environment} could not be installed (see above)")
    return Path(python).parent


def node() -> Path:
    """The folder with `node` and `npm`."""
    return programs("node")


def node_path() -> str:
    """A PATH on which npm's programs find `node`."""
    return os.pathsep.join([str(node()), os.environ.get("PATH", os.defpath)])


@contextmanager
def serving(command: Sequence[str]) -> Iterator[str]:
    """Run a server that says its URL on one of its streams, for as long as the block; gives the URL."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    said: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            line = lines.get(timeout=START)
            if line is None:
                raise RuntimeError(f"{' '.join(command)} ended before it served:\n{''.join(said)}")
            said.append(line)
            if found := re.search(r"\b(?:http|grpc)://\S+", line):
                break
        yield found.group()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def gleitzeit(*arguments: str) -> list[str]:
    """The command line of our own program."""
    return [sys.executable, "-m", "gleitzeit", *arguments]


def configured(folder: Path, servers: Mapping[str, Mapping[str, Any]]) -> Path:
    """A configuration with these servers, which leaves none out because it is slow to start."""
    lines = ["[host]", "hook_timeout = 120.0"]
    for name, entry in servers.items():
        given = {**entry, "sandbox": "none", "timeout": START, "probe_timeout": START / 2}
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    file = folder / "gleitzeit.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
