"""The circuit breaker: a target that keeps failing is left alone, then tried with a few calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final, Literal, TypeAlias

from gleitzeit.config.resilience import BreakerConfig

__all__ = ["Breaker", "Circuit"]

Circuit: TypeAlias = Literal["closed", "open", "half_open"]

#: How many probes that never ended are remembered, in case they end after all.
_REMEMBERED: Final = 64
#: Seconds: a probe keeps its place at least so long, however short the recovery is.
_SHORTEST_LEASE: Final = 1.0


class Breaker:
    """Counts failures in a row and says whether a call may go.

    Single-loop, not thread-safe. Whoever gets a permit from `acquire` gives it to `settle` once. A
    closed breaker may be passed without a call: its permit is `generation`, and a success of that
    permit need not be settled while `failures` is 0.
    """

    __slots__ = (
        "_clock",
        "_good",
        "_lease",
        "_on_change",
        "_opened",
        "_out",
        "_places",
        "_probes",
        "_recovery",
        "_threshold",
        "failures",
        "generation",
        "state",
    )

    def __init__(
        self,
        config: BreakerConfig,
        *,
        on_change: Callable[[str, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change(old, new)` is told each change of state, after it; it must not raise."""
        #: Read it freely; it changes only here.
        self.state: Circuit = "closed"
        #: Grows with each change of state and each probe, so no permit is ever given twice.
        self.generation = 0
        #: Failures in a row while closed.
        self.failures = 0
        self._threshold = config.failure_threshold if config.enabled else inf
        self._recovery = config.recovery_timeout
        self._lease = max(_SHORTEST_LEASE, config.recovery_timeout)
        self._places = max(1, config.half_open_max_calls)
        self._on_change = on_change
        self._clock = clock
        self._opened = 0.0
        #: Half-open: the permits that are out, and when their leases end; inf: the lease is over.
        self._probes: dict[int, float] = {}
        self._out = 0
        self._good = 0

    def acquire(self) -> int:
        """A permit, or -1 where the target is to be left alone.

        The first call after `recovery_timeout` makes an open breaker half-open; then at most
        `half_open_max_calls` are out or have succeeded at any time. A probe that has not ended
        after another `recovery_timeout` loses its place.
        """
        if self.state == "closed":
            return self.generation
        now = self._clock()
        if self.state == "open":
            if now - self._opened < self._recovery:
                return -1
            self._become("half_open")
        if self._out + self._good >= self._places:
            self._end_leases(now)
            if self._out + self._good >= self._places:
                return -1
        self.generation += 1
        self._probes[self.generation] = now + self._lease
        self._out += 1
        return self.generation

    def settle(self, permit: int, ok: bool | None) -> None:
        """How the call of a permit ended: well, badly, or (None) in a way that says nothing of the target.

        A permit of an earlier state counts nothing.
        """
        if self.state == "closed":
            if permit != self.generation or ok is None:
                return
            if ok:
                self.failures = 0
                return
            self.failures += 1
            if self.failures >= self._threshold:
                self._become("open")
            return
        lease = self._probes.pop(permit, None)
        if lease is None:
            return
        if lease != inf:
            self._out -= 1
        if ok is None:
            return
        if not ok:
            self._become("open")
            return
        self._good += 1
        if self._good >= self._places:
            self._become("closed")

    def retry_in(self) -> float:
        """Seconds until a call may go; 0 where one may go now."""
        if self.state == "closed":
            return 0.0
        now = self._clock()
        if self.state == "open":
            return max(0.0, self._opened + self._recovery - now)
        if self._out + self._good < self._places:
            return 0.0
        return max(0.0, min(self._probes.values()) - now)

    def reset(self) -> None:
        """Close it, whatever it has seen; calls that are under way no longer count."""
        if self.state == "closed":
            self.generation += 1
            self.failures = 0
        else:
            self._become("closed")

    def _become(self, state: Circuit) -> None:
        old, self.state = self.state, state
        self.generation += 1
        self.failures = self._out = self._good = 0
        self._probes.clear()
        if state == "open":
            self._opened = self._clock()
        if self._on_change is not None:
            self._on_change(old, state)

    def _end_leases(self, now: float) -> None:
        # A probe that never ends would keep its place, and the breaker half-open, for ever. One that ends
        # after its lease still tells how the target fares: else a target whose calls take longer than
        # the recovery would never be closed again.
        for permit, lease in self._probes.items():
            if lease <= now:
                self._probes[permit] = inf
                self._out -= 1
        while len(self._probes) - self._out > _REMEMBERED:
            del self._probes[next(permit for permit, lease in self._probes.items() if lease == inf)]

    def __repr__(self) -> str:
        return f"Breaker({self.state}, failures={self.failures})"
