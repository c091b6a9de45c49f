"""Random: by lot."""

from __future__ import annotations

from random import Random as Chance
from typing import Any

from gleitzeit.kinds import Balancer
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balanced, Balancing
from gleitzeit_plugin_balance.group import Clock, Group, Member

__all__ = ["Random"]


class Random(Balancing):
    """Any target, by lot."""

    def make(self, route: Route, config: Any, group: Group) -> Balancer:
        return _ByLot(group, self.clock, self.chance)


class _ByLot(Balanced):
    def __init__(self, group: Group, clock: Clock, chance: Chance) -> None:
        super().__init__(group, clock)
        self._chance = chance

    def rank(self, members: list[Member], request: Request) -> list[Member]:
        return self._chance.sample(members, len(members))
