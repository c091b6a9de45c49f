"""Several servers as one service: what a client may go on with in another one, and what it may not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from gleitzeit import Host
from gleitzeit.errors import ConfigError
from tests.end_to_end.mcp_serving import LONG
from tests.end_to_end.test_mcp_server_asks import ERAS, behind

VERSION = "2026-07-28"
KEY, OLD = "k" * 32, "o" * 32
TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}
CAN: dict[str, Any] = {"elicitation": {"form": {}}}


async def asks(http: httpx2.AsyncClient, url: str, who: str = "alice", **round: Any) -> Any:
    """What the tool that asks for a name answers, as `who`, in this round."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": CAN,
    }
    params = {"name": "up__ask", "arguments": {"what": "person"}, "_meta": meta, **round}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {TOKENS[who]}",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "up__ask",
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = (await http.post(url, json=message, headers=headers)).json()
    return answer.get("result") or answer["error"]["message"]


def answered(asked: Any) -> dict[str, Any]:
    """The next round."""
    given = {"action": "accept", "content": {"name": "Al"}}
    return {
        "inputResponses": dict.fromkeys(asked["inputRequests"], given),
        "requestState": asked["requestState"],
    }


@ERAS
async def test_a_call_goes_on_in_another_process_where_that_can_be(era: str) -> None:
    """Both processes are servers of one host here: what they share is no more than the key."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(LONG))
        host = await stack.enter_async_context(Host(behind(era), environ={}))
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=LONG))
        keys = ((KEY,), (OLD, KEY), ())
        one, other, stranger = [
            await stack.enter_async_context(host.mcp_server(state_keys=each).http(token=TOKENS))
            for each in keys
        ]
        asked = await asks(http, one)
        assert asked["resultType"] == "input_required"
        more = answered(asked)
        assert await asks(http, stranger, **more) == "Invalid or expired requestState"
        assert await asks(http, other, "bob", **more) == "Invalid or expired requestState"
        assert await asks(http, one, "bob", **more) == "Invalid or expired requestState"
        elsewhere = await asks(http, other, **more)
        if era == "modern":
            assert elsewhere["content"][0]["text"].startswith('{"action": "accept"')
        else:
            assert "in another process of this service" in elsewhere
            # It still waits where it is.
            assert (await asks(http, one, **more))["content"][0]["text"].startswith('{"action": "accept"')
            assert await asks(http, one, **more) == "Invalid or expired requestState"


async def test_a_key_that_could_be_guessed_is_refused() -> None:
    async with Host({}, environ={}) as host:
        with pytest.raises(ConfigError, match="has 5 bytes, of the 32") as caught:
            host.mcp_server(state_keys="short")
    assert "token_hex" in (caught.value.hint or "")
