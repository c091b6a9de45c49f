"""Sticky: requests of one session go to one target, as long as it is there."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, ClassVar, Final

from gleitzeit.kinds import Balancer
from gleitzeit.values import Request, Route
from gleitzeit_plugin_balance.base import Balancing
from gleitzeit_plugin_balance.config import StickyConfig
from gleitzeit_plugin_balance.group import Group, Member
from gleitzeit_plugin_balance.p2c import ByCost

__all__ = ["Sticky"]

_MASK: Final = (1 << 64) - 1


class Sticky(Balancing):
    """The same target for the same session or principal, by rendezvous hashing; p2c for the others.

    A target that leaves, or is put last, passes on its sessions alone; they come back with it. Nothing
    is stored, so that several hosts agree.
    """

    Config: ClassVar[Any] = StickyConfig

    def make(self, route: Route, config: StickyConfig, group: Group) -> Balancer:
        return _BySession(group, self.clock, self.chance, config)


class _BySession(ByCost):
    def __init__(self, group: Group, clock: Any, chance: Any, config: StickyConfig) -> None:
        super().__init__(group, clock, chance, config)
        self._key = config.key
        self._seeds = {member: _hash(member.name) for member in group.members}

    def rank(self, members: list[Member], request: Request) -> Iterator[Member]:
        session = request.metadata.get(self._key)
        if session is None:
            session = request.principal
        if session is None:
            yield from super().rank(members, request)
            return
        key, seeds = _hash(str(session)), self._seeds
        yield from sorted(members, key=lambda member: _mix(key ^ seeds[member]))


def _hash(text: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mix(value: int) -> int:
    """The finalizer of splitmix64: each bit of the outcome depends on all of `value`."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
