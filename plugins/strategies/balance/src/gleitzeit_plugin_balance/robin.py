"""Round robin: each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from gleitzeit.kinds import Balancer, Context
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balanced, Balancing
from gleitzeit_plugin_balance.group import Clock, Group, Member

__all__ = ["RoundRobin"]


class RoundRobin(Balancing):
    """Each target in turn, whatever it has to do already."""

    def __init__(self, config: Any, context: Context, **given: Any) -> None:
        super().__init__(config, context, **given)
        self._turns: dict[tuple[str, str], count[int]] = {}

    def make(self, route: Route, config: Any, group: Group) -> Balancer:
        turns = self._turns.setdefault((route.name, route.operation), count())
        return _InTurn(group, self.clock, turns)


class _InTurn(Balanced):
    def __init__(self, group: Group, clock: Clock, turns: count[int]) -> None:
        super().__init__(group, clock)
        self._turns = turns

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        first = next(self._turns) % len(members)
        yield members[first]
        yield from members[first + 1 :]
        yield from members[:first]
