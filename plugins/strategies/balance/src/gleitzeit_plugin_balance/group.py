"""What is known of targets, and which of those of a route are put last for a while."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from gleitzeit.errors import CapacityError
from gleitzeit.kinds import Ending
from gleitzeit.values import Choice, Route, Target
from gleitzeit_plugin_balance.config import BalanceConfig

__all__ = ["Clock", "Group", "Load", "Member", "Roster"]

Clock = Callable[[], float]
#: Seconds; longer than this nobody is passed over only because it said so.
_REST: Final = 60.0


class Load:
    """How a target fares, whatever routes it stands in. Times are those of the clock."""

    __slots__ = ("at", "ejections", "ewma", "failures", "fresh", "inflight", "rest", "until")

    def __init__(self) -> None:
        self.inflight = 0
        #: The moving latency in seconds as it stood at `at`; of no own experience while `fresh`.
        self.ewma = 0.0
        self.at = 0.0
        self.fresh = True
        #: Failures in a row, ejections not yet forgiven, and when the last of them is over.
        self.failures = 0
        self.ejections = 0
        self.until = -math.inf
        #: Until when it has said itself that it has no room.
        self.rest = -math.inf


class Roster:
    """The loads of one strategy, by operation and name: they outlive the routes that are compiled anew."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        #: Moves whenever somebody is put last.
        self.version = 0
        self._loads: dict[str, Load] = {}

    def load(self, operation: str, choice: Choice) -> Load:
        """The load of a choice; a route's is its own, even where a target has the same name."""
        kind = "target" if isinstance(choice, Target) else "route"
        return self._loads.setdefault(f"{operation} {kind} {choice}", Load())


class Member:
    """A choice of a route, with what is known of it."""

    __slots__ = ("choice", "load", "name")

    def __init__(self, choice: Choice, load: Load) -> None:
        self.choice = choice
        self.load = load
        self.name = str(choice)


class Group:
    """The choices of one route: those in use, and those that are put last.

    A choice that fails too often in a row is ejected, for longer each time; one that says itself when
    it has room again rests until then. Neither is left out: when all others fail, it is asked.
    """

    def __init__(self, route: Route, config: BalanceConfig, roster: Roster) -> None:
        self._config = config
        self._roster = roster
        self.members = tuple(Member(choice, roster.load(route.operation, choice)) for choice in route.targets)
        self.by_id = {id(member.choice): member.load for member in self.members}
        self._by_name = {member.name: member.load for member in self.members}
        self._live: list[Member] = []
        self._last: list[Member] = []
        self._version = -1
        self._until = -math.inf

    def load(self, choice: Choice) -> Load:
        """The load of one of the choices."""
        return self.by_id.get(id(choice)) or self._by_name[str(choice)]

    def split(self, now: float) -> tuple[list[Member], list[Member]]:
        """Those in use, never none, and those put last, the soonest back first."""
        if now >= self._until or self._version != self._roster.version:
            self._sort_out(now)
        return self._live, self._last

    def good(self, load: Load) -> None:
        """An attempt has succeeded after failures."""
        if self._failing(load):
            self._roster.version += 1
        load.failures = 0

    def failed(self, load: Load) -> None:
        """An attempt has failed."""
        load.failures += 1
        if self._failing(load):
            self._roster.version += 1
            self._eject(load)

    def neutral(self, choice: Choice, load: Load, ending: Ending) -> None:
        """An attempt has said nothing but, perhaps, when there is room again."""
        error = ending.error
        # A route has other targets than the one that has no room.
        if isinstance(error, CapacityError) and error.retry_after and isinstance(choice, Target):
            load.rest = self._roster.clock() + min(error.retry_after, _REST)
            self._roster.version += 1

    def _eject(self, load: Load) -> None:
        now = self._roster.clock()
        loads = {id(member.load): member.load for member in self.members}.values()
        out = sum(each.until > now for each in loads)
        if load.until > now or out + 1 > max(1, math.floor(self._config.max_ejected * len(loads))):
            return
        base = self._config.base_ejection
        if base and load.ejections:  # each such time without an ejection makes up for one
            load.ejections -= min(load.ejections, int((now - load.until) / base))
        load.ejections += 1
        load.until = now + base * load.ejections
        load.failures = 0

    def _failing(self, load: Load) -> bool:
        return load.failures >= self._config.consecutive_failures > 0

    def _sort_out(self, now: float) -> None:
        # Those that may not be ejected, as too many are, fail no less.
        bad = sum(member.load.until > now or self._failing(member.load) for member in self.members)
        panic = bad > self._config.panic * len(self.members)

        def away(member: Member) -> float:
            return member.load.rest if panic else max(member.load.until, member.load.rest)

        self._last = sorted((member for member in self.members if away(member) > now), key=away)
        self._live = [member for member in self.members if away(member) <= now]
        if not self._live:
            self._live, self._last = self._last, []
        self._version = self._roster.version
        self._until = min(_future(self.members, now), default=math.inf)


def _future(members: Iterable[Member], now: float) -> Iterable[float]:
    """When somebody may come back."""
    for member in members:
        for moment in (member.load.until, member.load.rest):
            if moment > now:
                yield moment
