"""What a launched process may do. A policy is data and can only be tightened."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from attrs import field, frozen

__all__ = ["Policy", "SecurityLevel"]


class SecurityLevel(IntEnum):
    """How much protection is required, least first."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


def _words(value: Iterable[str]) -> frozenset[str]:
    return frozenset(value)


def _least(ours: float | None, theirs: float | None) -> float | None:
    return theirs if ours is None else ours if theirs is None else min(ours, theirs)


@frozen(kw_only=True)
class Policy:
    """Requirements that a sandbox must prove, grants that it may give, and limits.

    `requires` names capability atoms; what a sandbox has not proven by a self-test on this
    machine raises `SandboxUnavailableError` before anything starts. Limits of None are no limits.
    """

    level: SecurityLevel = field(kw_only=False, default=SecurityLevel.HIGH)
    requires: frozenset[str] = field(default=frozenset(), converter=_words)
    readable: frozenset[str] = field(default=frozenset(), converter=_words)
    writable: frozenset[str] = field(default=frozenset(), converter=_words)
    hosts: frozenset[str] = field(default=frozenset(), converter=_words)
    wall_seconds: float | None = None
    memory_mb: float | None = None
    processes: float | None = None

    def tighten(self, other: Policy) -> Policy:
        """The policy that holds where both hold: never wider than either."""
        return Policy(
            max(self.level, other.level),
            requires=self.requires | other.requires,
            readable=self.readable & other.readable,
            writable=self.writable & other.writable,
            hosts=self.hosts & other.hosts,
            wall_seconds=_least(self.wall_seconds, other.wall_seconds),
            memory_mb=_least(self.memory_mb, other.memory_mb),
            processes=_least(self.processes, other.processes),
        )
