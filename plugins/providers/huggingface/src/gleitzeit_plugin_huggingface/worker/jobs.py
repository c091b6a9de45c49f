"""One job on its way: what it asks, what it answers, and whether anybody still waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Failure", "Job", "Slots", "Stopped"]


class Stopped(Exception):
    """The job's caller has left."""


class Failure(Exception):
    """The job failed for a reason that has a name.

    `kind` is one of "missing" (a package), "unknown_model", "unsupported", "invalid", "too_long", "no_room"
    (it never fits), "no_memory" (it does not fit now) and "fault".
    """

    def __init__(self, kind: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class Job:
    """A job. One condition, `gate`, guards everything that jobs wait for.

    `send` takes a frame. Text is written as long as the host has let it: a slow reader slows the model.
    """

    def __init__(
        self, ask: dict[str, Any], gate: threading.Condition, send: Callable[[dict[str, Any]], None]
    ) -> None:
        self.ask = ask
        self.id = ask["id"]
        self.gate = gate
        self.stopped = False
        self._room = int(ask.get("window", 1))
        self._send = send

    def stop(self) -> None:
        """Its caller has left."""
        with self.gate:
            self.stopped = True
            self.gate.notify_all()

    def more(self, count: int) -> None:
        """The host has read so many pieces."""
        with self.gate:
            self._room += count
            self.gate.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, with `gate` held. Raises `Stopped` when the caller has left."""
        self.gate.wait_for(lambda: self.stopped or condition())
        self.check()

    def check(self) -> None:
        """Raises `Stopped` when the caller has left."""
        if self.stopped:
            raise Stopped

    def began(self, **facts: Any) -> None:
        """The model is there and the request is understood; the answer begins."""
        self.check()
        self._send({"id": self.id, "is": "began", **facts})

    def text(self, text: str) -> None:
        """More text; waits while the reader is behind. Raises `Stopped`."""
        with self.gate:
            self.wait(lambda: self._room > 0)
            self._room -= 1
        self._send({"id": self.id, "is": "text", "text": text})


class Slots:
    """How many jobs run at the same time; those that wait come in turn."""

    def __init__(self, count: int, gate: threading.Condition) -> None:
        self._free = count
        self._gate = gate
        self._waiting: list[Job] = []

    @contextmanager
    def taken(self, job: Job) -> Iterator[None]:
        """Wait for a slot and hold it. Raises `Stopped`."""
        with self._gate:
            self._waiting.append(job)
            try:
                job.wait(lambda: self._free > 0 and self._waiting[0] is job)
                self._free -= 1
            finally:
                self._waiting.remove(job)
                self._gate.notify_all()
        try:
            yield
        finally:
            with self._gate:
                self._free += 1
                self._gate.notify_all()
