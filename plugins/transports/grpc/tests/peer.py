"""The peer of the contract behind a door, as a process of its own: prints two addresses, then serves.

The first follows the script, for those who bring the token in TOKEN; the second never answers.
"""

import asyncio
import os

from gleitzeit_plugin_mcp_grpc import GrpcTransport

from gleitzeit.kinds import Frame, Wire
from gleitzeit.testing import FakeContext
from gleitzeit.testing.peer import answers


async def scripted(wire: Wire) -> None:
    async for frame in wire:
        for message in answers(frame.message):
            await wire.send(Frame(message))


async def deaf(wire: Wire) -> None:
    await asyncio.get_running_loop().create_future()


async def main() -> None:
    grpc, here = GrpcTransport(None, FakeContext("grpc")), "grpc://127.0.0.1:0"
    async with (
        grpc.listen(here, scripted, {"token": os.environ["TOKEN"]}) as first,
        grpc.listen(here, deaf, {}) as second,
    ):
        print(first, second, flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
