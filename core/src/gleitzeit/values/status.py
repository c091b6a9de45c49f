"""What is known of an instance's state: health, verdicts of guards, outcomes of hooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen

__all__ = ["Health", "HealthStatus", "Outcome", "State", "Verdict"]

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
