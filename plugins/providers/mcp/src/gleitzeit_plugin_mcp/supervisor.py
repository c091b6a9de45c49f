"""Keeps one session with a server alive: one task enters and leaves each, and starts the next."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from gleitzeit.errors import GleitzeitError, ResetError, ServerFaultError, UsageError, WireError
from gleitzeit_plugin_mcp.faults import AtOnceError, again, unwrap

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Phase", "Supervisor"]

#: Seconds of the first and the longest pause before a new start.
PAUSE: Final = (0.02, 30.0)
#: So many starts or sessions in a row that came to nothing open the circuit.
TRIPS: Final = 5
#: A session that stood this long was stable, and the pauses begin anew.
STABLE: Final = 10.0
#: Callers wait for a start that is at most so near, and fail at once before one that is farther off.
NEAR: Final = 1.0


class Phase(StrEnum):
    """What the supervisor is at."""

    #: Not running: it starts with the next call.
    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    #: A call found the server silent; it is being pinged, and replaced if it does not answer.
    DEGRADED = "degraded"
    BACKOFF = "backoff"
    #: It failed again and again: it waits long before the next trial.
    OPEN = "open"
    STOPPED = "stopped"


Connect: TypeAlias = "Callable[[], AbstractAsyncContextManager[Connection]]"


class Supervisor:
    """Runs sessions one after another; `ready` gives the one that stands.

    `connect` opens a session, `on_turn` hears of each change of phase, `hang` is how many seconds a
    silent server has to answer a ping.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        on_turn: Callable[[Supervisor], None],
        *,
        hang: float,
        logger: logging.Logger,
    ) -> None:
        self.name = name
        self.phase = Phase.IDLE
        #: The session that stands.
        self.connection: Connection | None = None
        #: Why the last start failed or the last session was lost; None while one stands.
        self.error: GleitzeitError | None = None
        #: How many sessions stood so far.
        self.generation = 0
        self.since = time.monotonic()
        #: When it was last found to be down, in seconds of the epoch; None while all is well.
        self.down_since: float | None = None
        #: How many of them came after a loss.
        self.restarts = 0
        #: How many starts failed so far.
        self.failures = 0
        #: Has the watcher told of the session that stands?
        self.announced = False
        self._retry_at = 0.0
        self._connect = connect
        self._on_turn = on_turn
        self._hang = hang
        self._logger = logger
        self._turn = asyncio.Event()  # replaced at each change of phase
        self._reported: str | None = None
        self._stir = asyncio.Event()  # the session was lost, or a call found the server silent
        self._turns = 0  # how often it was begun
        self._wanted = False
        self._lost = False

    @property
    def running(self) -> bool:
        """Is a session standing, or being worked at?"""
        return self.phase not in (Phase.IDLE, Phase.STOPPED)

    def begin(self) -> None:
        """From now on calls wait for the first start; `run` is to follow."""
        self._turns += 1
        self._wanted = True
        self._lost = False
        self.error = None
        self._enter(Phase.STARTING)

    def rest(self, phase: Phase = Phase.STOPPED) -> None:
        """Give up the session, in `phase` from now on; cancelling `run` is to follow.

        That cancellation is the last one needed, even if somebody below should swallow it.
        """
        self._wanted = False
        self.connection = self.error = self.down_since = None
        self._enter(phase)

    async def run(self) -> None:
        """Keep a session standing until cancelled; never raises anything else."""
        if not self._wanted:
            self.begin()
        pause, longest = PAUSE
        vain, mine = 0, self._turns
        try:
            while self._is_current(mine):
                self._enter(Phase.STARTING)
                stood, ended = 0.0, time.monotonic()
                try:
                    async with self._connect() as connection:
                        began = time.monotonic()
                        self._publish(connection)
                        try:
                            self._note(await self._attend(connection))
                        finally:
                            if self._is_current(mine):
                                self.connection, self._retry_at = None, 0.0
                                self._lost = True
                                self._enter(Phase.BACKOFF)
                            ended = time.monotonic()
                            stood = ended - began
                except Exception as error:  # noqa: BLE001 - whatever it was, the next start comes
                    cause = unwrap(error)
                    if isinstance(cause, AtOnceError):
                        continue
                    self._note(cause)
                    self.failures += stood == 0
                    ended = ended if stood else time.monotonic()
                vain += 1
                if stood >= STABLE:
                    pause, vain = PAUSE[0], 0
                # What it took to clear away the last one counts.
                wait = max(0.0, pause * random.uniform(0.5, 1.5) - (time.monotonic() - ended))
                self._retry_at = time.monotonic() + wait
                self._enter(Phase.OPEN if vain >= TRIPS else Phase.BACKOFF)
                await asyncio.sleep(wait)
                pause = min(2 * pause, longest)
        finally:
            if self._is_current(mine):
                self.rest()

    def _is_current(self, turn: int) -> bool:
        """Has nobody given it up, or begun anew, since?"""
        return self._wanted and self._turns == turn

    async def ready(self) -> Connection:
        """The session that stands, after waiting for a start that is near.

        Raises why there is none: the error of the start that was waited for or of the last one.
        """
        failures = self.failures
        while self.connection is None:
            if self.phase in (Phase.IDLE, Phase.STOPPED):
                raise UsageError(
                    f"server {self.name!r} is not running",
                    hint="it runs between the start and the close of its host",
                    provider=self.name,
                )
            left = self._retry_at - time.monotonic()
            if self.error is not None and (
                self.failures > failures or (self.phase in (Phase.BACKOFF, Phase.OPEN) and left > NEAR)
            ):
                error = again(self.error, sent=False)
                error.retry_after = max(left, 0.0)
                raise error
            await self._turn.wait()
        return self.connection

    async def settled(self) -> None:
        """Wait out the first start."""
        while self.phase is Phase.STARTING and self.error is None:
            await self._turn.wait()

    async def gone(self, connection: Connection, seconds: float) -> None:
        """Wait until `connection` is no longer the one that stands, but no longer than so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.connection is connection:
                    await self._turn.wait()
        except TimeoutError:
            pass

    def suspect(self, connection: Connection, since: float) -> None:
        """A call got no answer: have the session looked at if nothing at all came since."""
        if connection is self.connection and connection.seen < since:
            self._stir.set()

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since = phase, time.monotonic()
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
        self._on_turn(self)

    def _publish(self, connection: Connection) -> None:
        self.connection = connection
        self.error = None
        self._reported = None
        self.down_since = None
        self.generation += 1
        self.restarts += self._lost
        self._lost = self.announced = False
        self._enter(Phase.READY)

    async def _attend(self, connection: Connection) -> GleitzeitError:
        """Why the session came to an end: it was lost, or given up because the server hangs."""
        self._stir.clear()
        watch = asyncio.create_task(connection.lost.wait(), name=f"mcp: loss of {self.name}")
        watch.add_done_callback(lambda _: self._stir.set())
        try:
            while not connection.lost.is_set():
                await self._stir.wait()
                self._stir.clear()
                if not connection.lost.is_set() and (error := await self._probe(connection)) is not None:
                    return error
        finally:
            watch.cancel()
        return connection.wire.error or ResetError(f"server {self.name!r} was closed", provider=self.name)

    async def _probe(self, connection: Connection) -> WireError | None:
        """Ping a server that was silent; the reason to give it up where it does not answer."""
        self._enter(Phase.DEGRADED)
        asked = time.monotonic()
        try:
            async with asyncio.timeout(self._hang):
                await connection.ping()
        except TimeoutError:
            if connection.seen > asked:  # too busy for pings, but alive
                self._enter(Phase.READY)
                return None
            connection.ended = ResetError(
                f"server {self.name!r} stopped answering and is being replaced",
                hint=f"it did not answer a ping within {self._hang:g} s",
                provider=self.name,
            )
            return connection.ended
        except WireError as error:
            return None if connection.lost.is_set() else error
        self._enter(Phase.READY)
        return None

    def _note(self, error: BaseException) -> None:
        if not isinstance(error, GleitzeitError):
            what = f"server {self.name!r} failed unexpectedly: {type(error).__name__}: {error}"
            error = ServerFaultError(what, provider=self.name, sent=False)
        # The same reason at every restart is news only once.
        level = logging.INFO if error.message == self._reported else logging.WARNING
        self.error, self._reported = error, error.message
        if self.down_since is None:
            self.down_since = time.time()
        self._logger.log(level, "MCP server %r is down: %s", self.name, error.message)
