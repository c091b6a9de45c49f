"""Thousands of calls over real servers of different speed, one of which dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gleitzeit import Chat, Host
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script

#: Seconds that a server takes to answer.
SPEEDS = {"fast": 0.01, "quick": 0.015, "fair": 0.02, "slow": 0.5}
CALLERS = 6


class Fleet:
    """Servers behind one route, and calls that count who has answered."""

    def __init__(self, strategy: str, stack: AsyncExitStack, speeds: Mapping[str, float]) -> None:
        self.strategy = strategy
        self.speeds = speeds
        self.stack = stack
        self.servers: dict[str, OpenAIServer] = {}
        self.stacks: dict[str, AsyncExitStack] = {}
        self.lost = 0

    async def open(self) -> Host:
        for name, seconds in self.speeds.items():
            script = Script({"m": (Rule(Answer("hi", delay=seconds)),)})
            own = self.stacks[name] = await self.stack.enter_async_context(AsyncExitStack())
            self.servers[name] = await own.enter_async_context(OpenAIServer(script))
        providers = {
            name: {"plugin": "openai", "base_url": server.url, "api_key": "sk-x"}
            for name, server in self.servers.items()
        }
        targets = [f"{name}/m" for name in self.speeds]
        config = {
            "providers": providers,
            "routes": {"r": {"targets": targets, "strategy": self.strategy}},
        }
        return await self.stack.enter_async_context(Host(config, environ={}))

    async def calls(self, host: Host, count: int) -> Counter[str]:
        """Who answered so many calls, made by a few callers at once."""
        answered: Counter[str] = Counter()
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                try:
                    reply = await host.call(Chat("x").to("r"))
                except Exception:
                    self.lost += 1
                else:
                    assert reply.target is not None
                    answered[reply.target.instance] += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return answered

    def asked(self) -> dict[str, int]:
        return {name: len(server.requests) for name, server in self.servers.items()}


async def fare(strategy: str, count: int, **slower: float) -> dict[str, Any]:
    """What becomes of the calls while all servers stand, and after the fastest has died."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(strategy, stack, {**SPEEDS, **slower})
        host = await fleet.open()
        before = await fleet.calls(host, count)
        await fleet.stacks["fast"].aclose()
        dead = fleet.asked()["fast"]
        after = await fleet.calls(host, count)
        assert fleet.asked()["fast"] == dead
        return {"before": before, "after": after, "lost": fleet.lost}


@pytest.mark.feature("S004-50")
async def test_p2c_gives_each_server_what_it_can_carry_and_loses_nothing_when_one_dies() -> None:
    found = await fare("p2c", 1000)
    before, after = found["before"], found["after"]
    assert found["lost"] == 0
    assert before.total() == after.total() == 1000
    assert set(before) == set(SPEEDS)
    assert set(after) <= {"quick", "fair", "slow"}
    # The slow one is the tail: in turn, every fourth call would wait for it.
    assert before["slow"] < 0.05 * 1000  # an even share were a quarter
    assert after["slow"] < 0.05 * 1000
    assert min(before["fast"], before["quick"], before["fair"]) > 0.1 * 1000
    assert min(after["quick"], after["fair"]) > 0.2 * 1000


@pytest.mark.feature("S004-50")
@pytest.mark.parametrize("strategy", ["round-robin", "weighted", "least-busy", "random"])
async def test_other_strategies_lose_nothing_either(strategy: str) -> None:
    found = await fare(strategy, 300, slow=0.03)
    assert found["lost"] == 0
    assert found["before"].total() == found["after"].total() == 300
    assert set(found["after"]) == {"quick", "fair", "slow"}
    if strategy in ("round-robin", "weighted"):
        assert found["before"] == dict.fromkeys(SPEEDS, 75)
