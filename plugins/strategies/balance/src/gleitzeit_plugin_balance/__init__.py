"""Strategies that spread the calls of a route over its targets, or pick the best one."""

from gleitzeit_plugin_balance.busy import LeastBusy
from gleitzeit_plugin_balance.cheapest import Cheapest
from gleitzeit_plugin_balance.config import (
    BalanceConfig,
    CheapestConfig,
    HedgeConfig,
    P2CConfig,
    PriorityConfig,
    StickyConfig,
    WeightedConfig,
)
from gleitzeit_plugin_balance.hedge import Hedge
from gleitzeit_plugin_balance.lot import Random
from gleitzeit_plugin_balance.p2c import P2C
from gleitzeit_plugin_balance.priority import Priority
from gleitzeit_plugin_balance.robin import RoundRobin
from gleitzeit_plugin_balance.sticky import Sticky
from gleitzeit_plugin_balance.weighted import Weighted

__all__ = [
    "P2C",
    "BalanceConfig",
    "Cheapest",
    "CheapestConfig",
    "Hedge",
    "HedgeConfig",
    "LeastBusy",
    "P2CConfig",
    "Priority",
    "PriorityConfig",
    "Random",
    "RoundRobin",
    "Sticky",
    "StickyConfig",
    "Weighted",
    "WeightedConfig",
]
