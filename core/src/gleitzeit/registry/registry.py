"""All instances of a host, registered with pluggy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pluggy
from attrs import frozen

from gleitzeit.config import Config, InstanceConfig
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import (
    ConfigError,
    GleitzeitError,
    PluginError,
    PluginNotFoundError,
)
from gleitzeit.hookspecs import PROJECT, HookSpecs
from gleitzeit.registry.broadcast import broadcast
from gleitzeit.registry.build import Allowed, Build
from gleitzeit.registry.context import Services
from gleitzeit.registry.instance import Instance
from gleitzeit.values import Outcome, State

__all__ = ["Hook", "Registry"]


@frozen
class Hook:
    """One implementation of a hook."""

    instance: Instance
    function: Callable[..., Any]


class _Shell:
    """Stands for an instance in pluggy, which compares plugins by `==`: two equal ones would collide."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        for name in instance.hooks:
            setattr(self, name, getattr(instance.object, name))


class Registry:
    """Instances by kind and name. `epoch` grows whenever something compiled from it may be stale."""

    def __init__(
        self, config: Config, index: Index, services: Services, own: Mapping[str, Entry] | None = None
    ) -> None:
        self.config = config
        self.index = index
        self.epoch = 0
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self._shells: dict[Instance, _Shell] = {}
        self._hooks: dict[str, tuple[Hook, ...]] = {}
        self._own = dict(own or {})
        self._build = Build(services)
        self._allowed = Allowed(config.host.allow, config.host.deny)
        self._watchers: list[Callable[[Instance], None]] = []
        self._instances: dict[tuple[str, str], Instance] = {}
        self._drivers: dict[tuple[str, str], Instance] = {}
        for instance in config.instances:
            self._add(instance)
        self._add_implicit()

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances.values())

    def of_kind(self, kind: str) -> list[Instance]:
        """The instances of one kind, in the order of the configuration."""
        return [instance for instance in self if instance.kind == kind]

    def find(self, kind: str, name: str) -> Instance | None:
        """The instance of this kind and name, if there is one."""
        return self._instances.get((kind, name))

    def watch(self, watcher: Callable[[Instance], None]) -> None:
        """Call `watcher` whenever an instance has become active or has ceased to be."""
        self._watchers.append(watcher)

    def bump(self) -> None:
        """Everything compiled so far is stale."""
        self.epoch += 1
        self._hooks.clear()

    def hooks(self, name: str) -> tuple[Hook, ...]:
        """The implementations of a hook by active instances, in pluggy's order of calling."""
        found = self._hooks.get(name)
        if found is None:
            implementations = getattr(self._manager.hook, name).get_hookimpls()
            found = tuple(Hook(impl.plugin.instance, impl.function) for impl in reversed(implementations))
            self._hooks[name] = found
        return found

    async def ask(self, name: str, *args: Any, timeout: float | None = None) -> list[Outcome[Any]]:
        """Every active instance's answer to a hook, each under the deadline for hooks."""
        calls = [(hook.instance.name, _bind(hook.function, args)) for hook in self.hooks(name)]
        return await broadcast(name, calls, timeout or self.config.host.hook_timeout)

    async def start(self, instances: Iterable[Instance]) -> list[Outcome[Any]]:
        """Start instances at once; a failure is an outcome, not an exception."""

        async def one(instance: Instance) -> Outcome[Any]:
            try:
                return Outcome(instance.name, value=await instance.start())
            except GleitzeitError as error:
                return Outcome(instance.name, error=error)

        return list(await asyncio.gather(*(one(instance) for instance in instances)))

    async def driver(self, kind: str, name: str) -> Any:
        """The running driver of this kind: the configured instance, or the plugin with its defaults."""
        instance = self.find(kind, name) or self._drivers.get((kind, name))
        if instance is None:
            config = InstanceConfig(name, kind=kind, plugin=name)
            instance = self._drivers[kind, name] = self._make(config, implicit=True)
        return await instance.start()

    async def stop(self, drain: float) -> None:
        """Stop all instances: providers first, then the drivers that they stand on."""
        providers = [instance for instance in self if instance.kind == "provider"]
        others = [*(instance for instance in self if instance.kind != "provider"), *self._drivers.values()]
        for group in (providers, others):
            await asyncio.gather(*(instance.stop(drain) for instance in group))

    @property
    def missing_guards(self) -> tuple[Instance, ...]:
        """Configured plugins that may be guards and are not active: every call is denied then."""
        return tuple(
            instance
            for instance in self
            if instance.state is not State.ACTIVE and instance.config.enabled and self._may_guard(instance)
        )

    @property
    def eager(self) -> list[Instance]:
        """What loads when the host opens."""
        return [
            instance
            for instance in self
            if instance.config.enabled
            and not instance.implicit
            and (
                instance.kind in ("plain", "exporter", "http")
                or instance.config.eager
                or self._may_guard(instance)
            )
        ]

    def _may_guard(self, instance: Instance) -> bool:
        """Unless its manifest says otherwise, a configured plain plugin may be a guard."""
        if instance.implicit:
            return False
        manifest = instance.entry.manifest if instance.entry is not None else None
        if manifest is not None and manifest.hooks:
            return "security_check" in manifest.hooks
        return instance.kind == "plain" or "security_check" in instance.hooks

    def _add(self, config: InstanceConfig, *, implicit: bool = False) -> None:
        key = config.kind, config.name
        self._instances[key] = self._make(config, implicit=implicit)

    def _add_implicit(self) -> None:
        """What was handed over in person, and installed providers that need no configuration."""
        for entry in self._own.values():
            if entry.kind != "provider" and self.find(entry.kind, entry.name) is None:
                self._add(InstanceConfig(entry.name, kind=entry.kind, plugin=entry.name))
        used = {instance.config.plugin for instance in self if instance.kind == "provider"}
        own = [entry for entry in self._own.values() if entry.kind == "provider"]
        for entry in (*own, *self.index.of_kind("provider")):
            if entry.name in used or self.find("provider", entry.name) is not None:
                continue
            schema = entry.manifest.config_schema if entry.manifest is not None else None
            if not (schema or {}).get("required"):
                self._add(InstanceConfig(entry.name, kind="provider", plugin=entry.name), implicit=True)

    def _make(self, config: InstanceConfig, *, implicit: bool) -> Instance:
        entry, state, problem = self._look_up(config)
        instance = Instance(
            config,
            entry,
            self._build,
            on_change=self._changed,
            start_timeout=self.config.host.start_timeout,
            implicit=implicit,
        )
        if problem is not None:
            instance.refuse(state, problem)
        return instance

    def _look_up(self, config: InstanceConfig) -> tuple[Entry | None, State, GleitzeitError | None]:
        if not config.enabled:
            error: GleitzeitError = PluginError(
                f"{config.kind} {config.name!r} is disabled",
                hint="remove enabled = false",
                provider=config.name,
            )
            return None, State.DISABLED, error
        entry = self._own.get(config.plugin)
        if entry is None or entry.kind != config.kind:
            try:
                entry = self.index.find(config.kind, config.plugin)
            except PluginNotFoundError as missing:
                return None, State.MISSING, missing
            except PluginError as error:
                return None, State.INVALID, error
            refused = self._allowed.problem(entry)
            if refused is not None:
                return entry, State.DISABLED, refused
        if config.problem is not None:
            return entry, State.INVALID, ConfigError(config.problem)
        incompatible = self._allowed.incompatible(entry)
        return entry, State.INCOMPATIBLE, incompatible

    def _changed(self, instance: Instance) -> None:
        """An instance has become active or has ceased to be."""
        shell = self._shells.pop(instance, None)
        if shell is not None:
            self._manager.unregister(shell)
        if instance.object is not None:
            shell = self._shells[instance] = _Shell(instance)
            self._manager.register(shell, name=f"{instance.kind}:{instance.name}")
        for watcher in self._watchers:
            watcher(instance)
        self.bump()


def _bind(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: function(*args)
