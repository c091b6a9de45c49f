"""Names on wires that forbid most characters: `instance/tool` travels as `instance__tool`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["WireNames"]

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


class WireNames:
    """A reversible encoding of names for one request.

    Most names need no memory: `a/b` is `a__b` and back. One that is longer than `limit` or would
    not come back (`a__b`, `é`) travels as a readable stump with a hash, and comes back if it
    was encoded here before. 64 characters is what the strictest vendor takes.
    """

    __slots__ = ("_limit", "_names", "_wires")

    def __init__(self, names: Iterable[str] = (), *, limit: int = 64) -> None:
        self._limit = limit
        self._names: dict[str, str] = {}
        self._wires: dict[str, str] = {}
        for name in names:
            self.encode(name)

    def encode(self, name: str) -> str:
        """The name for the wire; no two names share one."""
        wire = self._wires.get(name)
        if wire is None:
            wire = name.replace("/", "__")
            plain = _PLAIN.fullmatch(wire) and len(wire) <= self._limit and wire.replace("__", "/") == name
            if not plain or wire in self._names:
                wire = self._hashed(name)
            self._wires[name] = wire
            self._names[wire] = name
        return wire

    def decode(self, wire: str) -> str:
        """The name behind `wire`; one that was never encoded here is read as if it were plain."""
        name = self._names.get(wire)
        return wire.replace("__", "/") if name is None else name

    def _hashed(self, name: str) -> str:
        stump = _ODD.sub("_", name)
        if not _PLAIN.match(stump):
            stump = f"_{stump}"
        salt = 0
        while True:
            digest = hashlib.sha256(f"{salt}:{name}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
            wire = f"{stump[: self._limit - 14]}_h{digest}"
            if wire not in self._names:
                return wire
            salt += 1
