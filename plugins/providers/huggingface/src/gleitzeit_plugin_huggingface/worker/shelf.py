"""The models in memory, within a budget: the least recently used ones make room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job

__all__ = ["Engine", "Key", "Loaded", "Shelf"]

#: What a model is loaded for ("text", "embedding" or "classification"), and its name.
Key = tuple[str, str]


class Loaded(Protocol):
    """A model in memory."""

    #: What its weights take.
    bytes: int

    def run(self, job: Job) -> dict[str, Any]:
        """Do a job; gives the facts of its "done". Raises `Failure` and `Stopped`."""

    def close(self) -> None:
        """Give its memory back."""


class Engine(Protocol):
    """Loads models; called by one job at a time."""

    def size(self, task: str, source: dict[str, Any]) -> int:
        """How many bytes a model will take; 0 where nothing tells."""

    def load(self, task: str, source: dict[str, Any]) -> Loaded:
        """A model, ready. Raises `Failure`."""


class _Entry:
    """A place on the shelf. `model` is None while it is being loaded."""

    def __init__(self, size: int = 0) -> None:
        self.model: Loaded | None = None
        self.size = size
        self.users = 0
        self.used = time.monotonic()
        self.leaving = False


class Shelf:
    """Models by key. `budget` in bytes, None for no limit."""

    def __init__(self, engine: Engine, gate: threading.Condition, budget: int | None) -> None:
        self._engine = engine
        self._gate = gate
        self._budget = budget
        #: The least recently used first.
        self._entries: dict[Key, _Entry] = {}
        self._loading = False

    @contextmanager
    def using(self, key: Key, source: dict[str, Any], job: Job) -> Iterator[Loaded]:
        """A model that stays loaded within the block. Raises `Failure` and `Stopped`."""
        entry = self._taken(key, source, job)
        try:
            assert entry.model is not None
            yield entry.model
        finally:
            with self._gate:
                entry.users -= 1
                entry.used = time.monotonic()
                if self._entries.get(key) is entry:
                    self._entries[key] = self._entries.pop(key)
                self._gate.notify_all()

    def unload(self, key: Key, job: Job) -> bool:
        """Take a model out of memory, once nobody uses it; False where it was not there."""
        with self._gate:
            entry = self._entries.get(key)
            if entry is None:
                return False
            entry.leaving = True
            try:
                job.wait(
                    lambda: (
                        self._entries.get(key) is not entry  # it did not load
                        or (entry.users == 0 and entry.model is not None)
                    )
                )
            except BaseException:
                entry.leaving = False
                self._gate.notify_all()
                raise
            if self._entries.get(key) is not entry:
                return False
            self._close(key)
            return True

    def listing(self) -> list[dict[str, Any]]:
        """What is in memory, the least recently used first; `idle` in seconds."""
        with self._gate:
            now = time.monotonic()
            return [
                {
                    "model": name,
                    "task": task,
                    "bytes": entry.size,
                    "users": entry.users,
                    "idle": 0.0 if entry.users else now - entry.used,
                }
                for (task, name), entry in self._entries.items()
                if entry.model is not None
            ]

    @property
    def total(self) -> int:
        """Bytes taken, and promised to what is being loaded."""
        return sum(entry.size for entry in self._entries.values())

    def _taken(self, key: Key, source: dict[str, Any], job: Job) -> _Entry:
        with self._gate:
            while True:
                entry = self._entries.get(key)
                if entry is None and not self._loading:
                    break
                if entry is not None and entry.model is not None and not entry.leaving:
                    entry.users += 1
                    return entry
                self._await_change(key, entry, job)
            entry = self._entries[key] = _Entry()
            self._loading = True
        try:
            self._load(key, entry, source, job)
        except BaseException:
            with self._gate:
                if self._entries.get(key) is entry:
                    del self._entries[key]
            raise
        finally:
            with self._gate:
                self._loading = False
                self._gate.notify_all()
        return entry

    def _await_change(self, key: Key, seen: _Entry | None, job: Job) -> None:
        def changed() -> bool:
            entry = self._entries.get(key)
            if entry is None:
                return not self._loading
            return entry is not seen or (entry.model is not None and not entry.leaving)

        job.wait(changed)

    def _load(self, key: Key, entry: _Entry, source: dict[str, Any], job: Job) -> None:
        expected = self._engine.size(key[0], source)
        with self._gate:
            self._make_room(expected, key, job)
            entry.size = expected
        model = self._engine.load(key[0], source)
        with self._gate:
            try:
                entry.size = 0
                self._make_room(model.bytes, key, job)
            except BaseException:
                model.close()
                raise
            entry.size, entry.model = model.bytes, model
            entry.users = 1

    def _make_room(self, size: int, key: Key, job: Job) -> None:
        """Unload what was not used for longest until `size` bytes fit; waits for those in use."""
        if self._budget is None:
            return
        if size > self._budget:
            raise Failure(
                "no_room",
                f"{key[1]} takes {_told(size)}, and the memory budget is {_told(self._budget)}",
                "raise memory_budget, or take a smaller model or dtype",
            )
        while (taken := self.total) + size > self._budget:
            idle = self._idle()
            if idle is not None:
                self._close(idle)
            else:
                job.wait(lambda: self._idle() is not None or self.total < taken)

    def _idle(self) -> Key | None:
        """The least recently used model that nobody uses."""
        return next((k for k, e in self._entries.items() if e.model is not None and not e.users), None)

    def _close(self, key: Key) -> None:
        entry = self._entries.pop(key)
        if entry.model is not None:
            entry.model.close()
        self._gate.notify_all()


def _told(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size} bytes"
