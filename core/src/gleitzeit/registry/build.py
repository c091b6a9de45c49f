"""Turns an entry point and a configuration into a checked, ready object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from gleitzeit.config import validate
from gleitzeit.discovery import Entry
from gleitzeit.errors import ConfigError, PluginError, PluginLoadError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.kinds import KINDS
from gleitzeit.plugin import Provider
from gleitzeit.registry.context import InstanceContext, Services, personal_in, put_in
from gleitzeit.registry.instance import Instance
from gleitzeit.registry.threads import in_thread
from gleitzeit.standing import check_api
from gleitzeit.version import API_VERSION

__all__ = ["Build"]


class Build:
    """Imports a plugin in a thread, resolves its secrets, validates its configuration, checks its hooks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, instance: Instance) -> tuple[Any, tuple[str, ...]]:
        """The object and the hooks it implements; raises `PluginError` or `ConfigError`."""
        entry = instance.entry
        assert entry is not None, "an instance without entry is refused before it starts"
        plugin = await self._import(entry)
        incompatible = check_api(entry.name, getattr(plugin, "api_version", API_VERSION))
        if incompatible is not None:
            raise incompatible
        _check_personal(instance, getattr(plugin, "personal", ()))
        secrets: list[str] = []
        values = await put_in(instance.config.values, self._services.secret, secrets)
        try:
            config = validate(getattr(plugin, "Config", None), instance.config, values)
            instance.secrets = (*secrets, *_secrets_in(config))
            built = plugin(config, InstanceContext(instance, self._services))
        except ConfigError:
            raise
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            raise PluginLoadError(
                f"plugin {entry.name!r} of {entry.distribution or entry.value} raised "
                f"{type(error).__name__} when built: {instance.scrub(str(error))}",
                hint="see the plugin",
            ) from error
        protocol = KINDS[instance.kind].protocol
        if protocol is not None and not isinstance(built, protocol):
            raise PluginLoadError(
                f"plugin {entry.name!r} ({entry.value}) is no {instance.kind}",
                hint=f"see gleitzeit.kinds.{protocol.__name__} for what it must have",
            )
        if getattr(type(built), "call", None) is Provider.call:
            raise PluginLoadError(
                f"plugin {entry.name!r} ({entry.value}) cannot answer: {type(built).__name__} has no `call`",
                hint="write `async def call(self, request)`; docs/how-to/write-a-provider.md shows one",
            )
        return built, check_hooks(built, entry.name)

    async def _import(self, entry: Entry) -> Any:
        try:
            return await in_thread(lambda: _load(entry), f"import of {entry.value}")
        except PluginError:
            raise
        except Exception as error:
            raise PluginLoadError(
                f"plugin {entry.name!r} of {entry.distribution or entry.value} cannot be imported: "
                f"{type(error).__name__}: {error}",
                hint=f"try: python -c 'import {entry.value.partition(':')[0]}'",
            ) from error


def _check_personal(instance: Instance, allowed: Sequence[str]) -> None:
    """A secret of whoever calls must not end where it would be everybody's."""
    for key, value in instance.config.values.items():
        reference = None if key in allowed else personal_in(value)
        if reference is not None:
            where = " or ".join(f"{instance.config.key}.{name}" for name in allowed)
            raise ConfigError(
                f"{instance.config.key}.{key}: {reference}: nothing here depends on who calls",
                hint=f"write it in {where}" if where else "the plugin has no credentials per principal",
            )


def _secrets_in(value: Any) -> Iterator[str]:
    """The secrets in a validated configuration: whatever is of pydantic's secret types."""
    if hasattr(value, "get_secret_value"):
        yield str(value.get_secret_value())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets_in(item)
    elif hasattr(type(value), "model_fields"):
        yield from _secrets_in(vars(value))


def _load(entry: Entry) -> Any:
    """Import; drivers go through stevedore, fed with the entry point of our own index."""
    if entry.kind in ("provider", "plain") or entry.plugin is not None:
        return entry.load()
    from stevedore.driver import DriverManager  # 20 ms, and only drivers need it

    class OneEntry(DriverManager[Any]):
        def list_entry_points(self) -> list[EntryPoint]:
            return [EntryPoint(entry.name, entry.value, self.namespace)]

    return next(iter(OneEntry(KINDS[entry.kind].group, entry.name))).plugin
