"""Cheapest: by what a request would cost at each target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from gleitzeit.kinds import Balancer
from gleitzeit.values import Choice, Request, Route
from gleitzeit_plugin_balance.base import Balancing
from gleitzeit_plugin_balance.config import CheapestConfig, Price
from gleitzeit_plugin_balance.group import Group, Member
from gleitzeit_plugin_balance.p2c import ByCost
from gleitzeit_plugin_balance.size import answers, input_tokens

__all__ = ["Cheapest"]

_UNKNOWN: Final = Price(input=0)  # told apart by identity


class Cheapest(Balancing):
    """The target where the request would cost least, by p2c among equals; unknown prices last."""

    Config: ClassVar[Any] = CheapestConfig

    def make(self, route: Route, config: CheapestConfig, group: Group) -> Balancer:
        self.check_names(route, "prices", config.prices)
        prices: dict[Member, Price] = {}
        for member in group.members:
            price = self._price(member.choice, config.prices)
            prices[member] = _UNKNOWN if price is None else price
        return _ByPrice(group, self.clock, self.chance, config, prices)

    def _price(self, choice: Choice, prices: Mapping[str, Price]) -> Price | None:
        """What the choice costs; a route costs what the dearest of its targets does. None: unknown."""
        if str(choice) in prices:
            return prices[str(choice)]
        if isinstance(choice, Route):
            inside = [self._price(each, prices) for each in choice.targets]
            known = [price for price in inside if price is not None]
            if len(known) < len(inside) or not known:
                return None
            return max(known, key=lambda price: (price.input + price.output, price.output))
        said = choice.model.metadata.get("price") if choice.model is not None else None
        if said is None:
            return None
        try:
            # What else a price may say, such as that of cached input, is not known before the call.
            return Price.model_validate({key: said[key] for key in Price.model_fields if key in said})
        except (ValidationError, TypeError, ValueError):
            self.context.logger.warning(
                "the price of %s in its metadata is no {input, output} per million tokens", choice
            )
            return None


class _ByPrice(ByCost):
    def __init__(
        self, group: Group, clock: Any, chance: Any, config: CheapestConfig, prices: Mapping[Member, Price]
    ) -> None:
        super().__init__(group, clock, chance, config)
        self._prices = prices
        self._output = config.output_tokens

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        read = input_tokens(request.operation)
        wanted = getattr(request.operation, "max_tokens", None)
        written = 0 if not answers(request.operation) else self._output if wanted is None else wanted
        prices = self._prices
        classes: dict[float, list[Member]] = {}
        for member in members:
            price = prices[member]
            cost = math.inf if price is _UNKNOWN else price.input * read + price.output * written
            classes.setdefault(cost, []).append(member)
        for cost in sorted(classes):
            yield from super().rank(classes[cost], request)
