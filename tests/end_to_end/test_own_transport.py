"""A transport of one's own: a small installed package with one class, selected by its name."""

import sys
from typing import Any

import pytest

from gleitzeit import Host, ToolCall
from gleitzeit.discovery import scan
from gleitzeit.kinds import Endpoint
from gleitzeit.testing import TransportCase
from gleitzeit.testing.transport import WIRE_RULES, check_wire
from tests.end_to_end.conftest import Place

PIGEON = '''
import asyncio
import json
from contextlib import asynccontextmanager

from gleitzeit.errors import ResetError
from gleitzeit.kinds import Frame
from gleitzeit.testing import peer
from gleitzeit.wire.jsonrpc import dump


def desk(message):
    """A server of the handshake era with one tool."""
    done = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "loft", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "coo", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "coo"}]},
    }.get(message.get("method"))
    if "id" not in message or done is None:
        return []
    return [{"jsonrpc": "2.0", "id": message["id"], "result": done}]


class Pigeon:
    def __init__(self, endpoint):
        self.lost, self.error = asyncio.Event(), None
        self.serve = desk if endpoint.url == "pigeon://desk" else peer.answers
        self.coming = asyncio.Queue()

    async def send(self, frame):
        message = json.loads(dump(frame.message, "pigeon"))
        if self.lost.is_set():
            raise ResetError("the loft is closed", sent=False)
        for answer in self.serve(message):
            self.coming.put_nowait(answer)

    def __aiter__(self):
        return self

    async def __anext__(self):
        message = await self.coming.get()
        if message is None:
            self.coming.put_nowait(None)
            raise StopAsyncIteration
        return Frame(message)

    def diagnostics(self):
        return {}


class Plugin:
    def __init__(self, config, context):
        pass

    @asynccontextmanager
    async def connect(self, endpoint):
        wire = Pigeon(endpoint)
        try:
            yield wire
        finally:
            wire.lost.set()
            wire.coming.put_nowait(None)
'''


@pytest.mark.feature("S001-13")
async def test_an_installed_transport_is_selected_by_name_and_keeps_the_contract(place: Place) -> None:
    place.install("pigeon", PIGEON, kind="transports")
    entry: dict[str, Any] = {"url": "pigeon://desk", "transport": "pigeon", "mode": "legacy"}
    index = scan([str(place.folder / "site"), *sys.path])
    async with Host({"servers": {"loft": entry}}, environ={}, index=index) as host:
        assert (await host.call(ToolCall().to("loft/coo", timeout=30))).text == "coo"
    plugin = index.find("transport", "pigeon").load()
    case = TransportCase(plugin, endpoint=Endpoint("peer", url="pigeon://peer"), large=100_000)
    kept = [rule.name for rule in WIRE_RULES if rule.missing(case) is None]
    assert len(kept) > 10
    for rule in WIRE_RULES:
        if rule.name in kept:
            await check_wire(rule, case)
