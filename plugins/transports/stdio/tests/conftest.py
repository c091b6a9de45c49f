"""Small programs as servers, and a look at what still runs."""

import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp_stdio import StdioConfig, StdioTransport

from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext

PRELUDE = """
import json, os, signal, subprocess, sys, time
def say(message): print(json.dumps(message), flush=True)
def hear(): return json.loads(sys.stdin.readline())
"""


@pytest.fixture
def program() -> Callable[..., Endpoint]:
    """An endpoint whose server is a piece of Python; it has `say`, `hear` and the usual modules."""

    def make(code: str, *args: str, **fields: Any) -> Endpoint:
        fields.setdefault("env", {"PATH": os.environ["PATH"]})
        command = (sys.executable, "-I", "-c", PRELUDE + textwrap.dedent(code), *args)
        return Endpoint("server", command=command, **fields)

    return make


@pytest.fixture
def transport() -> StdioTransport:
    """A transport with the shortest patience that a busy machine allows."""
    return StdioTransport(StdioConfig(grace=0.5), FakeContext("stdio"))


def alive(pid: int) -> bool:
    """Does the process run (a zombie does not)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Does the process end within some seconds?"""

    def wait(pid: int, seconds: float = 10.0) -> bool:
        deadline = time.monotonic() + seconds
        while alive(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return wait
