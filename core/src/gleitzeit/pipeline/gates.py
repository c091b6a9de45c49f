"""The gates of a host: one for each target, kept while routes are compiled anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from gleitzeit.config import Config
from gleitzeit.config.resilience import TimeoutsConfig, settle
from gleitzeit.registry import Instance, Registry
from gleitzeit.resilience import Gate, Shared
from gleitzeit.stats import Statistics
from gleitzeit.values import Operation, Target
from gleitzeit.values.snapshot import Gauge

__all__ = ["Gates"]

MAX_GATES: Final = 4096
#: The tables that an instance has for all its targets together, not for each of them.
_WHOLE: Final = ("bulkhead", "rate_limit")
#: The operations that write while they think; a tool may be silent until it is done.
_WRITING: Final = ("chat", "completion")
_SILENCE: Final = ("first_event", "idle")


class Gates:
    """Finds or makes what stands before targets. Idle gates beyond a bound are forgotten."""

    def __init__(self, config: Config, registry: Registry, statistics: Statistics) -> None:
        self._config = config
        self._registry = registry
        self._statistics = statistics
        self._gates: dict[tuple[str, str], Gate] = {}
        self._shared: dict[str, Shared] = {}

    def of(self, target: Target, instance: Instance) -> Gate:
        """The gate of a target."""
        key = target.instance, target.name
        gate = self._gates.get(key)
        if gate is None:
            if len(self._gates) >= MAX_GATES:
                self._forget()
            gate = self._gates[key] = self._make(target, instance)
        return gate

    def timeouts(self, gate: Gate, operation: type[Operation]) -> TimeoutsConfig:
        """The time limits of one kind of operation: silence is only that of who should be writing."""
        timeouts = gate.config.timeouts
        if operation.kind in _WRITING:
            return timeouts
        return replace(timeouts, **{key: 0.0 for key in _SILENCE if key not in gate.strict})

    def gauges(self) -> Mapping[tuple[str, str], Gauge]:
        """How every gate stands now: of targets by instance and name, of instances without a name."""
        found = {
            (name, ""): Gauge(cooling=shared.limiter.cooling(), queued=shared.queued)
            for name, shared in self._shared.items()
        }
        for key, gate in self._gates.items():
            whole = found.get(key)  # a target without a name of its own is the instance
            queued = gate.queued + (whole.queued if whole is not None else 0)
            found[key] = Gauge(breaker=gate.breaker.state, cooling=gate.cooling(), queued=queued)
        return found

    def of_instance(self, name: str) -> list[Gate]:
        """The gates of an instance's targets."""
        return [gate for (instance, _), gate in self._gates.items() if instance == name]

    def drop(self, name: str) -> None:
        """Forget an instance's gates; calls that are inside leave them all the same."""
        self._shared.pop(name, None)
        for key in [key for key in self._gates if key[0] == name]:
            del self._gates[key]

    def _make(self, target: Target, instance: Instance) -> Gate:
        own, host = instance.config.resilience, self._config.host.resilience
        globs = [*instance.config.targets.items()]
        if target.tool is not None:
            globs += instance.config.tools.items()
        special = [tables for glob, tables in globs if fnmatchcase(target.name, glob)]
        each = {name: table for name, table in own.items() if name not in _WHOLE}
        shared = self._shared.get(instance.name)
        if shared is None:
            shared = self._shared[instance.name] = Shared(instance.name, settle(host, own))
        return Gate(
            str(target),
            settle(host, each, *special),
            shared,
            self._statistics.target(target.instance, target.name, target.plugin),
            strict=frozenset(key for tables in (each, *special) for key in tables.get("timeouts", ())),
        )

    def _forget(self) -> None:
        """Drop the gates that nothing would be lost with; if there are hardly any, all that nobody is in."""
        free = [key for key, gate in self._gates.items() if gate.idle]
        if len(free) < MAX_GATES // 10:
            free = [key for key, gate in self._gates.items() if not gate.stats.in_flight]
        for key in free:
            del self._gates[key]
