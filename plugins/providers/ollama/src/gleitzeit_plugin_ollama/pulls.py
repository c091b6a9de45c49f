"""Downloads of models: one at a time for each model, whoever waits for it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from gleitzeit.errors import GleitzeitError, TruncatedStreamError
from gleitzeit.values import Progress
from gleitzeit_plugin_ollama.listing import full_name
from gleitzeit_plugin_ollama.shapes import Status

__all__ = ["Follower", "Pulls", "Tell"]

#: Tells of a status line of a download.
Tell: TypeAlias = Callable[[Status], None]


class _Pull:
    """A download under way, with its newest news."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.task: asyncio.Task[None] | None = None
        self.followers = 0
        #: Lines that have come.
        self.lines = 0
        #: The newest progress, and how many there were.
        self.progress: Progress | None = None
        self.told = 0
        self._changed = asyncio.Event()
        self._layers: dict[str, tuple[int, int]] = {}

    def tell(self, status: Status) -> None:
        self.lines += 1
        if type(status.total) is int and status.total > 0:
            done = status.completed if type(status.completed) is int else 0
            self._layers[str(status.digest)] = (min(done, status.total), status.total)
        if self._layers:  # before that the server has not even found the model
            progress = self._sum(status)
            if self.progress is None or progress.message != self.progress.message:
                self.progress = progress
                self.told += 1
        self.wake()

    def wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        await self._changed.wait()

    def _sum(self, status: Status) -> Progress:
        done = sum(layer[0] for layer in self._layers.values())
        total = sum(layer[1] for layer in self._layers.values())
        loading = type(status.total) is int
        what = f"{100 * done // total} % of {_size(total)}" if loading else str(status.status)[:80]
        return Progress(done, total=total, message=f"pulling {self.model}: {what}")


class Pulls:
    """Runs downloads: `run(model, tell)` does one, and raises where it fails."""

    def __init__(self, run: Callable[[str, Tell], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._running: dict[str, _Pull] = {}

    def follow(self, model: str) -> Follower:
        """Join the download of `model`, or begin it."""
        key = full_name(model)
        pull = self._running.get(key)
        if pull is None:
            pull = self._running[key] = _Pull(model)
            pull.task = asyncio.ensure_future(self._run(model, pull.tell))
            pull.task.add_done_callback(lambda task: self._ended(key, pull, task))
        pull.followers += 1
        return Follower(self, pull)

    async def leave(self, pull: _Pull) -> None:
        """One follower goes; the last one ends the download, and waits for its end."""
        pull.followers -= 1
        if not pull.followers:
            await self._stop(pull)

    async def aclose(self) -> None:
        """End all downloads."""
        for pull in list(self._running.values()):
            await self._stop(pull)

    def _ended(self, key: str, pull: _Pull, task: asyncio.Task[None]) -> None:
        if self._running.get(key) is pull:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # those who wait raise it; nobody may be left
        pull.wake()

    async def _stop(self, pull: _Pull) -> None:
        task = pull.task
        if task is None or task.done():
            return
        key = full_name(pull.model)
        if self._running.get(key) is pull:
            del self._running[key]  # who comes now begins anew
        task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error  # the connection is closed first
        if cancelled is not None:
            raise cancelled


class Follower:
    """One caller's view of a download; to be closed, whatever comes."""

    def __init__(self, pulls: Pulls, pull: _Pull) -> None:
        self._pulls = pulls
        self._pull = pull
        self._told = 0
        self._left = False

    @property
    def lines(self) -> int:
        """Signs of life so far."""
        return self._pull.lines

    async def next(self) -> Progress | None:
        """The newest progress that this caller has not seen; None at the good end. Raises the failure."""
        pull = self._pull
        task = pull.task
        assert task is not None, "a pull has its task from the beginning"
        while True:
            if pull.told != self._told:
                self._told = pull.told
                return pull.progress
            if task.done():
                _raise(task)
                return None
            await pull.change()

    async def wait(self) -> None:
        """Wait for the good end; raises the failure."""
        while await self.next() is not None:
            pass

    async def aclose(self) -> None:
        """Go; idempotent."""
        if not self._left:
            self._left = True
            await self._pulls.leave(self._pull)


def _raise(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        raise TruncatedStreamError("the download was ended", hint="the instance was stopped; ask again")
    error = task.exception()
    if isinstance(error, GleitzeitError):
        raise copy.copy(error)  # others get the same, and write their own notes on it
    if error is not None:
        raise error


def _size(count: int) -> str:
    if count >= 10**9:
        return f"{count / 10**9:.1f} GB"
    return f"{count / 10**6:.1f} MB" if count >= 10**6 else f"{count} B"
