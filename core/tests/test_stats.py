"""Statistics count everything once, and stay small whatever names callers invent."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gleitzeit.stats import MAX_SERIES, OTHER, Statistics, TargetStats
from gleitzeit.values import Usage
from gleitzeit.values.snapshot import Gauge


def test_the_same_key_has_the_same_series() -> None:
    statistics = Statistics()
    assert statistics.target("a", "m", "p") is statistics.target("a", "m", "p")
    assert statistics.call("fast", "chat") is statistics.call("fast", "chat")
    assert statistics.call("fast", "chat") is not statistics.call("fast", "embedding")


def test_an_attempt_is_counted_with_its_time_and_tokens() -> None:
    statistics = Statistics()
    stats = statistics.target("a", "m", "p")
    stats.in_flight += 1
    stats.attempt("ok", 0.25, Usage(input=3, output=4, cache_read=2, cache_write=1, reasoning=1))
    stats.attempt("rate_limited", 0.5, Usage(output=1))
    stats.attempt("cancelled", 60.0)
    stats.retries += 1
    stats.refused += 2
    stats.first_event.record(0.125)
    [series] = statistics.snapshot().targets
    assert (series.instance, series.name, series.plugin, series.in_flight) == ("a", "m", "p", 1)
    assert series.attempts == {"ok": 1, "rate_limited": 1, "cancelled": 1}
    assert (series.duration.count, series.duration.sum) == (2, 0.75)  # a cancelled one tells of the caller
    assert series.first_event.sum == 0.125
    assert (series.input_tokens, series.output_tokens, series.cache_read) == (3, 5, 2)
    assert (series.cache_write, series.reasoning, series.retries, series.refused) == (1, 1, 1, 2)


def test_a_call_is_counted() -> None:
    statistics = Statistics()
    stats = statistics.call("fast", "chat")
    stats.call("ok", 1.0)
    stats.call("deadline", 2.0)
    stats.call("cancelled", 9.0)
    stats.fallbacks += 1
    [series] = statistics.snapshot().calls
    assert (series.name, series.operation, series.fallbacks) == ("fast", "chat", 1)
    assert series.outcomes == {"ok": 1, "deadline": 1, "cancelled": 1}
    assert series.duration.sum == 3.0


def test_a_snapshot_does_not_change_afterwards() -> None:
    statistics = Statistics()
    stats = statistics.target("a", "m")
    stats.attempt("ok", 1.0)
    before = statistics.snapshot()
    stats.attempt("ok", 1.0)
    assert before.total().count == 1


def test_a_snapshot_tells_its_time_and_the_age_of_the_host() -> None:
    clock = iter([10.0, 14.5])
    snapshot = Statistics(clock=lambda: next(clock), now=lambda: 1_800_000_000.0).snapshot()
    assert (snapshot.at, snapshot.uptime) == (1_800_000_000.0, 4.5)


def test_gauges_belong_to_their_targets_and_instances() -> None:
    statistics = Statistics()
    for name in ("m", "n"):
        statistics.target("a", name).in_flight += 1
    gauges = {
        ("a", ""): Gauge(cooling=3.0, queued=1),
        ("a", "m"): Gauge("open", queued=2),
        ("a", "gone"): Gauge("half_open"),
        ("b", ""): Gauge(),
    }
    snapshot = statistics.snapshot(gauges)
    assert [(each.name, each.breaker, each.queued) for each in snapshot.targets] == [
        ("m", "open", 2),
        ("n", "closed", 0),
    ]
    a, b = snapshot.instances
    assert (a.name, a.in_flight, a.queued, a.cooling, a.breaker) == ("a", 2, 3, 3.0, "open")
    assert (b.name, b.in_flight, b.breaker) == ("b", 0, "closed")


@pytest.mark.parametrize(
    "own, targets, cooling",
    [(0.0, [5.0, 2.0], 2.0), (0.0, [5.0, 0.0], 0.0), (4.0, [5.0, 2.0], 4.0), (0.0, [], 0.0), (1.0, [], 1.0)],
)
def test_an_instance_is_paused_until_one_of_its_targets_is_not(
    own: float, targets: list[float], cooling: float
) -> None:
    gauges = {("a", f"m{number}"): Gauge(cooling=each) for number, each in enumerate(targets)}
    [a] = Statistics().snapshot({("a", ""): Gauge(cooling=own), **gauges}).instances
    assert a.cooling == cooling


def test_invented_names_leave_the_statistics_bounded_and_lose_nothing() -> None:
    statistics = Statistics()
    for _ in range(3):
        statistics.target("a", "real", "p").attempt("ok", 0.1)
    for number in range(10_000):
        statistics.target("a", f"invented-{number}", "p").attempt("unknown_model", 0.1)
        statistics.call(f"a/invented-{number}", "chat").call("unknown_model", 0.1)
    snapshot = statistics.snapshot()
    assert len(snapshot.targets) <= MAX_SERIES + 1
    assert len(snapshot.calls) <= MAX_SERIES + 1
    assert snapshot.total().attempts == {"ok": 3, "unknown_model": 10_000}
    assert snapshot.total().duration.count == 10_003
    assert snapshot.total_calls().outcomes == {"unknown_model": 10_000}
    [other] = [each for each in snapshot.targets if each.name == OTHER]
    assert (other.instance, other.plugin) == ("a", "p")
    # What is used more than others is kept, although it is the oldest.
    assert statistics.target("a", "real", "p").attempts == {"ok": 3}


def test_what_is_under_way_is_not_merged() -> None:
    statistics = Statistics(limit=2)
    busy = [statistics.target("a", name) for name in ("m", "n")]
    for stats in busy:
        stats.in_flight += 1
    late = statistics.target("a", "late")
    assert late is statistics.target("a", "later")  # there is no room of its own
    late.attempt("ok", 0.1)
    names = {each.name: each.count for each in statistics.snapshot().targets}
    assert names == {"m": 0, "n": 0, OTHER: 1}


class Machine(RuleBasedStateMachine):
    """Series are made, used, kept and used again, in any order: the totals are those of a plain count."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics = Statistics(limit=3)
        self.kept: list[TargetStats] = []
        self.begun: list[TargetStats] = []
        self.attempts: dict[str, int] = {}
        self.tokens = self.refused = self.retries = 0

    @rule(instance=st.sampled_from("ab"), name=st.sampled_from(["m", "n", "o", "p", "q", OTHER]))
    def make(self, instance: str, name: str) -> None:
        self.kept.append(self.statistics.target(instance, name, "p"))

    @rule(data=st.data())
    def begin(self, data: Any) -> None:
        if self.kept:
            stats = data.draw(st.sampled_from(self.kept))
            stats.in_flight += 1
            self.begun.append(stats)

    @rule(data=st.data(), outcome=st.sampled_from(["ok", "cancelled", "reset"]), tokens=st.integers(0, 9))
    def end(self, data: Any, outcome: str, tokens: int) -> None:
        if self.begun:
            stats = self.begun.pop(data.draw(st.integers(0, len(self.begun) - 1)))
            stats.in_flight -= 1
            stats.attempt(outcome, 0.5, Usage(input=tokens))
            self.attempts[outcome] = self.attempts.get(outcome, 0) + 1
            self.tokens += tokens

    @rule(data=st.data())
    def refuse_and_retry(self, data: Any) -> None:
        if self.kept:
            data.draw(st.sampled_from(self.kept)).refused += 1
            data.draw(st.sampled_from(self.kept)).retries += 1
            self.refused += 1
            self.retries += 1

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        snapshot = self.statistics.snapshot()
        total = snapshot.total()
        assert dict(total.attempts) == self.attempts
        assert total.in_flight == len(self.begun) == sum(each.in_flight for each in snapshot.instances)
        assert (total.input_tokens, total.refused, total.retries) == (self.tokens, self.refused, self.retries)
        assert total.duration.count == total.count - self.attempts.get("cancelled", 0)
        assert len(snapshot.targets) <= 3 + 2


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30)
