"""Small programs as servers."""

import os
import sys
import textwrap
from collections.abc import Callable
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
