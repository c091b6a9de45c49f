"""What an upstream says of its own rate limits."""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Limit", "RateLimits"]


@frozen(kw_only=True, slots=False)  # half the time to make one, as every answer brings several
class Limit:
    """One limit; None means that the upstream did not say, never zero.

    `reset` is in seconds from the moment the answer came: until the limit is whole again, as most
    vendors mean it, which is later than when the next call may go.
    """

    limit: int | None = field(default=None, kw_only=False)
    remaining: int | None = field(default=None, kw_only=False)
    reset: float | None = field(default=None, kw_only=False)


@frozen(kw_only=True, slots=False)
class RateLimits:
    """The limits that came with one answer; None for those that were not mentioned."""

    requests: Limit | None = None
    tokens: Limit | None = None
    input_tokens: Limit | None = None
    output_tokens: Limit | None = None
