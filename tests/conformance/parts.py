"""Where the session put what is not Python of this environment, and how a process of it is run."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = [
    "ROOT",
    "Missing",
    "configured",
    "gleitzeit",
    "listening",
    "node",
    "node_path",
    "programs",
    "reserved_port",
    "serving",
]

ROOT: Final = Path(__file__).resolve().parents[2]
#: Seconds for a server to say where it is; loaded machines are slow to import.
START: Final = 120.0


class Missing(Exception):
    """A part that the session could not install; the text names it."""


def programs(environment: str) -> Path:
    """The folder of programs of an environment beside the session's: one of `environments/*.txt`."""
    if not (ROOT / "tests" / "conformance" / "environments" / f"{environment}.txt").exists():
        raise LookupError(f"there is no environments/{environment}.txt")
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
        _end(process)
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def _end(process: subprocess.Popen[Any], *, group: bool = False) -> None:
    """End a process, or it and all that it started; after half a minute without asking."""

    def send(number: signal.Signals) -> None:
        try:
            os.killpg(process.pid, number) if group else process.send_signal(number)
        except ProcessLookupError:
            pass

    send(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        send(signal.SIGKILL)
        process.wait()
    if group:
        send(signal.SIGKILL)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given, for a server that is told where to listen.

    Whoever names it may still listen there: nobody does yet, and both say that they share the address.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def listening(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a server, which may start others, for as long as the block; it begins once the port answers.

    Raises `RuntimeError` with what the server said where it ends before, or is silent for too long.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + START
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    raise RuntimeError(f"{' '.join(command)} does not serve:\n{output.read()[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            _end(process, group=True)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def gleitzeit(*arguments: str) -> list[str]:
    """The command line of our own program."""
    return [sys.executable, "-m", "gleitzeit", *arguments]


def configured(folder: Path, servers: Mapping[str, Mapping[str, Any]]) -> Path:
    """A configuration with these servers, which leaves none out because it is slow to start."""
    lines = ["[host]", "hook_timeout = 120.0", "list_timeout = 120.0"]
    for name, entry in servers.items():
        given = {**entry, "sandbox": "none", "timeout": START, "probe_timeout": START / 2}
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    file = folder / "gleitzeit.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
