"""How calls are bounded and repeated: the settings of a host, an instance, a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.config.codes import codes
from gleitzeit.records import field, record

__all__ = [
    "SECTIONS",
    "BreakerConfig",
    "BulkheadConfig",
    "RateLimitConfig",
    "Resilience",
    "RetryConfig",
    "TimeoutsConfig",
    "settle",
    "translated",
]


@record(frozen=True)
class RetryConfig:
    """When a call is repeated; times in seconds.

    The wait before retry n is `base_delay * 2**n` up to `max_delay`, give or take `jitter_factor`
    of it; what the upstream says itself goes before. `retry_codes` None: what the error says.
    `by_code` holds other values of these fields for single error codes.
    """

    max_retries: int = 2
    base_delay: float = 0.5
    max_delay: float = 30.0
    jitter_factor: float = 0.2
    retry_codes: tuple[str, ...] | None = None
    by_code: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@record(frozen=True)
class BreakerConfig:
    """When a target is left alone: after so many failures in a row, for so many seconds."""

    enabled: bool = True
    failure_threshold: int = 5
    recovery_timeout: float = 30.0
    half_open_max_calls: int = 2


@record(frozen=True)
class BulkheadConfig:
    """How many calls at once, and how many may wait; None: any number."""

    max_calls: int | None = None
    max_queue: int = 1000


@record(frozen=True)
class RateLimitConfig:
    """How much in a minute; None: as much as the upstream takes."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@record(frozen=True)
class TimeoutsConfig:
    """Seconds for one attempt, until a stream's first event, between events, and in a queue; 0: no limit."""

    attempt: float = 0.0
    first_event: float = 120.0
    idle: float = 60.0
    queue: float = 10.0


@record(frozen=True)
class Resilience:
    """What holds for one target, or for an instance as a whole."""

    retry: RetryConfig = field(default_factory=RetryConfig)
    circuit_breaker: BreakerConfig = field(default_factory=BreakerConfig)
    bulkhead: BulkheadConfig = field(default_factory=BulkheadConfig)
    rate_limit: RateLimitConfig = field(default_factory=RateLimitConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)


#: The tables of a configuration that say so.
SECTIONS: Final[Mapping[str, type]] = {
    "retry": RetryConfig,
    "circuit_breaker": BreakerConfig,
    "bulkhead": BulkheadConfig,
    "rate_limit": RateLimitConfig,
    "timeouts": TimeoutsConfig,
}


def settle(*layers: Mapping[str, Mapping[str, Any]]) -> Resilience:
    """What holds where each later layer goes over the earlier ones, key by key, and so in `by_code`."""
    sections: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        values: dict[str, Any] = {}
        for layer in layers:
            values = _over(values, layer.get(name, {}))
        sections[name] = section(**values)
    return Resilience(**sections)


def translated(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Checked tables with every name of an error as our codes; a code goes before a group that it is in."""
    found = dict(tables)
    retry = dict(tables.get("retry", {}))
    if "retry_codes" in retry:
        named = (code for name in retry["retry_codes"] for code in codes(name))
        retry["retry_codes"] = tuple(dict.fromkeys(named))
    if "by_code" in retry:
        several = sorted(retry["by_code"], key=lambda name: -len(codes(name)))
        spread: dict[str, dict[str, Any]] = {}
        for name in several:
            for code in codes(name):
                spread[code] = {**spread.get(code, {}), **retry["by_code"][name]}
        retry["by_code"] = spread
    if retry:
        found["retry"] = retry
    return found


def _over(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` on `base`; what is a table in both is put together in the same way."""
    found = dict(base)
    for key, item in more.items():
        old = found.get(key)
        found[key] = _over(old, item) if isinstance(old, Mapping) and isinstance(item, Mapping) else item
    return found
