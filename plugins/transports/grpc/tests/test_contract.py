"""The contract that every transport keeps, kept by a stream of gRPC."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from gleitzeit_plugin_mcp_grpc import GrpcTransport

from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext, TransportCase, TransportContract

SECRET = "canary-4711-secret"
PEER = str(Path(__file__).with_name("peer.py"))


class TestContract(TransportContract):
    thorough = True

    @pytest.fixture
    async def case(self) -> AsyncIterator[TransportCase]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, PEER, stdout=asyncio.subprocess.PIPE, env={**os.environ, "TOKEN": SECRET}
        )
        try:
            assert process.stdout is not None
            url, deaf = (await process.stdout.readline()).decode().split()
            with socket.socket() as held:
                held.bind(("127.0.0.1", 0))
                nobody = f"grpc://127.0.0.1:{held.getsockname()[1]}"
                yield TransportCase(
                    GrpcTransport,
                    endpoint=Endpoint("peer", url=url, headers={"authorization": f"Bearer {SECRET}"}),
                    config={"connect_timeout": 30},
                    kill=process.kill,
                    deaf=Endpoint("deaf", url=deaf),
                    nobody=Endpoint("nobody", url=nobody),
                    without={"headers_travel": "a stream has metadata at its start, not for each message"},
                    secret=SECRET,
                    context=lambda: FakeContext("grpc"),
                )
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
