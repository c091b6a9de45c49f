"""The wire on our own standard streams, here on pipes of a test's."""

import asyncio
import os

import pytest
from gleitzeit_plugin_mcp_stdio.own import OwnWire, _Flow

from gleitzeit.errors import ResetError
from gleitzeit.kinds import Frame


async def test_a_client_that_has_closed_its_end_is_no_fault_at_the_end() -> None:
    loop = asyncio.get_running_loop()
    theirs, ours = os.pipe()
    writes, protocol = await loop.connect_write_pipe(_Flow, os.fdopen(ours, "wb", buffering=0))
    writer = asyncio.StreamWriter(writes, protocol, None, loop)
    wire = OwnWire(asyncio.StreamReader(), writer, limit=1000)
    os.close(theirs)
    async with asyncio.timeout(60):
        while getattr(writes, "_loop", None) is not None:  # until asyncio has seen it
            await asyncio.sleep(0.01)
    with pytest.raises(ResetError, match="has left"):
        await wire.send(Frame({"jsonrpc": "2.0", "method": "x"}))
    await wire.close()
    await wire.close()
