"""What a host's statistics say at one moment: counts, times and states, by target, name and instance.

Names and numbers only: nothing here quotes what was said in a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from gleitzeit.values.histogram import HistogramData

__all__ = [
    "BreakerState",
    "CallSeries",
    "Gauge",
    "InstanceSeries",
    "Snapshot",
    "TargetSeries",
    "worst",
]

BreakerState: TypeAlias = Literal["closed", "half_open", "open"]

_EMPTY: Final = HistogramData()
_SEVERITY: Final[Mapping[BreakerState, int]] = {"closed": 0, "half_open": 1, "open": 2}


def worst(states: Iterable[BreakerState]) -> BreakerState:
    """The state of several breakers as one: open before half open before closed."""
    return max(states, key=_SEVERITY.__getitem__, default="closed")


@frozen(kw_only=True)
class Gauge:
    """The state of what guards a target or an instance; `cooling` is seconds until it is asked again."""

    breaker: BreakerState = field(default="closed", kw_only=False)
    cooling: float = 0.0
    queued: int = 0


@frozen(kw_only=True)
class TargetSeries:
    """The attempts at one target of an instance, since the host was made.

    `attempts` counts them by outcome: "ok", "cancelled", or the code of the error. `duration`
    holds those that ended by themselves, `first_event` the streams that began. `retries` of them
    repeated an attempt; `refused` were kept back by a breaker, a limit or a full queue and are not
    among the attempts. Tokens are those that the vendor reported. `cooling` is in seconds.
    """

    instance: str = field(kw_only=False)
    name: str = field(kw_only=False)
    plugin: str = ""
    attempts: Mapping[str, int] = field(factory=dict)
    in_flight: int = 0
    duration: HistogramData = _EMPTY
    first_event: HistogramData = _EMPTY
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    retries: int = 0
    refused: int = 0
    breaker: BreakerState = "closed"
    cooling: float = 0.0
    queued: int = 0

    @property
    def count(self) -> int:
        """How many attempts have ended."""
        return sum(self.attempts.values())

    @property
    def failed(self) -> int:
        """How many of them with an error."""
        return _failed(self.attempts)


@frozen(kw_only=True)
class CallSeries:
    """The calls by one name and kind of operation, whichever targets were asked; as `TargetSeries`.

    `fallbacks` counts the calls that another target than the first answered.
    """

    name: str = field(kw_only=False)
    operation: str
    outcomes: Mapping[str, int] = field(factory=dict)
    in_flight: int = 0
    duration: HistogramData = _EMPTY
    fallbacks: int = 0

    @property
    def count(self) -> int:
        """How many calls have ended."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """How many of them with an error."""
        return _failed(self.outcomes)

    @property
    def denied(self) -> int:
        """How many of these errors were the word of a guard, or a quarantined tool."""
        return self.outcomes.get("security_denied", 0)

    @property
    def timed_out(self) -> int:
        """How many of these errors were the end of the time."""
        return self.outcomes.get("deadline", 0)


@frozen(kw_only=True)
class InstanceSeries:
    """An instance as a whole; `breaker` is the worst of it and its targets.

    `cooling` is in seconds until one of the targets that were asked may be asked again: the shortest of
    their pauses, 0 where one of them is not paused.
    """

    name: str = field(kw_only=False)
    in_flight: int = 0
    queued: int = 0
    cooling: float = 0.0
    breaker: BreakerState = "closed"


@frozen(kw_only=True)
class Snapshot:
    """A host's statistics at one moment: `at` in Unix time, `uptime` in seconds."""

    at: float = field(kw_only=False)
    uptime: float
    calls: tuple[CallSeries, ...] = ()
    targets: tuple[TargetSeries, ...] = ()
    instances: tuple[InstanceSeries, ...] = ()

    def total(self, instance: str | None = None) -> TargetSeries:
        """All targets, or those of an instance, as one."""
        parts = [each for each in self.targets if instance is None or each.instance == instance]
        return TargetSeries(
            instance or "",
            name="",
            plugin=parts[0].plugin if instance is not None and parts else "",
            attempts=_added(each.attempts for each in parts),
            in_flight=sum(each.in_flight for each in parts),
            duration=HistogramData.merged(each.duration for each in parts),
            first_event=HistogramData.merged(each.first_event for each in parts),
            input_tokens=sum(each.input_tokens for each in parts),
            output_tokens=sum(each.output_tokens for each in parts),
            cache_read=sum(each.cache_read for each in parts),
            cache_write=sum(each.cache_write for each in parts),
            reasoning=sum(each.reasoning for each in parts),
            retries=sum(each.retries for each in parts),
            refused=sum(each.refused for each in parts),
            breaker=worst(each.breaker for each in parts),
            cooling=max((each.cooling for each in parts), default=0.0),
            queued=sum(each.queued for each in parts),
        )

    def tools(self) -> tuple[CallSeries, ...]:
        """The calls of tools, by the names that were asked for."""
        return tuple(each for each in self.calls if each.operation == "tool_call")

    def total_calls(self) -> CallSeries:
        """All calls as one."""
        return CallSeries(
            "",
            operation="",
            outcomes=_added(each.outcomes for each in self.calls),
            in_flight=sum(each.in_flight for each in self.calls),
            duration=HistogramData.merged(each.duration for each in self.calls),
            fallbacks=sum(each.fallbacks for each in self.calls),
        )


def _failed(outcomes: Mapping[str, int]) -> int:
    return sum(count for outcome, count in outcomes.items() if outcome not in ("ok", "cancelled"))


def _added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return total
