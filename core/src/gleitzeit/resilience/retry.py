"""Whether a target that failed is asked again, and when; and how much of that a target may get."""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gleitzeit.config.codes import codes
from gleitzeit.config.resilience import RetryConfig
from gleitzeit.errors import GleitzeitError, QuotaExhaustedError

__all__ = ["LONGEST_HINT", "RetryBudget", "RetryPolicy"]

#: Seconds: nobody waits longer than this within a call; another target is asked, or the caller told.
LONGEST_HINT: Final = 120.0
#: What an upstream asks for is a least, so jitter only adds to it, and not much.
_HINT_JITTER: Final = 0.05


class RetryPolicy:
    """The configured answer to a failed attempt.

    An error's kind decides: a code of `retry_codes` or `by_code` holds for the errors beneath it in the tree,
    plugins' own included, and the nearest one of `by_code` holds. Safety (what may have acted, what has
    streamed, deadline, budget) is the corridor's.
    """

    __slots__ = ("_config", "_kinds", "_per_code", "_random", "_wanted")

    def __init__(
        self, config: RetryConfig, random: Callable[[float, float], float] = _random.uniform
    ) -> None:
        self._config = config
        self._random = random
        self._wanted = None if config.retry_codes is None else frozenset(_spread(config.retry_codes))
        self._per_code: dict[str, RetryConfig] = {}
        # A group such as `capacity` comes before its members, so that their own word stays the last.
        for name in sorted(config.by_code, key=lambda name: -len(codes(name))):
            for code in _spread((name,)):
                base = self._per_code.get(code, config)
                self._per_code[code] = replace(base, **config.by_code[name])
        self._kinds: dict[type[GleitzeitError], tuple[bool | None, RetryConfig]] = {}

    def delay(self, error: GleitzeitError, tries: int) -> float | None:
        """Seconds to wait before the target is asked again; None for not at all.

        `tries` is how often it has been asked for this call, from 1. What the upstream itself asks for
        goes before the backoff; beyond two minutes it is not waited for. Where `retry_codes` names
        the error it is retried, unless its upstream said not to.
        """
        wanted, config = self._kinds.get(type(error)) or self._judge(type(error))
        if wanted is None:
            wanted = error.retryable
        elif wanted:
            wanted = error.__dict__.get("retryable", True)
        if not wanted or tries > config.max_retries:
            return None
        hint = error.retry_after
        if hint is not None and hint >= 0:
            if hint > LONGEST_HINT:
                return None
            return hint * self._random(1.0, 1.0 + min(_HINT_JITTER, config.jitter_factor))
        # 2**64 times anything is beyond every ceiling; more would overflow.
        backoff = min(config.max_delay, config.base_delay * 2.0 ** min(tries - 1, 64))
        jitter = config.jitter_factor
        return max(0.0, backoff * self._random(1.0 - jitter, 1.0 + jitter))

    def _judge(self, kind: type[GleitzeitError]) -> tuple[bool | None, RetryConfig]:
        """Is this kind wanted (None: what the error says), and what holds for it? Remembered by kind."""
        above = [cls.code for cls in kind.__mro__ if issubclass(cls, GleitzeitError)]
        config = next((self._per_code[code] for code in above if code in self._per_code), self._config)
        if issubclass(kind, QuotaExhaustedError):
            wanted: bool | None = False  # waiting pays no bill
        elif self._wanted is None:
            wanted = None
        else:
            wanted = not self._wanted.isdisjoint(above)
        self._kinds[kind] = wanted, config
        return wanted, config


def _spread(names: tuple[str, ...]) -> list[str]:
    """The codes behind names; a plugin's own code stands for itself."""
    return [code for name in names for code in codes(name) or (name,)]


class RetryBudget:
    """Keeps the retries of one target a small share of its calls, so that they add no storm to a failure.

    Each call's first attempt deposits 0.15, three a second flow in, a retry takes 1; at most 30 are
    kept, and it starts with as many. Single-loop, not thread-safe.
    """

    __slots__ = ("_at", "_clock", "_left")

    SHARE: Final = 0.15
    PER_SECOND: Final = 3.0
    MOST: Final = 30.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = self.MOST
        self._at = clock()

    def deposit(self) -> None:
        """A call asks the target for the first time."""
        if self._left < self.MOST:
            self._left += self.SHARE

    def withdraw(self) -> bool:
        """Take a retry, if there is one left."""
        now = self._clock()
        left = min(self.MOST, self._left + (now - self._at) * self.PER_SECOND)
        self._at = now
        self._left = left - 1.0 if left >= 1.0 else left
        return left >= 1.0

    def __repr__(self) -> str:
        return f"RetryBudget({self._left:.1f} of {self.MOST:g})"
