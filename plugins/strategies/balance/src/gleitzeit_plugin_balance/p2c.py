"""Power of two choices by peak-EWMA latency: the better of two targets drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import exp
from random import Random
from typing import Any, ClassVar

from gleitzeit.kinds import Balancer, Ending
from gleitzeit.values import Choice, Request, Route
from gleitzeit_plugin_balance.base import Balanced, Balancing
from gleitzeit_plugin_balance.config import P2CConfig
from gleitzeit_plugin_balance.group import Clock, Group, Load, Member

__all__ = ["P2C", "ByCost", "TheBetter"]


class P2C(Balancing):
    """The less loaded and faster of two targets drawn by lot; the default for several equal targets."""

    Config: ClassVar[Any] = P2CConfig

    def make(self, route: Route, config: P2CConfig, group: Group) -> Balancer:
        return TheBetter(group, self.clock, self.chance, config)


class ByCost(Balanced):
    """Orders by cost: the moving latency, which follows peaks at once, times the calls under way.

    Latency is the time to the first event. A failure counts as a latency of `penalty` seconds. A
    latency fades while nobody asks, so that a target that was slow or failing is tried again.
    """

    def __init__(self, group: Group, clock: Clock, chance: Random, config: P2CConfig) -> None:
        super().__init__(group, clock)
        self.random = chance.random
        self.tau = config.tau
        self.penalty = config.penalty
        self._fresh: list[Load] = []
        self._welcome([member.load for member in group.members], clock())

    def cost(self, load: Load, now: float) -> float:
        """What one more call would wait, in seconds; to compare."""
        return (load.ewma * exp((load.at - now) / self.tau) + 1e-6) * (load.inflight + 1)

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        first = self.draw(members)
        yield first
        yield from self.others(first, members)

    def others(self, first: Member, members: list[Member]) -> list[Member]:
        """The members but one, the cheapest first."""
        now = self.clock()
        rest = [member for member in members if member is not first]
        return sorted(rest, key=lambda member: self.cost(member.load, now))

    def draw(self, members: list[Member]) -> Member:
        """The cheaper of two by lot."""
        count, random = len(members), self.random
        first = members[int(random() * count)]
        if count > 1:
            now = self.clock()
            second = members[int(random() * count)]
            while second is first:
                second = members[int(random() * count)]
            # `cost`, written out: this is what every call pays.
            one, other, tau = first.load, second.load, self.tau
            if one.failures or other.failures:
                # Beside one that fails anybody looks good: here all are compared.
                first = min(members, key=lambda member: self.cost(member.load, now))
            elif (other.ewma * exp((other.at - now) / tau) + 1e-6) * (other.inflight + 1) < (
                one.ewma * exp((one.at - now) / tau) + 1e-6
            ) * (one.inflight + 1):
                first = second
        return first

    def ended(self, choice: Choice, request: Request, ending: Ending) -> None:
        """Learn from what an attempt took."""
        load = self.by_id.get(id(choice)) or self.group.load(choice)
        load.inflight -= 1
        if ending.outcome == "ok":
            if load.failures:
                self.group.good(load)
            took = ending.first
        elif ending.outcome == "failed":
            self.group.failed(load)
            took = max(self.penalty, ending.seconds)
        else:
            self.group.neutral(choice, load, ending)
            return
        now = self.clock()
        if load.fresh:
            load.fresh, load.ewma = False, took
        else:
            share = exp((load.at - now) / self.tau)
            old = load.ewma * share
            load.ewma = took if took > old else old + took * (1 - share)
        load.at = now
        if self._fresh:
            self._welcome(self._fresh, now)

    def _welcome(self, loads: list[Load], now: float) -> None:
        """Give those without experience the mean of the others: neither a burst of calls nor none."""
        self._fresh = [load for load in loads if load.fresh]
        known = [
            member.load.ewma * exp((member.load.at - now) / self.tau)
            for member in self.group.members
            if not member.load.fresh
        ]
        for load in self._fresh:
            load.at = now
            load.ewma = sum(known) / len(known) if known else 0.0


class TheBetter(ByCost):
    """As `ByCost`, for the route that asks nothing else: what is seldom asked for is worked out then."""

    def order(self, request: Request) -> Iterator[Choice]:
        """The better of two, and then the others, should anybody ask for them."""
        members, last = self.group.split(self.clock())
        first = self.draw(members)
        return chain((first.choice,), _Others(self, first, members, last))


class _Others:
    """What follows the first choice; worked out only when it is asked for, after the first has failed."""

    __slots__ = ("_balancer", "_first", "_last", "_members")

    def __init__(self, balancer: ByCost, first: Member, members: list[Member], last: list[Member]) -> None:
        self._balancer, self._first, self._members, self._last = balancer, first, members, last

    def __iter__(self) -> Iterator[Choice]:
        for member in (*self._balancer.others(self._first, self._members), *self._last):
            yield member.choice
