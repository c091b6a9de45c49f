"""What bounds and repeats calls: deadlines now; retry, breaker, bulkhead and limiter join them here."""

from gleitzeit.resilience.deadline import Deadline, StreamGuard

__all__ = ["Deadline", "StreamGuard"]
