"""Priority: the best class of targets first, balanced among each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from gleitzeit.kinds import Balancer
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balancing
from gleitzeit_plugin_balance.config import PriorityConfig
from gleitzeit_plugin_balance.group import Group, Member
from gleitzeit_plugin_balance.p2c import ByCost

__all__ = ["Priority"]


class Priority(Balancing):
    """Targets of the lowest number first, equal ones balanced by p2c; the others when those fail."""

    Config: ClassVar[Any] = PriorityConfig

    def make(self, route: Route, config: PriorityConfig, group: Group) -> Balancer:
        self.check_names(route, "priorities", config.priorities)
        return _ByClass(group, self.clock, self.chance, config)


class _ByClass(ByCost):
    def __init__(self, group: Group, clock: Any, chance: Any, config: PriorityConfig) -> None:
        super().__init__(group, clock, chance, config)
        self._class = {member: config.priorities.get(member.name, 0) for member in group.members}
        self._classes = sorted(set(self._class.values()))

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        for number in self._classes:
            equal = [member for member in members if self._class[member] == number]
            if equal:
                yield from super().rank(equal, request)
