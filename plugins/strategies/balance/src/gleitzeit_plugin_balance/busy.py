"""Least busy: whoever has the fewest calls under way."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from gleitzeit.kinds import Balancer
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balanced, Balancing
from gleitzeit_plugin_balance.group import Clock, Group, Member

__all__ = ["LeastBusy"]


class LeastBusy(Balancing):
    """The target with the fewest calls under way, by lot among equals."""

    def make(self, route: Route, config: Any, group: Group) -> Balancer:
        return _ByCalls(group, self.clock, self.chance)


class _ByCalls(Balanced):
    def __init__(self, group: Group, clock: Clock, chance: Random) -> None:
        super().__init__(group, clock)
        self._chance = chance

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        # A generator, as what is under way may have changed when another target is asked for.
        left = self._chance.sample(members, len(members))
        while left:
            best = min(left, key=_calls)
            left.remove(best)
            yield best


def _calls(member: Member) -> int:
    return member.load.inflight
