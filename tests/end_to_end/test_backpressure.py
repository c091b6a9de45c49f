"""A slow reader slows the server, whatever the vendor: nothing is read ahead."""

from __future__ import annotations

import asyncio

import pytest

from gleitzeit import Chat, Host, TextDelta
from gleitzeit.testing.loopback import Call, LoopbackServer
from tests.end_to_end.dialects.words import SENTENCE
from tests.end_to_end.talk import EACH, good, opening, stream_type
from tests.end_to_end.voices import VOICES

#: Bytes of text in a frame, and of all that the server would like to send.
PIECE, ALL = 30_000, 64 * 1024 * 1024
#: More than the buffers of a loopback connection take, by far.
MOST = ALL // 4


class Flood:
    """A stream without end, nearly: how much of it was taken, and whether it goes on."""

    def __init__(self, name: str) -> None:
        self.sent = 0
        #: Set when a write does not go through, or all was taken.
        self.settled = asyncio.Event()
        self._begin = opening(good(name))
        self._piece = self._begin[-1].replace(SENTENCE[:5].encode(), b"x" * PIECE)
        self._head = stream_type(name)

    async def serve(self, call: Call) -> None:
        """Send as much as is taken."""
        await call.start(200, self._head)
        for frame in self._begin:
            await call.write(frame)
        while self.sent < ALL:
            writing = asyncio.ensure_future(call.write(self._piece))
            try:
                await turns(writing)
                if not writing.done():
                    self.settled.set()
                await writing
            finally:
                writing.cancel()
            self.sent += len(self._piece)
        self.settled.set()


async def turns(until: asyncio.Future[None] | None = None, count: int = 300) -> None:
    """Let everybody else go on for a while, or until something is done."""
    for _ in range(count):
        if until is not None and until.done():
            return
        await asyncio.sleep(0)


@pytest.mark.feature("S001-05")
@EACH
async def test_a_server_is_slowed_by_its_reader(name: str) -> None:
    flood = Flood(name)
    async with LoopbackServer(flood.serve) as server:
        prefix = VOICES[name].server().prefix
        config = VOICES[name].configure(server.address + prefix)
        async with Host({"providers": {name: config}}, environ={}) as host:
            seen = 0
            async with host.stream(Chat("hi").to(f"{name}/m-1")) as stream:
                async for event in stream:
                    seen += isinstance(event, TextDelta)
                    if seen == 5:
                        break
                await flood.settled.wait()
                await turns()
                assert flood.sent < MOST
            await server.requests[-1].closed.wait()
    assert flood.sent < MOST
