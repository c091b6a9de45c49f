"""The contract that every transport keeps, kept over standard streams."""

import os
import signal
import sys

import pytest
from gleitzeit_plugin_mcp_stdio import StdioTransport

from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext, TransportCase, TransportContract

#: A server that holds its streams open and reads nothing.
DEAF = "import signal; signal.pause()"
SECRET = "canary-4711-secret"


class Noted(StdioTransport):
    """Knows the process of the last wire."""

    pid = 0

    async def _launch(self, endpoint: Endpoint):
        process = await super()._launch(endpoint)
        type(self).pid = process.pid
        return process


class TestContract(TransportContract):
    thorough = True

    @pytest.fixture
    def case(self) -> TransportCase:
        env = {"PATH": os.environ["PATH"], "API_KEY": SECRET}
        peer = (sys.executable, "-m", "gleitzeit.testing.peer")
        return TransportCase(
            Noted,
            endpoint=Endpoint("peer", command=peer, env=env),
            config={"grace": 0.2},
            kill=lambda: os.kill(Noted.pid, signal.SIGKILL),
            deaf=Endpoint("deaf", command=(sys.executable, "-S", "-c", DEAF), env=env),
            nobody=Endpoint("nobody", command=("no-such-program",), env=env),
            without={"headers_travel": "lines have no room for headers"},
            secret=SECRET,
            context=lambda: FakeContext("stdio"),
        )
