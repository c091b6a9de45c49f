"""The settings of the strategies: for all routes in `[strategies.NAME]`, for one in its `options`."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gleitzeit.errors import ConfigError
from gleitzeit.near import did_you_mean
from gleitzeit.values import Route

__all__ = [
    "BalanceConfig",
    "CheapestConfig",
    "HedgeConfig",
    "P2CConfig",
    "Price",
    "PriorityConfig",
    "StickyConfig",
    "WeightedConfig",
    "settled",
]

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BalanceConfig(_Table):
    """When a target that keeps failing is put last."""

    consecutive_failures: int = Field(
        default=5, ge=0, description="failures in a row that eject a target; 0: never"
    )
    base_ejection: Amount = Field(
        default=30.0, description="seconds of a first ejection; a second one soon after takes twice as long"
    )
    max_ejected: Share = Field(
        default=0.5, description="most of a route's targets ejected at once; one may be"
    )
    panic: Share = Field(default=0.5, description="with more than this share failing, all are used")


class P2CConfig(BalanceConfig):
    """How fast the past is forgotten, and what a failure counts for."""

    tau: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="seconds in which a latency fades to a third"
    )
    penalty: Amount = Field(default=5.0, description="seconds that a failure counts for, at least")


class WeightedConfig(BalanceConfig):
    """Shares of the calls."""

    weights: dict[str, Amount] = Field(
        default={}, description="by target or route; 1 where nothing is said, 0: only when all others fail"
    )


class PriorityConfig(P2CConfig):
    """Which targets go first."""

    priorities: dict[str, int] = Field(
        default={}, description="by target or route, lower first; 0 where nothing is said"
    )


class Price(_Table):
    """What a model costs, for a million tokens, in any currency as long as it is the same for all."""

    input: Amount
    output: Amount = 0.0


class CheapestConfig(P2CConfig):
    """What the targets cost."""

    prices: dict[str, Price] = Field(
        default={}, description="by target or route; else what the model's metadata says under `price`"
    )
    output_tokens: int = Field(
        default=500, ge=0, description="tokens of an answer whose request sets no `max_tokens`"
    )


class StickyConfig(P2CConfig):
    """What stays together."""

    key: str = Field(
        default="session", description="key of the request's metadata; without it the principal counts"
    )


class HedgeConfig(P2CConfig):
    """When a second attempt is made while the first is under way."""

    after: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="seconds; without it the 95th percentile of what was seen",
    )
    share: Share = Field(default=0.1, description="most second attempts, as a share of the calls")


_KNOWN: Final = frozenset(
    key
    for config in (P2CConfig, WeightedConfig, PriorityConfig, CheapestConfig, StickyConfig, HedgeConfig)
    for key in config.model_fields
)

C = TypeVar("C", bound=BalanceConfig)


def settled(config: C, route: Route) -> C:
    """The settings for one route: its options over those of the strategy.

    Options of this package's other strategies are passed over, as a request may choose among them.
    Raises `ConfigError` naming the key.
    """
    if not route.options:
        return config
    where = f"routes.{route.name}.options"
    for key in route.options:
        if key not in _KNOWN:
            hint = did_you_mean(key, sorted(_KNOWN), f"known: {', '.join(sorted(_KNOWN))}")
            raise ConfigError(
                f"{where}.{key}: no strategy of gleitzeit-plugin-balance has this key", hint=hint
            )
    cls = type(config)
    own = {key: value for key, value in route.options.items() if key in cls.model_fields}
    if not own:
        return config
    try:
        return cls.model_validate({**config.model_dump(exclude_unset=True), **own})
    except ValidationError as error:
        problems = tuple(
            f"{where}.{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError("the options of a route do not hold", problems=problems) from None
