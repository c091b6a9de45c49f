"""What the SDK must know of sessions whose requests do not go through it."""

from __future__ import annotations

import math

from gleitzeit_plugin_mcp.serve.sessions import Held, ending
from mcp.server.streamable_http import StreamableHTTPServerTransport


async def test_a_session_is_not_idle_while_one_of_its_requests_is_answered() -> None:
    transport = StreamableHTTPServerTransport("a-session", idle_timeout=1000)
    async with transport.connect():
        assert transport.idle_scope is not None
        with Held(transport):
            with Held(transport):
                assert transport.idle_scope.deadline == math.inf
            assert transport.idle_scope.deadline == math.inf
        assert transport.idle_scope.deadline < math.inf
        assert not ending(transport)
        transport.idle_scope.cancel()
        assert ending(transport)


async def test_a_session_without_a_limit_stays_without() -> None:
    transport = StreamableHTTPServerTransport("a-session")
    async with transport.connect():
        with Held(transport):
            pass
        assert transport.idle_scope is None
        assert not ending(transport)
