"""How every instance fares: asked on demand, and now and then by probes that cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable
from typing import Final

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError
from gleitzeit.registry import Instance, Registry
from gleitzeit.registry.broadcast import ask
from gleitzeit.values import Health, State

__all__ = ["Checks", "InstanceHealth"]

#: Seconds between two looks at one that is being started.
_PAUSE: Final = 0.02


@frozen(kw_only=True)
class InstanceHealth:
    """An instance in the health table."""

    name: str = field(kw_only=False)
    kind: str
    plugin: str
    state: State
    health: Health
    local: bool = False
    sandbox: str | None = None

    @property
    def connected(self) -> bool:
        """Does it run, and answer as far as is known? False for what has not been started yet."""
        return self.health.status in ("ok", "degraded")


class Checks:
    """Asks instances how they fare. `on_probe` hears what a probe found of a provider."""

    def __init__(self, registry: Registry, on_probe: Callable[[str, Health], None]) -> None:
        self._registry = registry
        self._timeout = registry.config.host.hook_timeout
        self._on_probe = on_probe
        self._task: asyncio.Task[None] | None = None

    async def all(self, deep: bool = False) -> list[InstanceHealth]:
        """Every instance; `deep` starts those not needed so far and asks more, free of charge."""
        instances = list(self._registry)
        if deep:
            await self._registry.start(instance for instance in instances if instance.config.enabled)
        healths = await asyncio.gather(*(self._one(instance, deep) for instance in instances))
        return [_row(instance, health) for instance, health in zip(instances, healths, strict=True)]

    async def one(self, instance: Instance) -> InstanceHealth:
        """One instance, as it is; starts nothing."""
        return _row(instance, await self._one(instance, False))

    async def started(self, instance: Instance) -> InstanceHealth:
        """Start one, and wait up to `host.start_timeout` until what is behind it stands or has failed."""
        with contextlib.suppress(GleitzeitError):
            await instance.start()
        return await self.settled(instance)

    async def settled(self, instance: Instance) -> InstanceHealth:
        """Wait as long as that until one that is being started stands or has failed; starts nothing."""
        row = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._registry.config.host.start_timeout):
                # Only the plugin knows when it has started; its health waits for that a while by itself.
                while (row := await self.one(instance)).health.data.get("state") == "starting":  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE)
        return row or await self.one(instance)

    async def of(self, instances: Iterable[Instance]) -> list[Health]:
        """How these instances fare, asked at once; starts none."""
        return list(await asyncio.gather(*(self._one(instance, False) for instance in instances)))

    def start(self, interval: float) -> None:
        """Probe the running providers about every `interval` seconds until `stop`."""
        self._task = asyncio.create_task(self._probe_on(interval), name="gleitzeit health probes")

    async def stop(self) -> None:
        """End the probes. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _probe_on(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))  # not all hosts at once
            running = [
                instance
                for instance in self._registry.of_kind("provider")
                if instance.object is not None and "health" in instance.hooks
            ]
            for instance, health in zip(
                running, await asyncio.gather(*(self._one(each, False) for each in running)), strict=True
            ):
                self._on_probe(instance.name, health)

    async def _one(self, instance: Instance, deep: bool) -> Health:
        built = instance.object
        if built is None:
            failed = instance.error is not None and instance.state is not State.DISABLED
            return Health("error" if failed else "unknown", detail=instance.reason or "not started")
        if "health" not in instance.hooks:
            return Health("ok", detail="running")
        outcome = await ask(instance.name, "health", lambda: built.health(deep), self._timeout)
        if outcome.error is not None:
            return Health("error", detail=instance.scrub(str(outcome.error)))
        if not isinstance(outcome.value, Health):
            return Health("error", detail=f"health gave {type(outcome.value).__name__}")
        return outcome.value


def _row(instance: Instance, health: Health) -> InstanceHealth:
    return InstanceHealth(
        instance.name,
        kind=instance.kind,
        plugin=instance.config.plugin,
        state=_state(instance, health),
        health=health,
        local=instance.local,
        sandbox=instance.sandbox,
    )


def _state(instance: Instance, health: Health) -> State:
    if instance.state is State.ACTIVE and health.status in ("degraded", "error"):
        return State.DEGRADED
    return instance.state
