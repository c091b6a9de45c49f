"""Small programs as child processes, and a look at what still runs."""

import os
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.kinds import Launch, Process
from gleitzeit.process import start

PRELUDE = """
import json, os, signal, subprocess, sys, time
def say(*words): print(*words, flush=True)
"""
#: A child in the program's group, and one that left it for a session of its own; both ignore SIGTERM.
FAMILY = """
code = "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(300)"
pipes = {"args": [sys.executable, "-c", code], "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
near = subprocess.Popen(**pipes)
far = subprocess.Popen(**pipes, start_new_session=True, env={})
near.stdout.read(1), far.stdout.read(1)
say(os.getpid(), near.pid, far.pid)
"""


@pytest.fixture
def family() -> str:
    """Code that starts two children and says the three process ids."""
    return FAMILY


@pytest.fixture
def program() -> Callable[..., Launch]:
    """A launch of a piece of Python; it has `say` and the usual modules."""

    def make(code: str, *args: str, **fields: Any) -> Launch:
        fields.setdefault("env", {"PATH": os.environ["PATH"]})
        return Launch((sys.executable, "-I", "-c", PRELUDE + textwrap.dedent(code), *args), **fields)

    return make


@pytest.fixture
def running() -> Callable[..., Any]:
    """Starts a process, and kills it at the end of the block."""

    @asynccontextmanager
    async def run(launch: Launch, how: Callable[[Launch], Any] = start) -> AsyncIterator[Process]:
        process = await how(launch)
        try:
            yield process
        finally:
            await process.kill()

    return run


def _alive(pid: int) -> bool:
    """Does the process run (a zombie does not)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Does the process end, sooner or later?"""

    def wait(pid: int, seconds: float = 30.0) -> bool:
        deadline = time.monotonic() + seconds
        while _alive(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return wait
