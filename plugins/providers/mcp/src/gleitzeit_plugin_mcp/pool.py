"""The instances of one server: which of them takes a call, and how many there are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from attrs import frozen

from gleitzeit.errors import UsageError
from gleitzeit_plugin_mcp.member import Member
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor

__all__ = ["Key", "Limits", "Pool"]

#: How good an instance is that stands for all of them, best first.
_BEST: Final = (
    Phase.READY,
    Phase.DEGRADED,
    Phase.STARTING,
    Phase.IDLE,
    Phase.BACKOFF,
    Phase.OPEN,
    Phase.STOPPED,
)


class Key(NamedTuple):
    """Whose instance it is: with whose credentials (None: the entry's), for whom (None: all with them)."""

    principal: str | None
    owner: str | None


@frozen(kw_only=True)
class Limits:
    """`room` is the most calls at once in each, `own` the most instances that belong to somebody.

    `idle`, `life` (seconds) and `calls` say when one goes to sleep or is replaced; None: never.
    """

    room: int | None = None
    own: int = 16
    idle: float | None = None
    life: float | None = None
    calls: int | None = None


class Pool:
    """Instances in common, and one for each key where keys are used.

    A call goes to the instance with the fewest calls in flight, those that stand first. `make` makes
    the supervisor of one more, for a key.
    """

    def __init__(self, make: Callable[[Key | None], Supervisor], size: int, limits: Limits) -> None:
        self.size = size
        self._make = make
        self._limits = limits
        self._members: list[Member] = []
        self._waiting: dict[Key | None, deque[asyncio.Future[Member]]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    @property
    def members(self) -> tuple[Member, ...]:
        """Every instance that takes calls."""
        return tuple(member for member in self._members if not member.leaving)

    @property
    def shared(self) -> tuple[Member, ...]:
        """The instances that belong to nobody."""
        return tuple(member for member in self.members if member.key is None)

    @property
    def best(self) -> Supervisor | None:
        """The supervisor that speaks for all, None where nothing runs."""
        found = [member.supervisor for member in self.members if member.key is None]
        return min(found, key=lambda each: _BEST.index(each.phase), default=None)

    def start(self) -> None:
        """Begin to start the instances that everybody shares."""
        self._running = True
        for _ in range(self.size):
            self._add(None)

    async def stop(self) -> None:
        """End them all, now."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._chores):
            task.cancel()
        for waiter in [waiter for queue in self._waiting.values() for waiter in queue]:
            waiter.cancel()
        members, self._members = self._members, []
        for member in members:
            member.leaving = True
            member.sleep()
        await asyncio.gather(*(member.stop() for member in members))
        if self._chores:
            await asyncio.wait(tuple(self._chores))

    @asynccontextmanager
    async def using(self, key: Key | None = None) -> AsyncIterator[Member]:
        """An instance for one call: one of those in common, or the one that belongs to `key`.

        Waits while all of them have as many calls as they may; an instance that sleeps is woken.
        """
        # Whoever waits already was here first.
        member = None if self._waiting.get(key) else self._take(key)
        if member is None:
            member = await self._turn(key)
        try:
            member.calls += 1
            self._rouse(member)
            yield member
        finally:
            member.used = time.monotonic()
            self._give(member)

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[Supervisor]:
        """One of those in common, for a question beside the calls such as a list: it takes no place."""
        if not self._running:
            raise UsageError("the server is not running", hint="it runs while its host is open")
        member = min(self.shared, key=_rank)
        member.held += 1
        self._rouse(member)
        try:
            yield member.supervisor
        finally:
            member.held -= 1
            member.used = time.monotonic()
            self._settle(member)

    async def scale(self, size: int) -> None:
        """Have so many in common. Those that are too many take no calls any more and end with their last.

        Returns when they have ended; cancelling it does not bring them back.
        """
        if not self._running:
            raise UsageError("a server that is not running cannot be scaled", hint="open its host first")
        self.size = size
        for member in self._level():
            await member.gone()

    def retire(self, member: Member) -> None:
        """Let it end with its last call; further calls go to another, which is started as needed."""
        if not member.leaving and self._running:
            self._leave(member)
            if member.key is None:
                self._level()

    def _level(self) -> list[Member]:
        """Have as many in common as there should be; gives those that have to leave."""
        lasting = [member for member in self.shared if member.successor is None]
        for _ in range(self.size - len(lasting)):
            self._add(None)
        spare = sorted(lasting, key=lambda member: (member.ready, member.busy))
        spare = spare[: max(0, len(lasting) - self.size)]
        for member in spare:
            self._leave(member)
        return spare

    def _add(self, key: Key | None) -> Member:
        member = Member(self._make(key), key)
        self._members.append(member)
        member.wake()
        self._hand_out(key)
        self._schedule()
        return member

    def _take(self, key: Key | None) -> Member | None:
        """An instance that takes one more call, with a place in it taken; None where one has to wait."""
        if not self._running:
            raise UsageError("the server is not running", hint="it runs while its host is open")
        room = self._limits.room
        mine = [member for member in self._members if member.key == key and not member.leaving]
        if not mine and key is not None and self._make_room():
            mine = [self._add(key)]
        free = [member for member in mine if room is None or member.busy < room]
        if not free:
            return None
        found = free[0] if len(free) == 1 else min(free, key=_rank)
        found.busy += 1
        return found

    def _make_room(self) -> bool:
        """Is there room for one more of somebody's own? If not, the one that rested longest makes way."""
        own = [member for member in self._members if member.key is not None]
        if len(own) < self._limits.own:
            return True
        idle = [member for member in own if member.resting and not member.leaving]
        if idle:
            self._leave(min(idle, key=lambda member: member.used))
        return False

    async def _turn(self, key: Key | None) -> Member:
        waiter: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(key, deque())
        queue.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give(waiter.result())
            if not self._running and not _cancelling():
                raise UsageError("the server was stopped", hint="it runs while its host is open") from None
            raise
        finally:
            with contextlib.suppress(ValueError):
                queue.remove(waiter)
            if not queue and self._waiting.get(key) is queue:
                del self._waiting[key]

    def _rouse(self, member: Member) -> None:
        if not member.supervisor.running:
            member.wake()
            self._schedule()

    def _give(self, member: Member) -> None:
        """A call has ended: its place is free."""
        member.busy -= 1
        self._settle(member)
        if self._waiting:
            self._hand_out(member.key)
            for key in [key for key in self._waiting if key is not None and key != member.key]:
                self._hand_out(key)

    def _settle(self, member: Member) -> None:
        """What follows from one call less."""
        if member.leaving:
            if member.resting and self._running:
                self._chore(self._end(member))
        elif self._limits.calls is not None and member.calls >= self._limits.calls:
            self._replace(member)

    def _hand_out(self, key: Key | None) -> None:
        """Give places that are free to those who wait for them, in their order."""
        queue = self._waiting.get(key) or deque()
        while queue and self._running:
            waiter = queue.popleft()
            if waiter.done():
                continue
            member = self._take(key)
            if member is None:
                queue.appendleft(waiter)
                return
            waiter.set_result(member)

    def _leave(self, member: Member) -> None:
        """No more calls for this one; it ends with its last."""
        member.leaving = True
        if member.resting:
            self._chore(self._end(member))

    async def _end(self, member: Member) -> None:
        try:
            await member.stop()
        finally:
            if member in self._members:
                self._members.remove(member)
            for key in tuple(self._waiting):
                self._hand_out(key)

    def _replace(self, member: Member) -> None:
        """Start another one in its place; this one goes on until that one stands."""
        if member.successor is not None or not self._running:
            return
        if member.supervisor.phase is Phase.IDLE:  # there is nothing to replace
            member.renew()
            return
        other = member.successor = self._add(member.key)

        async def settle() -> None:
            await other.supervisor.settled()
            member.successor = None
            self._leave(member if other.ready else other)
            member.renew()  # should it be the one that stays
            self._level()
            self._schedule()

        self._chore(settle())

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _schedule(self) -> None:
        """Look again when the next instance is due to sleep or to be replaced."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = [due for member in self.members for due in self._dues(member)]
        if dues and self._running:
            left = max(min(dues) - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def _dues(self, member: Member) -> list[float]:
        idle, life = self._limits.idle, self._limits.life
        found = []
        if life is not None and member.successor is None:
            found.append(member.born + life)
        if idle is not None and member.supervisor.running:
            # One that is busy is not due before it has rested.
            found.append((member.used if member.resting else time.monotonic()) + idle)
        return found

    def _look(self) -> None:
        now, limits = time.monotonic(), self._limits
        for member in self.members:
            if limits.life is not None and member.successor is None and now >= member.born + limits.life:
                self._replace(member)
            if limits.idle is None or not member.resting or now < member.used + limits.idle:
                continue
            if member.key is not None:
                self._leave(member)
            elif member.supervisor.running and not member.leaving:
                member.sleep()
        self._schedule()


def _rank(member: Member) -> tuple[bool, bool, int]:
    return (not member.ready, member.down, member.busy)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
