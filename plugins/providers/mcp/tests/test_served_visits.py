"""What a server wants people to visit reaches those who wait for it as clients of `gleitzeit mcp serve`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import ElicitResult

from gleitzeit import Host

LONG = 120
Behind = Callable[..., Any]


@pytest.fixture
def behind(config: Callable[..., Any]) -> Behind:
    """The address of a host that serves MCP, with a scripted server of 2025-11-25 behind it."""

    @asynccontextmanager
    async def run() -> AsyncIterator[str]:
        given = config({"era": "legacy", "version": "2025-11-25"})
        entry = {"command": sys.executable, "args": list(given.args), "mode": "legacy", "timeout": LONG}
        patient = {"timeout": LONG, "hook_timeout": LONG, "list_timeout": LONG}
        async with (
            asyncio.timeout(LONG),
            Host({"host": patient, "servers": {"up": entry}}, environ={}) as host,
            host.mcp_server().http() as url,
        ):
            yield url

    return run


def said(result: Any) -> Any:
    return result.content[0].text


async def nobody(context: Any, params: Any) -> ElicitResult:
    raise AssertionError("the client itself knows what the error means")


async def test_a_client_of_that_revision_gets_the_error_and_hears_of_the_end(behind: Behind) -> None:
    heard: list[str] = []
    over = asyncio.Event()

    async def listen(message: Any) -> None:
        if getattr(message, "method", None) == "notifications/elicitation/complete":
            heard.append(message.params.elicitation_id)
            over.set()

    async with (
        behind() as url,
        Client(url, mode="legacy", elicitation_callback=nobody, message_handler=listen) as client,
    ):
        paid: list[str] = []
        while not over.is_set():  # until the client listens beside its calls, it hears nothing
            visit = f"e{len(paid)}"
            with pytest.raises(MCPError) as caught:
                await client.call_tool("up__toll", {"visits": [visit]})
            assert caught.value.error.code == -32042
            [listed] = caught.value.error.data["elicitations"]
            assert listed["elicitationId"] == visit
            assert listed["url"] == f"https://example.org/pay?key=canary-{visit}"
            await client.call_tool("up__pay", {"visit": visit})
            paid.append(visit)
            await asyncio.sleep(0.01)
        assert set(heard) <= set(paid)
        found = await client.call_tool("up__toll", {"visits": paid})
        assert said(found) == "through"


async def test_the_end_of_a_visit_in_the_midst_of_a_call_is_told_as_well(behind: Behind) -> None:
    heard: list[str] = []

    async def listen(message: Any) -> None:
        if getattr(message, "method", None) == "notifications/elicitation/complete":
            heard.append(message.params.elicitation_id)

    async def person(context: Any, params: Any) -> ElicitResult:
        assert params.url == "https://example.org/in"
        return ElicitResult(action="accept")

    async with (
        behind() as url,
        Client(url, mode="legacy", elicitation_callback=person, message_handler=listen) as client,
    ):
        while not heard:  # until the client listens beside its calls, it hears nothing
            assert "accept" in said(await client.call_tool("up__visit", {}))
            await asyncio.sleep(0.01)
    assert set(heard) == {"e1"}


async def test_a_client_of_the_newer_revision_is_asked_and_the_call_goes_on(behind: Behind) -> None:
    asked: list[str] = []

    async with behind() as url, Client(url) as other:

        async def person(context: Any, params: Any) -> ElicitResult:
            asked.append(params.url)
            await other.call_tool("up__pay", {"visit": "e1"})
            return ElicitResult(action="accept")

        async with Client(url, elicitation_callback=person) as client:
            found = await client.call_tool("up__toll", {"visits": ["e1"]})
    assert said(found) == "through"
    assert asked == ["https://example.org/pay?key=canary-e1"]


async def test_a_client_that_can_ask_nobody_gets_the_error(behind: Behind) -> None:
    async with behind() as url, Client(url) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("up__toll", {"visits": ["e1"]})
    assert caught.value.error.code == -32042
    assert caught.value.error.data["elicitations"][0]["elicitationId"] == "e1"
