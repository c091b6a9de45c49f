"""The contract that every transport keeps, kept by each dialect."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from gleitzeit_plugin_mcp_http import McpHttpTransport

from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext, TransportCase, TransportContract
from plugins.transports.http.tests.conftest import Serve
from plugins.transports.http.tests.peers import Sse, Streamable, deaf

SECRET = "canary-4711-secret"
HEADERS = {"authorization": f"Bearer {SECRET}"}


@pytest.fixture
async def deaf_at() -> AsyncIterator[str]:
    async with deaf() as url:
        yield url


@pytest.fixture
def nobody_at() -> Iterator[str]:
    """An address at which nothing listens, held so that nobody takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/mcp"


class TestStreamable(TransportContract):
    thorough = True

    @pytest.fixture
    async def case(self, serve: Serve, deaf_at: str, nobody_at: str) -> TransportCase:
        served = await serve(Streamable())
        return TransportCase(
            McpHttpTransport,
            endpoint=Endpoint("peer", url=f"{served.address}/mcp", headers=HEADERS),
            kill=served.kill,
            notices=False,
            deaf=Endpoint("deaf", url=deaf_at),
            nobody=Endpoint("nobody", url=nobody_at),
            headers=True,
            secret=SECRET,
            context=lambda: FakeContext("http"),
        )


class TestSse(TransportContract):
    thorough = True

    @pytest.fixture(params=["sse", "auto"])
    async def case(
        self, request: pytest.FixtureRequest, serve: Serve, deaf_at: str, nobody_at: str
    ) -> TransportCase:
        served = await serve(Sse())
        return TransportCase(
            McpHttpTransport,
            config={"mode": request.param},
            endpoint=Endpoint("peer", url=f"{served.address}/sse", headers=HEADERS),
            kill=served.kill,
            deaf=Endpoint("deaf", url=deaf_at),
            nobody=Endpoint("nobody", url=nobody_at),
            headers=True,
            secret=SECRET,
            context=lambda: FakeContext("http"),
        )
