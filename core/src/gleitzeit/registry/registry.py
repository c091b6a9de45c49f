"""All instances of a host, registered with pluggy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pluggy
from attrs import frozen

from gleitzeit.config import Config, InstanceConfig
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import GleitzeitError, UsageError
from gleitzeit.hookspecs import PROJECT, HookSpecs
from gleitzeit.registry.broadcast import broadcast
from gleitzeit.registry.build import Build
from gleitzeit.registry.context import Services
from gleitzeit.registry.instance import Instance
from gleitzeit.standing import stand
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
        self._watchers: list[Callable[[Instance], None]] = []
        self._instances: dict[tuple[str, str], Instance] = {}
        self._joining: set[Instance] = set()  # on their way in or out
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        for instance in config.instances:
            self._add(instance)
        self._add_own()

    def __iter__(self) -> Iterator[Instance]:
        return iter(tuple(self._instances.values()))

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
        instance = self.find(kind, name)
        if instance is None:
            if self._closed:
                raise UsageError("the host is closed", hint="open it again to call")
            instance = self._add(InstanceConfig(name, kind=kind, plugin=name, implicit=True))
        return await instance.start()

    async def adopt(self, config: InstanceConfig) -> Instance:
        """Start one more instance and take it in; raises what keeps it from running: then nothing is left."""
        if self._closed:
            raise UsageError("the host is closed", hint="open it again to call")
        instance = self._make(config)
        if instance.error is not None:
            raise instance.error
        self._joining.add(instance)
        try:
            await instance.start()
            if self._closed:
                raise UsageError("the host was closed meanwhile", hint="open it again to call")
            self._instances[config.kind, config.name] = instance
            self.bump()
        except BaseException:
            await self._leave(instance, 0)
            raise
        self._joining.discard(instance)
        return instance

    async def dismiss(self, instance: Instance, drain: float) -> None:
        """Take an instance out: nobody finds it any more, and it stops after its last lease."""
        del self._instances[instance.kind, instance.name]
        self.bump()
        instance.close()
        await self._leave(instance, drain)

    async def replace(self, instance: Instance, config: InstanceConfig, drain: float) -> Instance:
        """Put one with another configuration in its place; the old one stops after its last lease.

        The new one is found at once. It is given when the old one has stopped.
        """
        if self._closed:
            raise UsageError("the host is closed", hint="open it again to call")
        other = self._instances[instance.kind, instance.name] = self._make(config)
        self.bump()
        instance.close()
        await self._leave(instance, drain)
        return other

    async def _leave(self, instance: Instance, drain: float) -> None:
        """Stop an instance that nobody finds any more; it goes on where the caller is cancelled."""

        async def leave() -> None:
            try:
                await instance.stop(drain)
            finally:
                self._joining.discard(instance)

        self._joining.add(instance)
        task = asyncio.create_task(leave(), name=f"gleitzeit: stop {instance.name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        await asyncio.shield(task)

    async def stop(self, drain: float) -> None:
        """Stop all instances for good: providers first, then the drivers that they stand on."""
        self._closed = True
        for instance in self:
            instance.close()
        providers = [instance for instance in (*self, *self._joining) if instance.kind == "provider"]
        others = [instance for instance in self if instance.kind != "provider"]
        for group in (providers, others):
            await asyncio.gather(*(instance.stop(drain) for instance in group))
        for task in self._leaving:
            task.cancel()  # all that it waited for has been seen to
        if self._leaving:
            await asyncio.wait(tuple(self._leaving))

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
            and not instance.config.implicit
            and (
                instance.kind in ("plain", "exporter", "http")
                or instance.config.eager
                or self._may_guard(instance)
            )
        ]

    def _may_guard(self, instance: Instance) -> bool:
        """Unless its manifest says otherwise, a configured plain plugin may be a guard."""
        if instance.config.implicit:
            return False
        manifest = instance.entry.manifest if instance.entry is not None else None
        if manifest is not None and manifest.hooks:
            return "security_check" in manifest.hooks
        return instance.kind == "plain" or "security_check" in instance.hooks

    def _add(self, config: InstanceConfig) -> Instance:
        instance = self._instances[config.kind, config.name] = self._make(config)
        return instance

    def _add_own(self) -> None:
        """What was handed over in person and is not configured under a name."""
        used = {(instance.kind, instance.config.plugin) for instance in self if not instance.config.implicit}
        for entry in self._own.values():
            if (entry.kind, entry.name) not in used:
                self._add(InstanceConfig(entry.name, kind=entry.kind, plugin=entry.name))

    def _make(self, config: InstanceConfig) -> Instance:
        own = self._own.get(config.plugin)
        if own is not None and own.kind == config.kind:
            standing = stand(config, Index((own,)), self.config.host)
        else:
            standing = stand(config, self.index, self.config.host)
        instance = Instance(
            config,
            standing.entry,
            self._build,
            on_change=self._changed,
            start_timeout=self.config.host.start_timeout,
        )
        if standing.error is not None:
            instance.refuse(State(standing.state), standing.error)
        return instance

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
