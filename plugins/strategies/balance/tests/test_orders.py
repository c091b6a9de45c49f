"""What each strategy prefers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from gleitzeit_plugin_balance import P2C, Cheapest, LeastBusy, Priority, Random, RoundRobin, Sticky, Weighted
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.kinds import Ending
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Embedding, Message, Model, Request, Route, Target


def first(balancer: Any, request: Any) -> str:
    return str(next(iter(balancer.order(request))))


def shares(balancer: Any, request: Any, times: int) -> Counter[str]:
    return Counter(first(balancer, request) for _ in range(times))


def answer(balancer: Any, choice: Any, request: Any, seconds: float, begin: float | None = None) -> None:
    balancer.begun(choice, request)
    ending = Ending("ok", seconds=seconds, first=seconds if begin is None else begin)
    balancer.ended(choice, request, ending)


def test_round_robin_takes_each_in_turn_over_recompiles(make: Any, route: Any, ask: Any) -> None:
    strategy = make(RoundRobin)
    balancer = strategy.balancer(route("a", "b", "c"))
    assert [first(balancer, ask()) for _ in range(4)] == ["a/m", "b/m", "c/m", "a/m"]
    assert [str(choice) for choice in strategy.balancer(route("a", "b", "c")).order(ask())] == [
        "b/m",
        "c/m",
        "a/m",
    ]


def test_random_is_even(make: Any, route: Any, ask: Any) -> None:
    counted = shares(make(Random).balancer(route("a", "b", "c", "d")), ask(), 4000)
    assert all(900 < count < 1100 for count in counted.values())


def test_least_busy_takes_who_has_the_fewest_calls_under_way(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b", "c"), ask()
    balancer = make(LeastBusy).balancer(over)
    for choice, calls in zip(over.targets, (2, 1, 3), strict=True):
        for _ in range(calls):
            balancer.begun(choice, request)
    assert [str(choice) for choice in balancer.order(request)] == ["b/m", "a/m", "c/m"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_weights_hold_exactly_over_each_round(weights: list[int]) -> None:
    names = [f"t{number}" for number in range(len(weights))]
    route = Route("r", operation="chat", targets=tuple(Target(name, name="m") for name in names))
    config = Weighted.Config(
        weights={f"{name}/m": weight for name, weight in zip(names, weights, strict=True)}
    )
    strategy = Weighted(config, FakeContext("weighted"))
    request = Request(Chat("x"), target="r")
    for _ in range(3):  # what is owed is kept over a recompile
        counted = shares(strategy.balancer(route), request, sum(weights))
        assert counted == {f"{name}/m": weight for name, weight in zip(names, weights, strict=True)}


def test_weights_are_spread_smoothly(make: Any, route: Any, ask: Any) -> None:
    balancer = make(Weighted, weights={"a/m": 5}).balancer(route("a", "b", "c"))
    assert "".join(first(balancer, ask())[0] for _ in range(7)) == "aabacaa"


def test_a_weight_of_nothing_is_asked_only_when_others_fail(make: Any, route: Any, ask: Any) -> None:
    balancer = make(Weighted, weights={"a/m": 0}).balancer(route("a", "b", "c"))
    for _ in range(10):
        assert str(list(balancer.order(ask()))[-1]) == "a/m"


def test_the_lowest_priority_goes_first_and_equals_are_balanced(make: Any, route: Any, ask: Any) -> None:
    inner = route("x", "y", name="spare")
    over, request = route("c", inner, "a", "b"), ask()
    balancer = make(Priority, priorities={"c/m": 1, "spare": 2}).balancer(over)
    orders = [tuple(str(choice) for choice in balancer.order(request)) for _ in range(40)]
    assert set(orders) == {("a/m", "b/m", "c/m", "spare"), ("b/m", "a/m", "c/m", "spare")}


def test_of_two_the_faster_is_taken(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(P2C).balancer(over)
    answer(balancer, over.targets[0], request, 0.2)
    answer(balancer, over.targets[1], request, 0.1)
    assert shares(balancer, request, 50) == {"b/m": 50}


def test_latency_is_the_time_to_the_first_event(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask(stream=True)
    balancer = make(P2C).balancer(over)
    answer(balancer, over.targets[0], request, 60.0, begin=0.1)
    answer(balancer, over.targets[1], request, 1.0, begin=0.2)
    assert shares(balancer, request, 50) == {"a/m": 50}


def test_calls_under_way_count_against_a_fast_target(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(P2C).balancer(over)
    answer(balancer, over.targets[0], request, 0.2)
    answer(balancer, over.targets[1], request, 0.15)
    balancer.begun(over.targets[1], request)
    assert shares(balancer, request, 50) == {"a/m": 50}


def test_a_failed_target_is_tried_again_when_the_failure_has_faded(
    make: Any, route: Any, ask: Any, clock: Any
) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(P2C).balancer(over)
    answer(balancer, over.targets[1], request, 0.1)
    balancer.begun(over.targets[0], request)
    balancer.ended(over.targets[0], request, Ending("failed", seconds=0.002, first=0.002))
    assert shares(balancer, request, 20) == {"b/m": 20}
    for _ in range(45):  # tau * ln(penalty / latency) is 39 s
        clock.now += 1
        answer(balancer, over.targets[1], request, 0.1)
    assert "a/m" in shares(balancer, request, 20)


def test_a_cancelled_call_changes_nothing_but_the_count(make: Any, route: Any, ask: Any, clock: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(P2C).balancer(over)
    answer(balancer, over.targets[0], request, 0.1)
    load = balancer.group.load(over.targets[0])
    before = load.ewma, load.at, load.failures, load.inflight
    clock.now += 1
    balancer.begun(over.targets[0], request)
    balancer.ended(over.targets[0], request, Ending("neutral", seconds=9.0, first=9.0))
    assert (load.ewma, load.at, load.failures, load.inflight) == before


def test_a_new_target_starts_at_the_mean_of_the_others(make: Any, route: Any, ask: Any) -> None:
    strategy = make(P2C)
    over, request = route("a", "b"), ask()
    balancer = strategy.balancer(over)
    answer(balancer, over.targets[0], request, 0.1)
    answer(balancer, over.targets[1], request, 0.3)
    larger = route("a", "b", "new")
    grown = strategy.balancer(larger)
    assert grown.group.load(larger.targets[2]).ewma == pytest.approx(0.2)
    answer(grown, larger.targets[2], request, 0.05)
    assert grown.group.load(larger.targets[2]).ewma == 0.05


def test_latencies_outlive_a_recompile(make: Any, route: Any, ask: Any) -> None:
    strategy, over, request = make(P2C), route("a", "b"), ask()
    old = strategy.balancer(over)
    answer(old, over.targets[0], request, 0.3)
    old.begun(over.targets[1], request)
    new = strategy.balancer(route("a", "b"))
    assert new.group.members[1].load.inflight == 1
    old.ended(over.targets[1], request, Ending("ok", seconds=0.1, first=0.1))
    assert new.group.members[1].load.inflight == 0
    assert shares(new, request, 30) == {"b/m": 30}


def priced(name: str, **price: Any) -> Target:
    return Target(name, name="m", model=Model("m", metadata={"price": price} if price else {}))


def test_the_cheapest_depends_on_what_is_read_and_written(make: Any, route: Any) -> None:
    over = route(priced("reader", input=1, output=20), priced("writer", input=3, output=5), "unknown")
    balancer = make(Cheapest).balancer(over)
    long = Request(Chat("word " * 10_000, max_tokens=10), target="r")
    short = Request(Chat("Tell me a story"), target="r")
    assert [str(each) for each in balancer.order(long)] == ["reader/m", "writer/m", "unknown/m"]
    assert [str(each) for each in balancer.order(short)] == ["writer/m", "reader/m", "unknown/m"]


def test_an_embedding_writes_nothing(make: Any, route: Any) -> None:
    over = route(priced("a", input=2), priced("b", input=1, output=9))
    assert first(make(Cheapest).balancer(over), Request(Embedding(["x"]), target="r")) == "b/m"


def test_messages_of_all_kinds_have_a_size(make: Any, route: Any) -> None:
    over = route(priced("a", input=2), priced("b", input=1))
    chat = Chat([Message.system("be brief"), Message.user("hi")])
    assert first(make(Cheapest).balancer(over), Request(chat, target="r")) == "b/m"


def test_prices_may_be_configured_for_targets_and_routes(make: Any, route: Any, ask: Any) -> None:
    inner = route(priced("x", input=9, output=9), priced("y", input=1, output=1), name="inner")
    over = route(priced("a", input=5, output=5), inner)
    assert first(make(Cheapest).balancer(over), ask()) == "a/m"  # the dearest of a route counts
    prices = {"inner": {"input": 1, "output": 1}}
    assert first(make(Cheapest, prices=prices).balancer(over), ask()) == "inner"


def test_equal_prices_are_balanced(make: Any, route: Any, ask: Any) -> None:
    over, request = route(priced("a", input=1), priced("b", input=1), priced("c", input=2)), ask()
    balancer = make(Cheapest).balancer(over)
    answer(balancer, over.targets[0], request, 0.5)
    answer(balancer, over.targets[1], request, 0.1)
    assert [str(choice) for choice in balancer.order(request)] == ["b/m", "a/m", "c/m"]


def test_what_else_a_price_says_does_no_harm(
    make: Any, route: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    over = route(priced("a", input=2, output=2, cached_input=0.1), priced("b", input=1, output=1, tier="x"))
    assert first(make(Cheapest).balancer(over), ask()) == "b/m"
    assert not caplog.records


def test_a_price_that_is_none_is_unknown_and_told(
    make: Any, route: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Target("a", name="m", model=Model("m", metadata={"price": "cheap"}))
    balancer = make(Cheapest).balancer(route(broken, priced("b", input=1000, output=1000)))
    assert first(balancer, ask()) == "b/m"
    assert "the price of a/m" in caplog.text


SESSIONS = [f"session {number}" for number in range(2000)]


def homes(make: Any, route: Route, **config: Any) -> dict[str, str]:
    balancer = make(Sticky, **config).balancer(route)
    return {
        session: first(balancer, Request(Chat("x"), target="r", metadata={"session": session}))
        for session in SESSIONS
    }


def test_a_session_stays_and_sessions_are_spread_evenly(make: Any, route: Any) -> None:
    there = homes(make, route("a", "b", "c", "d"))
    assert there == homes(make, route("d", "b", "a", "c"))
    assert all(430 < count < 570 for count in Counter(there.values()).values())


def test_only_the_sessions_of_a_target_that_leaves_move_and_they_spread(make: Any, route: Any) -> None:
    before, after = homes(make, route("a", "b", "c", "d")), homes(make, route("a", "b", "c"))
    moved = {session for session in SESSIONS if before[session] != after[session]}
    assert moved == {session for session in SESSIONS if before[session] == "d/m"}
    assert all(count > 120 for count in Counter(after[session] for session in moved).values())


def test_without_a_session_the_principal_counts_and_without_both_p2c_decides(
    make: Any, route: Any, ask: Any
) -> None:
    balancer = make(Sticky).balancer(route("a", "b", "c"))
    assert len(shares(balancer, ask(principal="ada"), 50)) == 1
    assert len(shares(balancer, ask(), 200)) == 3


def test_the_key_may_be_another(make: Any, route: Any, ask: Any) -> None:
    balancer = make(Sticky, key="user").balancer(route("a", "b", "c"))
    assert len(shares(balancer, ask(metadata={"user": 7}), 50)) == 1
    assert len(shares(balancer, ask(metadata={"session": 7}), 200)) == 3
