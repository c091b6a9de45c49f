"""What plugins say of instances and calls: health, verdicts, whether to retry, outcomes of hooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen

__all__ = ["Health", "HealthStatus", "Outcome", "Retry", "State", "Verdict"]

T = TypeVar("T")

HealthStatus: TypeAlias = Literal["ok", "degraded", "error", "unknown"]


@frozen(kw_only=True)
class Health:
    """How an instance fares; `latency` in seconds where it was measured."""

    status: HealthStatus = field(kw_only=False)
    detail: str = ""
    latency: float | None = None
    data: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Verdict:
    """A vote on a request; no vote (None) is an abstention."""

    allowed: bool = field(kw_only=False)
    reason: str = ""

    @classmethod
    def allow(cls, reason: str = "") -> Verdict:
        """A vote for the call."""
        return cls(True, reason=reason)

    @classmethod
    def deny(cls, reason: str) -> Verdict:
        """A vote against the call; one is enough. The reason is shown to the caller."""
        return cls(False, reason=reason)


@frozen(kw_only=True)
class Retry:
    """A plugin's word on a failed call: ask again after `delay` seconds, or never (None).

    The host still asks nothing again that may have acted, that has streamed content, or whose time
    or retry budget is spent.
    """

    delay: float | None = field(kw_only=False)

    @classmethod
    def after(cls, seconds: float) -> Retry:
        """Ask again after so many seconds; 0 for at once."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(
                f"a retry cannot wait {seconds} seconds; give a number from 0, or `Retry.never()`"
            )
        return cls(float(seconds))

    @classmethod
    def never(cls) -> Retry:
        """Do not ask this target again."""
        return cls(None)


class State(StrEnum):
    """The state of a plugin or instance."""

    DISCOVERED = "discovered"
    DISABLED = "disabled"
    INCOMPATIBLE = "incompatible"
    MISSING = "missing"
    INVALID = "invalid"
    FAILED = "failed"
    ACTIVE = "active"
    DEGRADED = "degraded"


@frozen(kw_only=True)
class Outcome(Generic[T]):
    """What one plugin answered to a broadcast: a value, or the error that it raised."""

    plugin: str = field(kw_only=False)
    value: T | None = None
    error: Exception | None = None
