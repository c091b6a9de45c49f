"""The series that calls and attempts are recorded in. For one event loop, without locks."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, Self, TypeVar

from gleitzeit.values import Usage
from gleitzeit.values.histogram import BOUNDS, HistogramData
from gleitzeit.values.snapshot import CallSeries, Gauge, TargetSeries

__all__ = ["QUIET", "CallStats", "Histogram", "TargetStats", "fold"]

#: The gauge of what nothing guards.
QUIET: Final = Gauge()
_LENGTH: Final = len(BOUNDS) + 1


class Histogram:
    """Seconds by bucket, as in `HistogramData`."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * _LENGTH
        self.sum = 0.0

    def record(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def __iadd__(self, other: Histogram) -> Self:
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum
        return self

    def data(self) -> HistogramData:
        """What was counted so far."""
        return HistogramData(tuple(self.counts), sum=self.sum)


class TargetStats:
    """The attempts at one target. Keep it as long as you like: nothing recorded here is lost.

    The fields are those of `TargetSeries`; count `in_flight`, `retries` and `refused` directly.
    """

    __slots__ = ("__dict__", "instance", "name", "plugin")  # numbers lie in the dict, which `fold` shares

    def __init__(self, instance: str, name: str, plugin: str) -> None:
        self.instance, self.name, self.plugin = instance, name, plugin
        self.attempts: dict[str, int] = {}
        self.in_flight = 0
        self.duration = Histogram()
        self.first_event = Histogram()
        self.input_tokens = 0
        self.output_tokens = 0
        self.cache_read = 0
        self.cache_write = 0
        self.reasoning = 0
        self.retries = 0
        self.refused = 0

    @property
    def idle(self) -> bool:
        """Is nothing under way?"""
        return not self.in_flight

    @property
    def count(self) -> int:
        """How often anything was recorded."""
        return sum(self.attempts.values()) + self.refused

    def attempt(self, outcome: str, seconds: float, usage: Usage | None = None) -> None:
        """An attempt has ended: "ok", "cancelled", or an error's code; with what the vendor reported.

        The time of a cancelled attempt tells of the caller, and is not recorded.
        """
        attempts = self.attempts
        attempts[outcome] = attempts.get(outcome, 0) + 1
        if outcome != "cancelled":
            self.duration.record(seconds)
        if usage is not None:
            self.input_tokens += usage.input or 0
            self.output_tokens += usage.output or 0
            self.cache_read += usage.cache_read or 0
            self.cache_write += usage.cache_write or 0
            self.reasoning += usage.reasoning or 0

    def series(self, gauge: Gauge = QUIET) -> TargetSeries:
        """What was counted so far."""
        return TargetSeries(
            self.instance,
            name=self.name,
            plugin=self.plugin,
            attempts=dict(self.attempts),
            in_flight=self.in_flight,
            duration=self.duration.data(),
            first_event=self.first_event.data(),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read=self.cache_read,
            cache_write=self.cache_write,
            reasoning=self.reasoning,
            retries=self.retries,
            refused=self.refused,
            breaker=gauge.breaker,
            cooling=gauge.cooling,
            queued=gauge.queued,
        )


class CallStats:
    """The calls by one name and kind of operation; keep it as a `TargetStats`.

    The fields are those of `CallSeries`; count `in_flight` and `fallbacks` directly.
    """

    __slots__ = ("__dict__", "name", "operation")

    def __init__(self, name: str, operation: str) -> None:
        self.name, self.operation = name, operation
        self.outcomes: dict[str, int] = {}
        self.in_flight = 0
        self.duration = Histogram()
        self.fallbacks = 0

    @property
    def idle(self) -> bool:
        """Is nothing under way?"""
        return not self.in_flight

    @property
    def count(self) -> int:
        """How often anything was recorded."""
        return sum(self.outcomes.values())

    def call(self, outcome: str, seconds: float) -> None:
        """A call has ended: "ok", "cancelled", or an error's code."""
        outcomes = self.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome != "cancelled":
            self.duration.record(seconds)

    def series(self) -> CallSeries:
        """What was counted so far."""
        return CallSeries(
            self.name,
            operation=self.operation,
            outcomes=dict(self.outcomes),
            in_flight=self.in_flight,
            duration=self.duration.data(),
            fallbacks=self.fallbacks,
        )


S = TypeVar("S", TargetStats, CallStats)


def fold(series: S, into: S) -> None:
    """Add all of `series` to `into`; whoever still holds `series` goes on counting there."""
    total = into.__dict__
    for name, ours in series.__dict__.items():
        if isinstance(ours, dict):
            for outcome, count in ours.items():
                total[name][outcome] = total[name].get(outcome, 0) + count
        else:
            total[name] += ours
    series.__dict__ = total
