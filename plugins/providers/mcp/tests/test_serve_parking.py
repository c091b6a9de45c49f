"""Calls of modern clients that wait for answers."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_mcp.serve import peers
from gleitzeit_plugin_mcp.serve.peers import Parking
from mcp import MCPError

from gleitzeit.errors import GleitzeitError

CAN: dict[str, Any] = {"elicitation": {}}
CONTEXT: Any = SimpleNamespace(params={})


async def asks_two(asking: Any, params: Any) -> dict[str, Any]:
    """Asks two questions at once, and a third after them."""
    first = await asyncio.gather(asking.ask("a", {"_meta": {}, "x": 1}), asking.ask("b", {}))
    return {"said": [*first, await asking.ask("c", {})]}


def again(result: dict[str, Any], **answers: Any) -> dict[str, Any]:
    """The next round."""
    keys = {question["method"]: key for key, question in result["inputRequests"].items()}
    return {
        "requestState": result["requestState"],
        "inputResponses": {keys[method]: {"to": value} for method, value in answers.items()},
    }


async def test_a_question_without_an_answer_is_put_again() -> None:
    parking = Parking()
    first = await parking.run(CONTEXT, CAN, {}, asks_two)
    assert first["resultType"] == "input_required"
    assert [each for each in first["inputRequests"].values() if each["method"] == "a"] == [
        {"method": "a", "params": {"x": 1}}
    ]
    rest = await parking.run(CONTEXT, CAN, again(first, a=1), asks_two)
    assert [each["method"] for each in rest["inputRequests"].values()] == ["b"]
    last = await parking.run(CONTEXT, CAN, again(rest, b=2), asks_two)
    assert [each["method"] for each in last["inputRequests"].values()] == ["c"]
    done = await parking.run(CONTEXT, CAN, again(last, c=3), asks_two)
    assert done == {"said": [{"to": 1}, {"to": 2}, {"to": 3}]}
    with pytest.raises(MCPError, match="Invalid or expired requestState"):
        await parking.run(CONTEXT, CAN, again(last, c=3), asks_two)


async def test_a_call_that_ended_while_it_was_parked_gives_its_end() -> None:
    parking, broken = Parking(), asyncio.Event()

    async def breaks(asking: Any, params: Any) -> dict[str, Any]:
        question = asyncio.create_task(asking.ask("a", {}))
        await broken.wait()
        question.cancel()
        await asyncio.wait({question})
        raise GleitzeitError("the server has died")

    first = await parking.run(CONTEXT, CAN, {}, breaks)
    broken.set()
    with pytest.raises(GleitzeitError, match="has died"):
        await parking.run(CONTEXT, CAN, again(first, a=1), breaks)


async def test_what_is_parked_ends_with_its_time_and_with_the_server(monkeypatch: Any) -> None:
    ended = asyncio.Queue[None]()

    async def waits(asking: Any, params: Any) -> dict[str, Any]:
        try:
            return {"said": await asking.ask("a", {})}
        finally:
            ended.put_nowait(None)

    parking = Parking()
    await parking.run(CONTEXT, CAN, {}, waits)
    await parking.close()
    await ended.get()
    monkeypatch.setattr(peers, "PATIENCE", 0.0)
    first = await parking.run(CONTEXT, CAN, {}, waits)
    await ended.get()
    with pytest.raises(MCPError, match="expired"):
        await parking.run(CONTEXT, CAN, again(first, a=1), waits)
    monkeypatch.setattr(peers, "PARKED", 0)
    with pytest.raises(GleitzeitError, match="wait for answers already"):
        await parking.run(CONTEXT, CAN, {}, waits)
    await ended.get()


async def test_a_client_that_leaves_before_a_question_ends_its_call() -> None:
    parking, begun, ended = Parking(), asyncio.Event(), asyncio.Event()

    async def waits(asking: Any, params: Any) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    call = asyncio.create_task(parking.run(CONTEXT, CAN, {}, waits))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()
