"""Rate limits of one key or target: those configured, those that the upstream tells, and its pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from gleitzeit.config.resilience import RateLimitConfig
from gleitzeit.resilience.bucket import Bucket

if TYPE_CHECKING:
    from gleitzeit.values.limits import Limit, RateLimits

__all__ = ["Limiter"]

#: Seconds: nothing that an upstream says holds for longer than a day.
LONGEST: Final = 86400.0
#: More than this, and more than half of the limit, is not counted down.
PLENTY_OF_REQUESTS: Final = 100
PLENTY_OF_TOKENS: Final = 100_000


class Limiter:
    """Says how long a call must wait for its turn.

    Three sources, and the longest wait holds: the configured limits of a minute, what the
    upstream's headers say is left (`learn`), and its word to stay away (`cool`). Tokens may come a
    whole minute's worth at once after a pause, as one request may need that many; requests ten
    seconds' worth.

    While `idle` is true there is nothing to wait for and nothing to count: `reserve` may be left
    out. Single-loop, not thread-safe.
    """

    __slots__ = (
        "_asked",
        "_clock",
        "_cool",
        "_read",
        "_requests",
        "_tokens",
        "_written",
        "counts_tokens",
        "idle",
    )

    def __init__(self, config: RateLimitConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = _bucket(config.requests_per_minute, clock)
        self._tokens = _bucket(config.tokens_per_minute, clock, burst=config.tokens_per_minute)
        #: What is left at the upstream: requests, tokens read or of both sorts, tokens written.
        self._asked: _Left | None = None
        self._read: _Left | None = None
        self._written: _Left | None = None
        self._cool = 0.0
        #: Nothing configured, learned or cooling.
        self.idle = True
        #: Does it want to know how many tokens a call may take?
        self.counts_tokens = False
        self._look()

    def reserve(self, tokens: int) -> float:
        """Take a request and `tokens`; gives the seconds to wait before the call may go, 0.0 for now.

        Who does not go gives them back by `refund`; who went calls `settle`.
        """
        if self.idle:
            return 0.0
        wait = 0.0
        now = self._clock()
        if self._requests is not None:
            wait = self._requests.reserve(1.0, now)
        if self._tokens is not None:
            longer = self._tokens.reserve(tokens, now)
            if longer > wait:
                wait = longer
        if self._cool or self._asked or self._read or self._written:
            wait = max(wait, self._told(tokens))
        return wait

    def refund(self, tokens: int) -> None:
        """The call did not go: what `reserve` took is free again."""
        if self._requests is not None:
            self._requests.refund(1.0)
        if self._asked is not None:
            self._asked.remaining += 1
        if self._read is not None:
            self._read.remaining += tokens
        if self._tokens is not None:
            self._tokens.refund(tokens)

    def settle(self, estimated: int, used: int | None) -> None:
        """The call took `used` tokens where `estimated` were reserved; None: nobody knows.

        What the upstream says is left stays as it is: it counts for itself.
        """
        if used is not None and self._tokens is not None:
            self._tokens.refund(estimated - used)

    def learn(self, limits: RateLimits) -> None:
        """What the upstream says is left: once that is used up nothing goes until its reset.

        A later word holds. One without a reset says nothing, as nobody would know when it ends; one with
        plenty left is not counted, as the next comes in time.
        """
        now = self._clock()
        if limits.requests is not None:
            self._asked = _left(limits.requests, now, PLENTY_OF_REQUESTS, self._asked)
        read, more = limits.tokens, limits.input_tokens
        if more is not None and (read is None or _scarcer(more, read)):
            read = more
        if read is not None:
            self._read = _left(read, now, PLENTY_OF_TOKENS, self._read)
        if limits.output_tokens is not None:
            self._written = _left(limits.output_tokens, now, PLENTY_OF_TOKENS, self._written)
        self._look()

    def cool(self, seconds: float) -> None:
        """Nobody goes for so many seconds. A shorter pause than one that holds changes nothing."""
        if seconds > 0:
            self._cool = max(self._cool, self._clock() + min(seconds, LONGEST))
            self.idle = False

    def cooling(self) -> float:
        """Seconds left of a pause; 0.0 for none."""
        if not self._cool:
            return 0.0
        left = self._cool - self._clock()
        if left > 0:
            return left
        self._cool = 0.0
        self._look()
        return 0.0

    def reset(self) -> None:
        """Forget the pause and what the upstream said; configured limits stay."""
        self._cool = 0.0
        self._asked = self._read = self._written = None
        self._look()

    def _told(self, tokens: int) -> float:
        """The wait by the upstream's word; takes the request and its tokens of what is left there."""
        now = self._clock()
        until = self._cool
        ended = 0.0 < until <= now
        if ended:
            self._cool = 0.0
        if (asked := self._asked) is not None:
            if asked.reset <= now:
                self._asked, ended = None, True
            else:
                asked.remaining -= 1
                if asked.remaining < 0:
                    until = max(until, asked.reset)
        if (read := self._read) is not None:
            if read.reset <= now:
                self._read, ended = None, True
            else:
                enough = read.remaining >= max(1, tokens)
                read.remaining -= tokens
                if not enough:
                    until = max(until, read.reset)
        if (written := self._written) is not None:
            if written.reset <= now:
                self._written, ended = None, True
            elif written.remaining <= 0:
                until = max(until, written.reset)
        if ended:
            self._look()
        return max(0.0, until - now)

    def _look(self) -> None:
        """Set `idle` and `counts_tokens`."""
        self.counts_tokens = self._tokens is not None or self._read is not None
        self.idle = not (self.counts_tokens or self._requests or self._asked or self._written or self._cool)

    def __repr__(self) -> str:
        return f"Limiter(requests={self._requests}, tokens={self._tokens}, cooling={self.cooling():.1f})"


class _Left:
    """What the upstream said is left, less what has gone since; negative: so many wait for `reset`."""

    __slots__ = ("remaining", "reset")

    def __init__(self, remaining: int, reset: float) -> None:
        self.remaining = remaining
        self.reset = reset


def _left(limit: Limit, now: float, plenty: int, known: _Left | None) -> _Left | None:
    """What a header says, or what is `known` where it says half; None: nothing that need be counted."""
    remaining, reset = limit.remaining, limit.reset
    if remaining is None or reset is None:
        return known
    # The next answer brings the next word, long before this is used up.
    if not reset > 0 or (remaining > plenty and limit.limit and remaining * 2 > limit.limit):
        return None
    return _Left(remaining, now + min(reset, LONGEST))


def _scarcer(one: Limit, other: Limit) -> bool:
    return one.remaining is not None and (other.remaining is None or one.remaining < other.remaining)


def _bucket(
    per_minute: float | None, clock: Callable[[], float], burst: float | None = None
) -> Bucket | None:
    if per_minute is None or per_minute == inf:
        return None
    return Bucket(per_minute, burst=burst, clock=clock)
