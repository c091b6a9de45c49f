"""What bounds and repeats calls: deadlines, gates before targets, retries."""

from gleitzeit.resilience.clock import Clock
from gleitzeit.resilience.deadline import Deadline, Lease, StreamGuard
from gleitzeit.resilience.gate import Gate, Pass, Shared

__all__ = ["Clock", "Deadline", "Gate", "Lease", "Pass", "Shared", "StreamGuard"]
