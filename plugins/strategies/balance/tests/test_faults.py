"""One of eight endpoints at fault, in simulated time, with calls at random; nothing is retried."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_balance import P2C, Hedge, LeastBusy, Random, RoundRobin, Weighted

from plugins.strategies.balance.tests.simulation import Done, Simulation, percentile, share_of

LOADS = (0.02, 0.6)
BEGIN, END = 5.0, 35.0
loads = pytest.mark.parametrize("load", LOADS)
by_cost = pytest.mark.parametrize("cls", [P2C, Hedge])


def during(done: list[Done]) -> list[Done]:
    return [each for each in done if BEGIN <= each.at < END]


def healthy(cls: Any, load: float) -> float:
    return percentile(Simulation(cls, load=load).run(20), 0.99)


@loads
@by_cost
def test_one_endpoint_ten_times_slower_leaves_the_tail_as_it_was(cls: Any, load: float) -> None:
    simulation = Simulation(cls, load=load)
    simulation.fault(3, BEGIN, END, slower=10)
    assert percentile(during(simulation.run(END)), 0.99) <= 3 * healthy(cls, load)


@loads
@by_cost
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_endpoint_that_fails_at_once_fails_few_calls_and_comes_back(
    cls: Any, load: float, seed: int
) -> None:
    simulation = Simulation(cls, load=load, seed=seed)
    simulation.fault(3, BEGIN, END, fails=True)
    done = simulation.run(END + (300 if load < 0.1 else 80))
    assert sum(each.failed for each in during(done)) <= 0.02 * len(during(done))
    assert share_of(done, 3, END + 60, done[-1].at) > 0.8 / 8


@loads
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p2c_holds_without_ejection_as_well(load: float, seed: int) -> None:
    simulation = Simulation(P2C, load=load, seed=seed, consecutive_failures=0)
    simulation.fault(3, BEGIN, END, fails=True)
    done = simulation.run(END + (300 if load < 0.1 else 80))
    assert sum(each.failed for each in during(done)) <= 0.02 * len(during(done))
    assert share_of(done, 3, END + 60, done[-1].at) > 0.8 / 8


@loads
@pytest.mark.parametrize("cls", [RoundRobin, Random, Weighted, LeastBusy])
def test_ejection_saves_the_strategies_that_do_not_see_latency(cls: Any, load: float) -> None:
    failed, done = {}, []
    for ejecting in (0, 5):
        simulation = Simulation(cls, load=load, consecutive_failures=ejecting)
        simulation.fault(3, BEGIN, END, fails=True)
        done = simulation.run(END + 40 * bool(ejecting))
        failed[ejecting] = sum(each.failed for each in during(done)) / len(during(done))
    assert failed[0] > 0.1
    assert failed[5] <= 0.02
    assert share_of(done, 3, END + 30, END + 40) > 0.6 / 8


@loads
def test_calls_are_shared_evenly_among_equal_endpoints(load: float) -> None:
    done = Simulation(P2C, load=load).run(60)
    for where in range(8):
        assert 0.6 / 8 < share_of(done, where, 0, 60) < 1.4 / 8


def test_all_endpoints_failing_are_all_used() -> None:
    simulation = Simulation(P2C, load=0.02)
    for where in range(8):
        simulation.fault(where, 0, 120, fails=True)
    done = simulation.run(120)
    for where in range(8):
        assert share_of(done, where, 60, 120) > 0.3 / 8
