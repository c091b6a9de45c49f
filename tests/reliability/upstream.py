"""A model server that always answers well, at once, with the same words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.upstream import TEXT, Upstream

__all__ = ["TEXT", "upstream_port"]


@asynccontextmanager
async def upstream_port() -> AsyncIterator[int]:
    """Its port while the block is entered."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=2048)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
