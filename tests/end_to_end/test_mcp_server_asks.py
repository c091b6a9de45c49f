"""What an upstream asks reaches the client whose call it is, whatever era either speaks."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import (
    LOG_LEVEL_META_KEY,
    CreateMessageResult,
    ElicitResult,
    EmptyResult,
    ListRootsResult,
    Root,
    SetLevelRequest,
    SetLevelRequestParams,
    TextContent,
)

from gleitzeit import Host
from tests.end_to_end.mcp_serving import LONG, PATIENT, UPSTREAM, Mode, text, until
from tests.end_to_end.mcp_upstream import BIG

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
ERAS = pytest.mark.parametrize("era", ["modern", "legacy"])


def behind(era: str, **more: Any) -> dict[str, Any]:
    entry = {"command": sys.executable, "args": [UPSTREAM], "mode": era, "timeout": LONG}
    return {"host": PATIENT, "providers": {"scripted": {}}, "servers": {"up": {**entry, **more}}}


async def person(context: Any, params: Any) -> ElicitResult:
    assert params.message == "Who?"
    assert params.requested_schema["properties"] == {"name": {"type": "string"}}
    return ElicitResult(action="accept", content={"name": "Al"})


async def model(context: Any, params: Any) -> CreateMessageResult:
    assert params.messages[0].content.text == "2+2"
    return CreateMessageResult(role="assistant", content=TextContent(text="4"), model="mine")


async def place(context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root.model_validate({"uri": "file:///here"})])


ANSWERS = {
    "person": {"action": "accept", "content": {"name": "Al"}},
    "model": {"role": "assistant", "content": {"type": "text", "text": "4"}, "model": "mine"},
    "place": {"roots": [{"uri": "file:///here"}]},
}
CAN: dict[str, Any] = {
    "elicitation_callback": person,
    "sampling_callback": model,
    "list_roots_callback": place,
}


@MODES
@ERAS
async def test_questions_cross_from_any_era_to_any(era: str, mode: Mode) -> None:
    async with (
        asyncio.timeout(LONG),
        Host(behind(era), environ={}) as host,
        host.mcp_server().http() as url,
        Client(url, mode=mode, **CAN) as session,
    ):
        for what, expected in ANSWERS.items():
            said = await session.call_tool("up__ask", {"what": what})
            assert json.loads(text(said)) == expected


@MODES
@ERAS
async def test_who_cannot_be_asked_is_not_asked(era: str, mode: Mode) -> None:
    """The host answers itself where it may: here a person is asked by nobody, a model by the host."""
    more = {"may_ask": True, "sampling_model": "scripted/hello"}
    async with (
        asyncio.timeout(LONG),
        Host(behind(era, **more), environ={}) as host,
        host.mcp_server().http() as url,
        Client(url, mode=mode) as session,
    ):
        said = await session.call_tool("up__ask", {"what": "person"})
        assert json.loads(text(said)) == {"action": "decline"}
        said = await session.call_tool("up__ask", {"what": "model"})
        assert json.loads(text(said))["content"]["text"].startswith("Hello!")


@ERAS
async def test_a_round_with_a_state_that_is_not_ours_is_refused(era: str) -> None:
    async with (
        asyncio.timeout(LONG),
        Host(behind(era), environ={}) as host,
        host.mcp_server().http() as url,
        Client(url, **CAN) as session,
    ):
        asked = {"what": "person"}
        call: Any = session.session.call_tool
        first = await call("up__ask", asked, allow_input_required=True)
        (key,) = first.input_requests
        answers = {key: ElicitResult(action="accept", content={"name": "Al"})}
        for state, given in (("made up", asked), (first.request_state, {"what": "model"})):
            with pytest.raises(MCPError, match="Invalid or expired requestState") as caught:
                await call(
                    "up__ask", given, input_responses=answers, request_state=state, allow_input_required=True
                )
            assert caught.value.error.code == -32602
        said = await call("up__ask", asked, input_responses=answers, request_state=first.request_state)
        assert json.loads(text(said)) == ANSWERS["person"]


@ERAS
@MODES
async def test_log_messages_reach_the_client_at_the_level_that_it_wants(era: str, mode: Mode) -> None:
    told: list[Any] = []
    wanted: Any = {LOG_LEVEL_META_KEY: "warning"}

    async def hear(params: Any) -> None:
        told.append((params.level, params.data["said"], params.data["big"]))

    async with (
        asyncio.timeout(LONG),
        Host(behind(era), environ={}) as host,
        host.mcp_server().http() as url,
        Client(url, mode=mode, logging_callback=hear) as session,
    ):
        if mode == "legacy":
            await session.session.send_request(
                SetLevelRequest(params=SetLevelRequestParams(level="warning")), EmptyResult
            )
            await session.call_tool("up__log", {})
        else:
            await session.call_tool("up__log", {})
            assert not told  # nobody asked for them
            await session.call_tool("up__log", {}, meta=wanted)
        await until(lambda: _has(told))
        assert told == [("error", "error", BIG)]


async def _has(found: list[Any]) -> bool:
    return bool(found)


@MODES
async def test_a_question_that_may_be_somebody_elses_is_put_to_nobody(mode: Mode) -> None:
    async with (
        asyncio.timeout(LONG),
        Host(behind("legacy"), environ={}) as host,
        host.mcp_server().http() as url,
        Client(url, mode=mode, **CAN) as first,
        Client(url, mode="legacy", **CAN) as second,
    ):
        waits = asyncio.create_task(second.call_tool("up__wait", {}))

        async def waiting() -> bool:
            return text(await first.call_tool("up__waited", {})).startswith("1 ")

        await until(waiting)
        said = await first.call_tool("up__ask", {"what": "person"})
        assert json.loads(text(said)) == {"action": "decline"}
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
