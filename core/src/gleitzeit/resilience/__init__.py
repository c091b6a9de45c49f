"""What bounds and repeats calls: deadlines, gates before targets, retries."""

from gleitzeit.resilience.clock import Clock
from gleitzeit.resilience.deadline import Deadline, StreamGuard
from gleitzeit.resilience.gate import Gate, Pass, Shared

__all__ = ["Clock", "Deadline", "Gate", "Pass", "Shared", "StreamGuard"]
