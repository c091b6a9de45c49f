"""The worker as the host sees it: started at the first call, and again after its death."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from gleitzeit.errors import CannotConnectError, GleitzeitError, InvalidRequestError, TooLongError
from gleitzeit.kinds import Launch, Process
from gleitzeit.process import Tail, secrets_in, start
from gleitzeit.wire.closing import surely
from gleitzeit_plugin_huggingface.faults import died, failed
from gleitzeit_plugin_huggingface.worker.frames import HEAD, TooLarge, pack, size_of

__all__ = ["WINDOW", "Exchange", "Worker"]

#: Pieces of text that a worker may write ahead of the reader.
WINDOW: Final = 32
#: Bytes of stderr that are kept, and lines of it that an error shows.
KEPT: Final = 2**16
SHOWN: Final = 12
#: Seconds from the end of the output to the exit status and the last of stderr.
SETTLE: Final = 2.0

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Exchange:
    """One job and what comes back."""

    def __init__(self, running: _Running, id: int) -> None:
        self._running = running
        self._id = id
        self._frames: deque[dict[str, Any]] = deque()
        self._error: GleitzeitError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._taken = 0
        #: Has the last frame been read?
        self.ended = False

    async def next(self) -> dict[str, Any]:
        """The next frame, "done" at the end. Raises what the job failed with."""
        while not self._frames:
            if self._error is not None:
                self.ended = True
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frame = self._frames.popleft()
        kind = frame.get("is")
        if kind == "text":
            self._taken += 1
            if 2 * self._taken >= WINDOW:
                self._running.write({"id": self._id, "do": "more", "count": self._taken})
                self._taken = 0
        elif kind != "began":
            self.ended = True
            if kind != "done":
                raise failed(frame, self._running.name)
        return frame

    async def done(self) -> dict[str, Any]:
        """Read on to the end, and give the last frame."""
        try:
            while True:
                frame = await self.next()
                if frame["is"] == "done":
                    return frame
        finally:
            self.leave()

    def leave(self) -> None:
        """Stop the job where it still runs. Idempotent."""
        if not self.ended:
            self.ended = True
            self._running.write({"id": self._id, "do": "stop"})

    def give(self, frame: dict[str, Any]) -> None:
        """A frame has come."""
        self._frames.append(frame)
        self._wake()

    def fail(self, error: GleitzeitError) -> None:
        """Nothing more will come."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Running:
    """One process, from its start to its end."""

    def __init__(self, name: str, process: Process, tail: Tail) -> None:
        self.name = name
        self.process = process
        self.tail = tail
        self.ready = False
        self.lost = False
        self.exchanges: dict[int, Exchange] = {}
        #: Jobs that ended because their caller had left.
        self.left = 0
        self.stderr = asyncio.create_task(self._keep_stderr(), name=f"huggingface: stderr of {name}")
        self.reader = asyncio.create_task(self._read(), name=f"huggingface: worker of {name}")

    def write(self, frame: Mapping[str, Any]) -> None:
        """Write a frame; into the void where the process has ended, which its reader tells."""
        if not self.lost:
            self.process.stdin.write(pack(frame))

    async def _read(self) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, ValueError, msgspec.DecodeError):
                while True:
                    size = size_of(await self.process.stdout.readexactly(HEAD))
                    self._take(_decode(await self.process.stdout.readexactly(size)))
        finally:
            self.lost = True
            await surely(self._end())

    def _take(self, frame: dict[str, Any]) -> None:
        kind, id = frame.get("is"), frame.get("id")
        if kind == "ready":
            self.ready = True
        elif isinstance(id, int):
            if kind in ("began", "text"):
                exchange = self.exchanges.get(id)
            else:
                exchange = self.exchanges.pop(id, None)
                self.left += kind == "stopped"
            if exchange is not None:
                exchange.give(frame)

    async def _end(self) -> None:
        """Gather why it ended, tell it to who waits, and free what it used."""
        status: int | None = None
        if self.exchanges:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE):
                    status = await self.process.wait()
                    await asyncio.wait({self.stderr})
        words = self.tail.text(SHOWN)
        exchanges, self.exchanges = self.exchanges, {}
        for exchange in exchanges.values():
            exchange.fail(died(self.name, status, words, ready=self.ready))
        await self.process.kill()
        self.stderr.cancel()
        await asyncio.wait({self.stderr})

    async def _keep_stderr(self) -> None:
        with suppress(OSError):
            while chunk := await self.process.stderr.read(2**16):
                self.tail.feed(chunk)


class Worker:
    """Asks the process; starts it where it does not run."""

    def __init__(self, name: str, launch: Launch) -> None:
        self._name = name
        self._launch = launch
        self._running: _Running | None = None
        self._starting: asyncio.Task[_Running] | None = None
        self._ids = itertools.count(1)
        self._left = 0
        #: Jobs handed to workers so far.
        self.asked = 0
        #: Processes started so far.
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process; None while there is none."""
        return None if self._running is None or self._running.lost else self._running.process.pid

    @property
    def left(self) -> int:
        """Jobs that the worker ended because their caller had left."""
        return self._left + (0 if self._running is None else self._running.left)

    async def ask(self, job: Mapping[str, Any]) -> Exchange:
        """Hand over a job. Raises `CannotConnectError` where no process starts."""
        running = await self.start()
        id = next(self._ids)
        try:
            data = pack({"id": id, "window": WINDOW, **job})
        except TooLarge as error:
            raise TooLongError(f"{self._name}: the request: {error}", sent=False) from None
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"{self._name}: the request cannot be written as JSON: {error}", sent=False
            ) from None
        exchange = running.exchanges[id] = Exchange(running, id)
        if running.lost:  # it died just now
            running.exchanges.pop(id)
            raise died(self._name, None, running.tail.text(SHOWN), ready=False)
        self.asked += 1
        running.process.stdin.write(data)
        try:
            with suppress(OSError):
                await running.process.stdin.drain()
        except asyncio.CancelledError:
            exchange.leave()
            raise
        return exchange

    async def start(self) -> _Running:
        """The running process. Raises `CannotConnectError`."""
        if self._running is not None and not self._running.lost:
            return self._running
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"huggingface: start {self._name}")
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start(self) -> _Running:
        before, self._running = self._running, None
        if before is not None:
            await asyncio.wait({before.reader})
            self._left += before.left
        try:
            process = await start(self._launch)
        except CannotConnectError as error:
            raise CannotConnectError(
                f"{self._name}: {error.message}", hint=error.hint, provider=self._name
            ) from error.__cause__
        self.starts += 1
        self._running = _Running(self._name, process, Tail(KEPT, secrets_in(self._launch.env)))
        return self._running

    def _started(self, task: asyncio.Task[_Running]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever waits is told; perhaps nobody does

    async def aclose(self) -> None:
        """End the process and free what it used. Idempotent."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        if self._running is not None:
            await surely(self._running.process.kill())
            await asyncio.wait({self._running.reader})
