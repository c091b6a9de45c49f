"""Smooth weighted round robin: shares by weight, spread as evenly as they can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gleitzeit.kinds import Balancer, Context
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balanced, Balancing
from gleitzeit_plugin_balance.config import WeightedConfig
from gleitzeit_plugin_balance.group import Clock, Group, Member

__all__ = ["Weighted"]


class Weighted(Balancing):
    """Each target in turn, as often as its weight says."""

    Config: ClassVar[Any] = WeightedConfig

    def __init__(self, config: Any, context: Context, **given: Any) -> None:
        super().__init__(config, context, **given)
        self._credits: dict[tuple[str, str], dict[str, float]] = {}

    def make(self, route: Route, config: WeightedConfig, group: Group) -> Balancer:
        self.check_names(route, "weights", config.weights)
        credit = self._credits.setdefault((route.name, route.operation), {})
        return _ByWeight(group, self.clock, config.weights, credit)


class _ByWeight(Balanced):
    def __init__(
        self, group: Group, clock: Clock, weights: Mapping[str, float], credit: dict[str, float]
    ) -> None:
        super().__init__(group, clock)
        self._weights = {member.name: weights.get(member.name, 1.0) for member in group.members}
        self._credit = credit
        for name in credit.keys() - self._weights.keys():
            del credit[name]
        for name in self._weights:
            credit.setdefault(name, 0.0)

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        weights, credit = self._weights, self._credit
        total = 0.0
        for member in members:
            credit[member.name] += weights[member.name]
            total += weights[member.name]

        def worth(member: Member) -> tuple[bool, float]:
            return weights[member.name] > 0, credit[member.name]

        first = max(members, key=worth)
        credit[first.name] -= total
        yield first
        yield from sorted((member for member in members if member is not first), key=worth, reverse=True)
