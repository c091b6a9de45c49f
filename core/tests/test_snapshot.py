"""Snapshots: quantiles near the true ones, sums that lose nothing, the same after a trip through JSON."""

import json
import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.stats import Histogram
from gleitzeit.testing.strategies import names
from gleitzeit.values.histogram import BOUNDS, HistogramData
from gleitzeit.values.snapshot import CallSeries, InstanceSeries, Snapshot, TargetSeries, worst
from gleitzeit.wire.codec import dumps, from_json, loads, to_json

SECONDS = st.floats(0, 2000, allow_subnormal=False)
COUNTS = st.integers(0, 2**40)
BREAKERS = st.sampled_from(["closed", "half_open", "open"])


def recorded(times: list[float]) -> HistogramData:
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    return histogram.data()


histograms = st.lists(SECONDS, max_size=5).map(recorded)
outcomes = st.dictionaries(st.sampled_from(["ok", "cancelled", "deadline", "reset"]), COUNTS)
calls = st.builds(
    CallSeries,
    names(),
    operation=names(),
    outcomes=outcomes,
    in_flight=COUNTS,
    duration=histograms,
    fallbacks=COUNTS,
)
targets = st.builds(
    TargetSeries,
    names(),
    name=names(),
    plugin=names(),
    attempts=outcomes,
    in_flight=COUNTS,
    duration=histograms,
    first_event=histograms,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read=COUNTS,
    cache_write=COUNTS,
    reasoning=COUNTS,
    retries=COUNTS,
    refused=COUNTS,
    breaker=BREAKERS,
    cooling=SECONDS,
    queued=COUNTS,
)
instances = st.builds(
    InstanceSeries, names(), in_flight=COUNTS, queued=COUNTS, cooling=SECONDS, breaker=BREAKERS
)
snapshots = st.builds(
    Snapshot,
    SECONDS,
    uptime=SECONDS,
    calls=st.lists(calls, max_size=2).map(tuple),
    targets=st.lists(targets, max_size=3).map(tuple),
    instances=st.lists(instances, max_size=2).map(tuple),
)


@given(snapshots)
def test_a_snapshot_comes_back_equal(snapshot: Snapshot) -> None:
    wire = dumps(snapshot)
    assert loads(Snapshot, wire) == snapshot
    assert from_json(Snapshot, json.loads(wire)) == snapshot


def test_what_was_never_used_takes_no_room() -> None:
    assert to_json(Snapshot(1.5, uptime=2.5, targets=(TargetSeries("a", name="b"),))) == {
        "at": 1.5,
        "uptime": 2.5,
        "targets": [{"instance": "a", "name": "b"}],
    }


def test_bounds_contain_those_of_opentelemetry_exactly() -> None:
    assert {0.01 * 2**n for n in range(-7, 17)} <= set(BOUNDS)
    assert list(BOUNDS) == sorted(set(BOUNDS))


@pytest.mark.parametrize("at", [0, 40, len(BOUNDS) - 1])
def test_a_bound_belongs_to_the_bucket_below_it(at: int) -> None:
    counts = recorded([BOUNDS[at], math.nextafter(BOUNDS[at], math.inf)]).counts
    assert (counts[at], counts[at + 1]) == (1, 1)


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_lies_within_a_bucket_of_the_true_one(times: list[float], q: float) -> None:
    true = sorted(times)[max(1, math.ceil(q * len(times))) - 1]
    told = recorded(times).quantile(q)
    assert told is not None
    if true > BOUNDS[-1]:
        assert told == BOUNDS[-1]
    else:
        assert abs(bisect_left(BOUNDS, told) - bisect_left(BOUNDS, true)) <= 1


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_rise(times: list[float], a: float, b: float) -> None:
    data = recorded(times)
    low, high = data.quantile(min(a, b)), data.quantile(max(a, b))
    assert low is not None
    assert high is not None
    assert low <= high


def test_nothing_recorded_has_neither_quantile_nor_mean() -> None:
    assert HistogramData().quantile(0.5) is None
    assert HistogramData().mean is None
    assert recorded([1.0, 3.0]).mean == 2.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        HistogramData().quantile(95)


@given(st.lists(st.lists(SECONDS, max_size=5), max_size=4))
def test_merged_histograms_hold_all_of_them(parts: list[list[float]]) -> None:
    merged = HistogramData.merged(map(recorded, parts))
    whole = recorded([seconds for part in parts for seconds in part])
    assert merged.counts == whole.counts
    assert merged.sum == pytest.approx(whole.sum)


def test_histograms_of_other_bounds_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="different bounds"):
        HistogramData.merged([HistogramData(), HistogramData((0, 0), bounds=(1.0,))])


@given(snapshots)
def test_the_total_of_all_is_that_of_the_instances(snapshot: Snapshot) -> None:
    parts = [snapshot.total(name) for name in {each.instance for each in snapshot.targets}]
    whole = snapshot.total()
    for field in (
        "count",
        "failed",
        "in_flight",
        "input_tokens",
        "output_tokens",
        "retries",
        "refused",
        "queued",
    ):
        assert sum(getattr(part, field) for part in parts) == getattr(whole, field)
    assert HistogramData.merged(part.duration for part in parts).counts == whole.duration.counts
    assert worst(part.breaker for part in parts) == whole.breaker


def test_failures_are_what_neither_succeeded_nor_was_cancelled() -> None:
    call = CallSeries("n", operation="chat", outcomes={"ok": 5, "cancelled": 3, "reset": 2, "deadline": 1})
    assert (call.count, call.failed) == (11, 3)
    assert Snapshot(0.0, uptime=0.0, calls=(call, call)).total_calls().failed == 6


def test_an_open_breaker_is_worse_than_a_half_open_one() -> None:
    assert worst([]) == "closed"
    assert worst(["closed", "half_open"]) == "half_open"
    assert worst(["half_open", "open", "closed"]) == "open"
