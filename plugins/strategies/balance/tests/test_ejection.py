"""Who keeps failing is put last, for longer each time, and comes back."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_balance import P2C, LeastBusy, Random, RoundRobin

from gleitzeit.errors import BreakerOpenError, CapacityError, OverloadedError, RateLimitedError
from gleitzeit.kinds import Ending
from gleitzeit.values import Route


def fail(balancer: Any, choice: Any, request: Any, times: int = 5) -> None:
    for _ in range(times):
        balancer.begun(choice, request)
        error = OverloadedError("down")
        balancer.ended(choice, request, Ending("failed", seconds=0.01, first=0.01, error=error))


def end(balancer: Any, choice: Any, request: Any, ending: Ending) -> None:
    balancer.begun(choice, request)
    balancer.ended(choice, request, ending)


def firsts(balancer: Any, request: Any, times: int = 60) -> set[str]:
    return {str(next(iter(balancer.order(request)))) for _ in range(times)}


def test_failures_in_a_row_put_a_target_last_until_its_time_is_over(
    make: Any, route: Any, ask: Any, clock: Any
) -> None:
    over, request = route("a", "b", "c"), ask()
    balancer = make(Random).balancer(over)
    fail(balancer, over.targets[0], request, 4)
    assert "a/m" in firsts(balancer, request)
    fail(balancer, over.targets[0], request, 1)
    for _ in range(20):
        assert list(balancer.order(request))[-1] is over.targets[0]
    clock.now += 29.9
    assert "a/m" not in firsts(balancer, request)
    clock.now += 0.2
    assert "a/m" in firsts(balancer, request)


def test_a_success_begins_the_count_again(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(Random).balancer(over)
    for _ in range(5):
        fail(balancer, over.targets[0], request, 4)
        end(balancer, over.targets[0], request, Ending("ok", seconds=0.1, first=0.1))
    assert "a/m" in firsts(balancer, request)


def test_a_neutral_ending_is_neither_a_failure_nor_a_success(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(Random).balancer(over)
    fail(balancer, over.targets[0], request, 4)
    for _ in range(10):
        end(balancer, over.targets[0], request, Ending("neutral", seconds=0.1, first=0.1))
    assert "a/m" in firsts(balancer, request)
    fail(balancer, over.targets[0], request, 1)
    assert "a/m" not in firsts(balancer, request)


def test_each_ejection_is_longer_and_good_times_make_up_for_it(
    make: Any, route: Any, ask: Any, clock: Any
) -> None:
    over, request = route("a", "b", "c"), ask()
    strategy = make(Random)
    balancer, load = strategy.balancer(over), None
    for times in (1, 2, 3):
        fail(balancer, over.targets[0], request)
        load = balancer.group.load(over.targets[0])
        assert load.until == clock.now + 30 * times
        clock.now = load.until
    clock.now += 60  # two ejections are forgiven
    fail(balancer, over.targets[0], request)
    assert load is not None
    assert load.until == clock.now + 60


def test_no_more_than_a_share_is_ejected_at_once(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b", "c", "d", "e"), ask()
    balancer = make(RoundRobin, max_ejected=0.4).balancer(over)
    for choice in over.targets[:2]:
        fail(balancer, choice, request)
    assert firsts(balancer, request) == {"c/m", "d/m", "e/m"}
    balancer = make(RoundRobin, max_ejected=0.3).balancer(over)
    for choice in over.targets[:2]:
        fail(balancer, choice, request)
    assert firsts(balancer, request) == {"b/m", "c/m", "d/m", "e/m"}


def test_one_of_two_and_one_of_three_may_be_ejected(make: Any, route: Any, ask: Any) -> None:
    for names in (("a", "b"), ("a", "b", "c")):
        over, request = route(*names), ask()
        balancer = make(RoundRobin).balancer(over)
        fail(balancer, over.targets[1], request)
        assert len(firsts(balancer, request)) == len(names) - 1


@pytest.mark.parametrize("most", [0.5, 1.0])
def test_with_more_than_half_failing_all_are_used(make: Any, route: Any, ask: Any, most: float) -> None:
    over, request = route("a", "b", "c", "d"), ask()
    balancer = make(RoundRobin, max_ejected=most).balancer(over)
    for choice in over.targets[:2]:
        fail(balancer, choice, request)
    assert firsts(balancer, request) == {"c/m", "d/m"}
    fail(balancer, over.targets[2], request)
    assert firsts(balancer, request) == {"a/m", "b/m", "c/m", "d/m"}
    if most < 1:  # the third was not ejected, and is well again
        end(balancer, over.targets[2], request, Ending("ok", seconds=0.1, first=0.1))
        assert firsts(balancer, request) == {"c/m", "d/m"}


def test_an_ejection_outlives_a_recompile_and_holds_in_other_routes(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b", "c"), ask()
    strategy = make(Random)
    old, other = strategy.balancer(over), strategy.balancer(route("a", "d", "e", name="other"))
    assert "a/m" in firsts(other, request)
    fail(old, over.targets[0], request)
    assert "a/m" not in firsts(other, request)
    assert "a/m" not in firsts(strategy.balancer(route("a", "b", "c")), request)


def test_failures_of_one_operation_do_not_eject_another(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    strategy = make(Random)
    fail(strategy.balancer(over), over.targets[0], request)
    other = Route("r", operation="embedding", targets=over.targets)
    assert "a/m" in firsts(strategy.balancer(other), request)


@pytest.mark.parametrize("error", [RateLimitedError, BreakerOpenError, CapacityError])
@pytest.mark.parametrize("cls", [P2C, LeastBusy])
def test_one_that_says_when_it_has_room_again_rests_until_then(
    make: Any, route: Any, ask: Any, clock: Any, cls: Any, error: Any
) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(cls).balancer(over)
    ending = Ending("neutral", seconds=0.0, first=0.0, error=error("busy", retry_after=7.0, sent=False))
    end(balancer, over.targets[0], request, ending)
    assert firsts(balancer, request) == {"b/m"}
    assert list(balancer.order(request)) == [over.targets[1], over.targets[0]]
    clock.now += 7.0
    assert firsts(balancer, request) == {"a/m", "b/m"}


def test_when_all_rest_all_are_asked(make: Any, route: Any, ask: Any) -> None:
    over, request = route("a", "b"), ask()
    balancer = make(RoundRobin).balancer(over)
    for choice, seconds in zip(over.targets, (9.0, 4.0), strict=True):
        error = RateLimitedError("busy", retry_after=seconds)
        end(balancer, choice, request, Ending("neutral", seconds=0.0, first=0.0, error=error))
    assert firsts(balancer, request) == {"a/m", "b/m"}


def test_a_route_does_not_rest_for_one_of_its_targets(make: Any, route: Any, ask: Any) -> None:
    inner = route("x", "y", name="inner")
    over, request = route("a", inner), ask()
    balancer = make(RoundRobin).balancer(over)
    error = RateLimitedError("busy", retry_after=9.0)
    end(balancer, inner, request, Ending("neutral", seconds=0.0, first=0.0, error=error))
    assert firsts(balancer, request) == {"a/m", "inner"}
