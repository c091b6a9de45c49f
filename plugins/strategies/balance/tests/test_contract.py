"""What every strategy must do: choose among the choices, keep count, forget nothing over a recompile."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any

import gleitzeit_plugin_balance as balance
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import ConfigError, OverloadedError, RateLimitedError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.kinds import Ending, Strategy
from gleitzeit.manifest import build as manifest_of
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Embedding, Model, Request, Route, Target, ToolCall

STRATEGIES: dict[str, Any] = {
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
OPTIONS: dict[str, Any] = {
    "weights": {"t0/m": 3, "t1/m": 0, "inner": 2},
    "priorities": {"t0/m": 1, "inner": -1},
    "prices": {"t0/m": {"input": 1, "output": 2}, "inner": {"input": 0}},
    "max_ejected": 1.0,
    "base_ejection": 10,
    "consecutive_failures": 2,
}
OPERATIONS = (Chat("hi"), Embedding("x"), ToolCall({"a": 1}))

every = pytest.mark.parametrize("name", STRATEGIES)


def choices(count: int) -> tuple[Target | Route, ...]:
    inner = Route("inner", operation="chat", targets=(Target("x", name="m"), Target("y", name="m")))
    price = {"price": {"input": 5, "output": 1}}
    targets = [
        Target(f"t{number}", name="m", model=Model("m", metadata=price if number % 2 else {}))
        for number in range(count)
    ]
    return (*targets, inner)


class Checked:
    """A balancer of a strategy, under the watch of a few rules."""

    def __init__(self, name: str, route: Route) -> None:
        self.now = 0.0
        cls = STRATEGIES[name]
        self.strategy = cls(cls.Config(), FakeContext(name), clock=lambda: self.now, chance=Random(3))
        self.build(route)

    def build(self, route: Route) -> None:
        self.route = route
        self.balancer = self.strategy.balancer(route)

    def order(self, request: Request) -> list[Target | Route]:
        found = list(self.balancer.order(request))
        ids = [id(choice) for choice in found]
        assert len(set(ids)) == len(ids)
        assert set(ids) == {id(choice) for choice in self.route.targets}
        return found

    def under_way(self) -> int:
        return sum(load.inflight for load in self.strategy.roster._loads.values())


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ok", "failed", "neutral", "limited", "wait", "recompile"]),
        st.integers(0, 20),
    ),
    max_size=60,
)


@every
@given(steps, st.integers(1, 8))
def test_every_choice_is_offered_once_and_what_is_under_way_is_counted(
    name: str, steps: list[tuple[str, int]], count: int
) -> None:
    checked = Checked(name, Route("r", operation="chat", targets=choices(count), options=OPTIONS))
    open_: list[tuple[Any, Any, Request]] = []
    for what, number in steps:
        if what == "ask":
            request = Request(OPERATIONS[number % 3], target="r", metadata={"session": number})
            found = checked.order(request)
            choice = found[number % 2 % len(found)]
            checked.balancer.begun(choice, request)
            open_.append((checked.balancer, choice, request))
        elif what == "wait":
            checked.now += number
        elif what == "recompile":  # the calls under way still belong to the old balancer
            fewer = (*choices(count)[number % 2 :],)
            checked.build(evolve(checked.route, targets=fewer))
        elif open_:
            balancer, choice, request = open_.pop(number % len(open_))
            outcome: Any = "neutral" if what == "limited" else what
            error = {
                "failed": OverloadedError("full"),
                "limited": RateLimitedError("slow down", retry_after=float(number)),
            }.get(what)
            balancer.ended(
                choice, request, Ending(outcome, seconds=number / 7, first=number / 9, error=error)
            )
        assert checked.under_way() == len(open_)
        checked.order(Request(Chat("x"), target="r", principal="p"))
    for balancer, choice, request in open_:
        balancer.ended(choice, request, Ending("neutral", seconds=0.0, first=0.0))
    assert checked.under_way() == 0


@every
def test_one_choice_is_enough(name: str) -> None:
    target = Target("only", name="m")
    checked = Checked(name, Route("r", operation="chat", targets=(target,)))
    request = Request(Chat("x"), target="r")
    for _ in range(20):
        assert checked.order(request) == [target]
        checked.balancer.begun(target, request)
        error = OverloadedError("down")
        checked.balancer.ended(target, request, Ending("failed", seconds=0.1, first=0.1, error=error))


@every
def test_the_same_target_may_stand_in_a_route_twice(name: str) -> None:
    targets = (Target("a", name="m"), Target("a", name="m"))
    checked = Checked(name, Route("r", operation="chat", targets=targets))
    for _ in range(5):
        checked.order(Request(Chat("x"), target="r"))


@every
def test_it_is_a_strategy_with_a_manifest_that_says_what_the_code_says(name: str) -> None:
    [point] = entry_points(group="gleitzeit.strategies", name=name)
    cls = STRATEGIES[name]
    assert point.load() is cls
    built = cls(cls.Config(), FakeContext(name))
    assert isinstance(built, Strategy)
    assert check_hooks(built, name) == (("wrap_call",) if name == "hedge" else ())
    folder = Path(__file__).parent.parent / "src/gleitzeit_plugin_balance/manifests"
    assert json.loads((folder / f"{name}.json").read_text("utf-8")) == manifest_of(cls, name, "strategy")


@every
@pytest.mark.parametrize(
    "options, says",
    [
        ({"consecutive_failure": 3}, r"routes\.r\.options\.consecutive_failure: .*did you mean"),
        ({"panic": 2}, r"routes\.r\.options\.panic: "),
    ],
)
def test_a_wrong_option_of_a_route_is_named(name: str, options: dict[str, Any], says: str) -> None:
    cls = STRATEGIES[name]
    with pytest.raises(ConfigError, match=says):
        cls(cls.Config(), FakeContext(name)).balancer(
            Route("r", operation="chat", targets=choices(1), options=options)
        )


def test_options_of_a_route_go_over_those_of_the_strategy() -> None:
    config = balance.PriorityConfig(priorities={"b/m": 1}, tau=3)
    strategy = balance.Priority(config, FakeContext("priority"))
    targets = (Target("a", name="m"), Target("b", name="m"))
    route = Route("r", operation="chat", targets=targets, options={"priorities": {"a/m": 1}})
    request = Request(Chat("x"), target="r")
    assert next(iter(strategy.balancer(route).order(request))) is targets[1]
    assert next(iter(strategy.balancer(evolve(route, options={})).order(request))) is targets[0]


def test_a_name_in_the_options_that_is_no_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    strategy = balance.Weighted(balance.WeightedConfig(), FakeContext("weighted"))
    strategy.balancer(
        Route("r", operation="chat", targets=choices(1), options={"weights": {"t0/n": 2, "t0/m": 1}})
    )
    assert "weights of route r names t0/n, and the choices are inner, t0/m" in caplog.text
