"""The token bucket: so much a minute, with a little at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite

from gleitzeit.errors import ConfigError

__all__ = ["Bucket"]


class Bucket:
    """Hands out `per_minute`, evenly, and up to `burst` at once after a pause.

    Who asks gets its share at once and is told when it is covered: the balance may be negative. So
    sleepers do not wake together and fight, and each waits once. In any time from the start, no
    more is covered than `burst` and what has flown in since.

    `burst` None is ten seconds' worth, at least 1: calls come in flocks, and waiting longer than
    that is worse than asking another target. Single-loop, not thread-safe.
    """

    __slots__ = ("_at", "_balance", "_clock", "_rate", "burst")

    def __init__(
        self, per_minute: float, *, burst: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not isfinite(per_minute) or per_minute <= 0:
            raise ConfigError(
                f"a limit of {per_minute:g} a minute lets nothing through, or everything",
                hint="give a number above 0, or leave the limit out",
            )
        self.burst = max(1.0, per_minute / 6) if burst is None else burst
        self._rate = per_minute / 60
        self._clock = clock
        self._balance = self.burst
        self._at = clock()

    def reserve(self, amount: float = 1.0, now: float | None = None) -> float:
        """Take `amount`; gives the seconds to wait until it is covered, 0.0 for now.

        Who does not go after all gives it back by `refund`. An amount beyond `burst` takes its time.
        """
        if now is None:
            now = self._clock()
        balance = self._balance + (now - self._at) * self._rate
        if balance > self.burst:
            balance = self.burst
        self._at = now
        self._balance = balance = balance - amount
        return 0.0 if balance >= 0 else -balance / self._rate

    def refund(self, amount: float) -> None:
        """Put back what was reserved and not used. Those who wait already wait no shorter."""
        self._balance += amount

    def __repr__(self) -> str:
        return f"Bucket({self._rate * 60:g} a minute, burst {self.burst:g})"
