"""One instance of a server: a supervised process or session, the calls on it, and when it is to go."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from gleitzeit.wire.closing import surely
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.pool import Key

__all__ = ["Member"]


class Member:
    """Started and put to sleep as needed; the pool decides who calls it."""

    def __init__(self, supervisor: Supervisor, key: Key | None) -> None:
        self.supervisor: Final = supervisor
        #: Whose it is; None: everybody's.
        self.key: Final = key
        #: Calls in flight.
        self.busy = 0
        #: Questions beside the calls, such as lists.
        self.held = 0
        #: Calls since it was made or woken.
        self.calls = 0
        self.born = self.used = time.monotonic()
        #: It takes no new calls, and ends with its last one.
        self.leaving = False
        #: The one that is being started in its place.
        self.successor: Member | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Does a session stand?"""
        return self.supervisor.connection is not None

    @property
    def down(self) -> bool:
        """Has it failed, with the next trial to come?"""
        return self.supervisor.phase in (Phase.BACKOFF, Phase.OPEN)

    @property
    def resting(self) -> bool:
        """Does nobody use it?"""
        return not self.busy and not self.held

    def renew(self) -> None:
        """Let its time and its calls count from now on."""
        self.born = self.used = time.monotonic()
        self.calls = 0

    def wake(self) -> None:
        """Start it, unless it runs."""
        if self._task is None:
            self.renew()
            self.supervisor.begin()
            self._task = asyncio.create_task(
                self._run(self._ending), name=f"mcp: supervise {self.supervisor.name}"
            )

    def sleep(self) -> None:
        """End its session; the next call starts it again."""
        task, self._task = self._task, None
        if task is not None:
            self.supervisor.rest(Phase.STOPPED if self.leaving else Phase.IDLE)
            task.cancel()
            self._ending = task

    async def stop(self) -> None:
        """End its session for good; returns when everything is freed.

        Cancelling this leaves nothing behind either: the server has no more time to end by itself then.
        """
        self.leaving = True
        self.sleep()
        try:
            if self._ending is not None:
                await surely(_over(self._ending), self._ending.cancel)
        finally:
            self._gone.set()

    async def gone(self) -> None:
        """Wait until it was stopped."""
        await self._gone.wait()

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        """From one waking to the next sleep; the sleep before it has to be over."""
        if before is not None:
            await asyncio.wait({before})
        await self.supervisor.run()


async def _over(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})
