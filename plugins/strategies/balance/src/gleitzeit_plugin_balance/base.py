"""What all strategies of this package have in common."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from gleitzeit.kinds import Balancer, Context, Ending
from gleitzeit.plugin import Strategy
from gleitzeit.values import Choice, Request, Route
from gleitzeit_plugin_balance.config import BalanceConfig, settled
from gleitzeit_plugin_balance.group import Clock, Group, Member, Roster

__all__ = ["Balanced", "Balancing"]


class Balanced:
    """Base of a balancer: counts what is under way and puts what keeps failing last.

    Subclasses say in `rank` in which order the others go.
    """

    def __init__(self, group: Group, clock: Clock) -> None:
        self.group = group
        #: What every call pays is looked up here; `group.load` is for a choice that is a copy.
        self.by_id = group.by_id
        self.clock = clock

    def rank(self, members: list[Member], request: Request) -> Iterable[Member]:
        """Members of the group, never none, best first; `members` must stay as it is."""
        raise NotImplementedError

    def order(self, request: Request) -> Iterator[Choice]:
        """The choices, best first; see `kinds.Balancer`."""
        members, last = self.group.split(self.clock())
        for member in self.rank(members, request):
            yield member.choice
        for member in last:
            yield member.choice

    def begun(self, choice: Choice, request: Request) -> None:
        """An attempt begins."""
        (self.by_id.get(id(choice)) or self.group.load(choice)).inflight += 1

    def ended(self, choice: Choice, request: Request, ending: Ending) -> None:
        """It has ended."""
        load = self.by_id.get(id(choice)) or self.group.load(choice)
        load.inflight -= 1
        if ending.outcome == "ok":
            if load.failures:
                self.group.good(load)
        elif ending.outcome == "failed":
            self.group.failed(load)
        else:
            self.group.neutral(choice, load, ending)


class Balancing(Strategy):
    """Base of a strategy; what it remembers of targets outlives the balancers that it makes.

    `clock` gives seconds that never go back; `chance` is what luck is taken from.
    """

    Config: ClassVar[Any] = BalanceConfig

    def __init__(
        self,
        config: Any,
        context: Context,
        *,
        clock: Clock = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(config, context)
        self.clock = clock
        self.chance = chance or random.Random()
        self.roster = Roster(clock)

    def balancer(self, route: Route) -> Balancer:
        """What orders the choices of one route; raises `ConfigError` where its options do not hold."""
        config = settled(self.config, route)
        return self.make(route, config, Group(route, config, self.roster))

    def make(self, route: Route, config: Any, group: Group) -> Balancer:
        """The balancer of a route, with its settings."""
        raise NotImplementedError

    def check_names(self, route: Route, key: str, names: Iterable[str]) -> None:
        """Say so where a setting names what is no choice of the route; it may only be out of order now."""
        known = {str(choice) for choice in route.targets}
        stray = sorted(set(names) - known)
        if stray:
            self.context.logger.warning(
                "%s of route %s names %s, and the choices are %s",
                key,
                route.name,
                ", ".join(stray),
                ", ".join(sorted(known)),
            )
