"""The strategies in a host: who is asked, who is asked instead, and what a request may choose."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

import gleitzeit_plugin_balance as balance
import pytest
from pydantic import BaseModel

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Request, Stream, TextDelta
from gleitzeit.discovery import Index
from gleitzeit.errors import ConfigError, InvalidRequestError, OverloadedError

PLUGINS = {
    "cheapest": balance.Cheapest,
    "hedge": balance.Hedge,
    "least-busy": balance.LeastBusy,
    "p2c": balance.P2C,
    "priority": balance.Priority,
    "random": balance.Random,
    "round-robin": balance.RoundRobin,
    "sticky": balance.Sticky,
    "weighted": balance.Weighted,
}


class ToyConfig(BaseModel):
    down: bool = False
    price: float = 1.0


class Toy(Provider):
    """Answers with its name, fails, or waits until it is let go."""

    Config: ClassVar[Any] = ToyConfig

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()
        self.cancelled = 0

    def provide_models(self) -> Any:
        price = {"price": {"input": self.config.price, "output": self.config.price}}
        return [Model("m", metadata=price)]

    async def call(self, request: Request) -> Reply | Stream:
        self.asked += 1
        if self.config.down:
            raise OverloadedError(f"{self.context.name} is down", sent=False)
        try:
            await asyncio.sleep(0)
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Stream(self.events()) if request.stream else Reply(self.context.name, finish_reason="stop")

    async def events(self) -> Any:
        await asyncio.sleep(0)
        yield TextDelta(self.context.name)
        yield Finished("stop")


def host(route: dict[str, Any], *, down: str = "", **more: Any) -> Host:
    providers = {
        name: {"plugin": "toy", "down": name in down, "price": float(number)}
        for number, name in enumerate("abc", 1)
    }
    routes = {"r": {"targets": ["a/m", "b/m", "c/m"], **route}, **more.pop("routes", {})}
    config = {
        "host": {"retry": {"max_retries": 0}},
        "providers": providers,
        "routes": routes,
        **more,
    }
    return Host(config, plugins={"toy": Toy, **PLUGINS}, environ={}, index=Index(()))


def toy(running: Host, name: str) -> Toy:
    found = running._registry.find("provider", name)
    assert found is not None
    built = found.object
    assert isinstance(built, Toy)
    return built


async def ask(running: Host, times: int, **fields: Any) -> Counter[str]:
    answers = [await running.call(Chat("x").to("r", **fields)) for _ in range(times)]
    return Counter(answer.text for answer in answers)


@pytest.mark.parametrize("strategy", PLUGINS)
async def test_no_call_fails_while_one_of_three_is_down(strategy: str) -> None:
    async with host({"strategy": strategy}, down="b") as running:
        answered = await ask(running, 60)
        assert answered.total() == 60
        assert "b" not in answered
        # the failures put it last, or its breaker is open: it is not asked again and again
        assert toy(running, "b").asked <= 5


@pytest.mark.parametrize("strategy", ["least-busy", "p2c", "random", "round-robin", "weighted", "hedge"])
async def test_calls_and_streams_are_spread(strategy: str) -> None:
    async with host({"strategy": strategy}) as running:
        counted = await asyncio.gather(*(ask(running, 1) for _ in range(60)))
        assert sum(counted, Counter()).keys() == {"a", "b", "c"}
        streams = [running.stream(Chat("x").to("r")).collect() for _ in range(60)]
        assert {reply.text for reply in await asyncio.gather(*streams)} == {"a", "b", "c"}


async def test_options_of_the_route_reach_the_strategy() -> None:
    options = {"weights": {"a/m": 3, "b/m": 0}}
    async with host({"strategy": "weighted", "options": options}) as running:
        assert await ask(running, 40) == {"a": 30, "c": 10}


async def test_settings_of_the_instance_reach_every_route() -> None:
    strategies = {"mine": {"plugin": "weighted", "weights": {"a/m": 3, "b/m": 0}}}
    async with host({"strategy": "mine"}, strategies=strategies) as running:
        assert await ask(running, 40) == {"a": 30, "c": 10}


async def test_a_wrong_option_is_told() -> None:
    async with host({"strategy": "weighted", "options": {"weight": {}}}) as running:
        with pytest.raises(ConfigError, match=r"routes\.r\.options\.weight: .*did you mean .*weights"):
            await running.call(Chat("x").to("r"))


async def test_a_request_may_choose_another_strategy_where_the_route_allows_it() -> None:
    async with host({"strategy": "round-robin", "allow_strategies": ["cheapest"]}) as running:
        assert set(await ask(running, 6)) == {"a", "b", "c"}
        assert set(await ask(running, 6, strategy="cheapest")) == {"a"}
        with pytest.raises(InvalidRequestError, match="does not allow"):
            await ask(running, 1, strategy="random")


async def test_a_session_stays_with_its_target_and_moves_on_when_that_fails() -> None:
    async with host({"strategy": "sticky"}) as running:
        homes = {key: set(await ask(running, 5, metadata={"session": key})) for key in map(str, range(30))}
        assert all(len(home) == 1 for home in homes.values())
        assert set.union(*homes.values()) == {"a", "b", "c"}
    async with host({"strategy": "sticky"}, down="c") as running:
        for key, home in homes.items():
            now = set(await ask(running, 1, metadata={"session": key}))
            assert now == home if home != {"c"} else now <= {"a", "b"}


async def test_routes_stand_in_routes() -> None:
    routes = {"pair": {"targets": ["a/m", "b/m"], "strategy": "round-robin"}}
    main = {"targets": ["pair", "c/m"], "strategy": "priority", "options": {"priorities": {"c/m": 1}}}
    async with host(main, routes=routes) as running:
        assert await ask(running, 10) == {"a": 5, "b": 5}
    async with host(main, routes=routes, down="ab") as running:
        assert await ask(running, 10) == {"c": 10}
        assert toy(running, "a").asked + toy(running, "b").asked <= 10


async def test_a_slow_answer_is_hedged_and_the_slow_attempt_cancelled() -> None:
    options = {"after": 0.01, "share": 1.0}
    async with host({"strategy": "hedge", "options": options}) as running:
        await ask(running, 1)
        toys = {name: toy(running, name) for name in "abc"}
        before = {name: each.asked for name, each in toys.items()}
        for each in toys.values():
            each.go.clear()
        call = asyncio.ensure_future(ask(running, 1))
        while not (asked := [name for name, each in toys.items() if each.asked > before[name]]):
            await asyncio.sleep(0)
        # whoever was asked first does not answer, the others would
        (slow,) = asked
        for name in toys.keys() - {slow}:
            toys[name].go.set()
        assert slow not in await call
        assert {name: each.cancelled for name, each in toys.items()} == {**dict.fromkeys("abc", 0), slow: 1}


async def test_what_was_learned_outlives_a_change_of_the_plugins() -> None:
    async with host({"strategy": "round-robin"}) as running:
        assert await ask(running, 2) == {"a": 1, "b": 1}
        toy(running, "c").context.changed()
        assert await ask(running, 1) == {"c": 1}


async def test_a_busy_target_gets_no_more_than_it_carries() -> None:
    async with host({"strategy": "least-busy"}) as running:
        await ask(running, 1)
        toys = [toy(running, name) for name in "abc"]
        before = [each.asked for each in toys]
        for each in toys:
            each.go.clear()
        calls = [asyncio.ensure_future(ask(running, 1)) for _ in toys]
        while sum(each.asked for each in toys) < sum(before) + 3:
            await asyncio.sleep(0)
        assert [each.asked for each in toys] == [count + 1 for count in before]
        toys[0].go.set()
        toys[2].go.set()
        while sum(call.done() for call in calls) < 2:
            await asyncio.sleep(0)
        assert set(await ask(running, 40)) == {"a", "c"}
        toys[1].go.set()
        await asyncio.gather(*calls)
