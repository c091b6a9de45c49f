"""Answers of the HTTP server leave at once."""

from __future__ import annotations

import asyncio
import socket

import pytest
from gleitzeit_plugin_mcp.serve.http import _bound


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_is_accepted_does_not_wait_for_acknowledgements(host: str) -> None:
    """Nagle's algorithm holds the body of an answer back until its head is acknowledged: 40 ms a call."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[int] = loop.create_future()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.set_result(option)
            transport.close()

    bound = _bound(host, 0)
    async with await loop.create_server(Accepting, sock=bound) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            assert await asyncio.wait_for(accepted, 60) != 0
        finally:
            writer.close()
            await writer.wait_closed()
