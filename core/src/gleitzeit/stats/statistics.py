"""The statistics of a host, bounded whatever its callers ask for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

from gleitzeit.stats.series import QUIET, CallStats, TargetStats, fold
from gleitzeit.values.snapshot import Gauge, InstanceSeries, Snapshot, TargetSeries, worst

__all__ = ["MAX_SERIES", "OTHER", "Statistics"]

#: Series of each sort; beyond them the least used idle ones are merged, so invented names cost nothing.
MAX_SERIES: Final = 2000
#: What merged series are called: one for each instance, and one for each kind of operation.
OTHER: Final = "other"

_Key: TypeAlias = tuple[str, str]
_S = TypeVar("_S", TargetStats, CallStats)


class _Table(Generic[_S]):
    """Series by key, never more than `limit` beside those that others were merged into."""

    def __init__(self, limit: int, make: Callable[[_Key], _S], other: Callable[[_Key], _Key]) -> None:
        self.found: dict[_Key, _S] = {}
        self._limit = limit
        self._make: Callable[[_Key], _S] = make
        self._other = other
        self._others: set[_Key] = set()

    def get(self, key: _Key) -> _S:
        series = self.found.get(key)
        if series is None:
            if key == self._other(key):  # somebody's model may be called so
                return self._get_other(key)
            if len(self.found) - len(self._others) >= self._limit and not self._merge():
                return self._get_other(key)  # all of them are busy
            series = self.found[key] = self._make(key)
        return series

    def _get_other(self, key: _Key) -> _S:
        key = self._other(key)
        if key not in self.found:
            self.found[key] = self._make(key)
        self._others.add(key)
        return self.found[key]

    def _merge(self) -> bool:
        """Merge a tenth, the least used first, so that sorting is rare; False where none is idle."""
        idle = [key for key, series in self.found.items() if series.idle and key not in self._others]
        idle.sort(key=lambda key: self.found[key].count)
        for key in idle[: max(1, self._limit // 10)]:
            fold(self.found.pop(key), self._get_other(key))
        return bool(idle)


class Statistics:
    """The statistics of one host; `clock` gives seconds and `now` Unix time."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        limit: int = MAX_SERIES,
    ) -> None:
        self._clock, self._now, self._made = clock, now, clock()
        self._plugins: dict[str, str] = {}
        self._targets: _Table[TargetStats] = _Table(
            limit,
            lambda key: TargetStats(key[0], key[1], self._plugins.get(key[0], "")),
            lambda key: (key[0], OTHER),
        )
        self._calls: _Table[CallStats] = _Table(
            limit, lambda key: CallStats(*key), lambda key: (OTHER, key[1])
        )

    def target(self, instance: str, name: str, plugin: str = "") -> TargetStats:
        """The series of a target: the same one each time, until it has been merged into `OTHER`."""
        self._plugins[instance] = plugin
        return self._targets.get((instance, name))

    def call(self, name: str, operation: str) -> CallStats:
        """The series of a name and kind of operation; as `target`."""
        return self._calls.get((name, operation))

    def snapshot(self, gauges: Mapping[tuple[str, str], Gauge] | None = None) -> Snapshot:
        """What was counted so far.

        `gauges` are those of targets by (instance, name), and of whole instances by (instance, "").
        """
        gauges = {} if gauges is None else gauges
        targets = tuple(stats.series(gauges.get(key, QUIET)) for key, stats in self._targets.found.items())
        return Snapshot(
            self._now(),
            uptime=self._clock() - self._made,
            calls=tuple(stats.series() for stats in self._calls.found.values()),
            targets=targets,
            instances=tuple(self._instances(targets, gauges)),
        )

    def _instances(
        self, targets: tuple[TargetSeries, ...], gauges: Mapping[tuple[str, str], Gauge]
    ) -> list[InstanceSeries]:
        in_flight: dict[str, int] = {}
        for each in targets:
            in_flight[each.instance] = in_flight.get(each.instance, 0) + each.in_flight
        by_instance: dict[str, list[Gauge]] = {name: [] for name in in_flight}
        pauses: dict[str, list[float]] = {}
        for (name, target), gauge in gauges.items():
            by_instance.setdefault(name, []).append(gauge)
            if target:
                pauses.setdefault(name, []).append(gauge.cooling)
        return [
            InstanceSeries(
                name,
                in_flight=in_flight.get(name, 0),
                queued=sum(gauge.queued for gauge in found),
                cooling=max(gauges.get((name, ""), QUIET).cooling, min(pauses.get(name, (0.0,)))),
                breaker=worst(gauge.breaker for gauge in found),
            )
            for name, found in by_instance.items()
        ]
