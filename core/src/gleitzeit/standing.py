"""Which plugin stands behind an instance, and whether it may be used: known without importing it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gleitzeit.errors import (
    ConfigError,
    GleitzeitError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    PluginNotFoundError,
)
from gleitzeit.records import record
from gleitzeit.version import API_VERSION

if TYPE_CHECKING:
    from gleitzeit.config import HostConfig, InstanceConfig
    from gleitzeit.discovery import Entry, Index

__all__ = ["Standing", "check_api", "judge", "stand"]


@record(frozen=True)
class Standing:
    """`state` is a word of `gleitzeit.values.State`: "discovered" where nothing speaks against a start."""

    entry: Entry | None
    state: str = "discovered"
    error: GleitzeitError | None = None


def stand(instance: InstanceConfig, index: Index, host: HostConfig) -> Standing:
    """How an instance stands before it has been started."""
    try:
        entry = index.find(instance.kind, instance.plugin, allow=host.allow, deny=host.deny)
        standing = judge(entry, host)
    except PluginError as error:
        standing = Standing(None, "missing" if isinstance(error, PluginNotFoundError) else "invalid", error)
    if not instance.enabled:
        disabled = PluginError(
            f"{instance.kind} {instance.name!r} is disabled",
            hint="remove enabled = false"
            + (", or start it with `host.servers.start`" if instance.section == "servers" else ""),
            provider=instance.name,
        )
        return Standing(standing.entry, "disabled", disabled)
    if instance.problem is not None and standing.state in ("discovered", "incompatible"):
        return Standing(standing.entry, "invalid", ConfigError(instance.problem))
    return standing


def judge(entry: Entry, host: HostConfig) -> Standing:
    """Whether a plugin may be used: by the operator's lists, its metadata, and its API version."""
    if entry.plugin is not None:
        return Standing(entry)  # handed over in person
    if _matches(entry.distribution, host.deny):
        error: PluginError = PluginError(f"distribution {entry.distribution} is denied by host.deny")
        return Standing(entry, "disabled", error)
    if host.allow is not None and not _matches(entry.distribution, host.allow):
        error = PluginError(f"distribution {entry.distribution} is not allowed", hint="add it to host.allow")
        return Standing(entry, "disabled", error)
    if entry.fault is not None:
        return Standing(entry, "invalid", PluginLoadError(f"plugin {entry.name!r}: {entry.fault}"))
    incompatible = check_api(entry.name, entry.manifest.api_version) if entry.manifest is not None else None
    if incompatible is not None:
        return Standing(entry, "incompatible", incompatible)
    return Standing(entry)


def check_api(name: str, wanted: str) -> PluginIncompatibleError | None:
    """Why a plugin written for API version `wanted` does not fit this core; None where it does."""
    major, _, minor = wanted.partition(".")
    ours = API_VERSION.split(".")
    if major == ours[0] and minor.isdigit() and int(minor) <= int(ours[1]):
        return None
    return PluginIncompatibleError(
        f"plugin {name!r} is written for plugin API {wanted}, this core has {API_VERSION}",
        hint="upgrade gleitzeit, or install a version of the plugin for this core",
        provider=name,
    )


def _matches(distribution: str, globs: Sequence[str]) -> bool:
    name = distribution.lower().replace("_", "-")
    return any(fnmatchcase(name, glob.lower().replace("_", "-")) for glob in globs)
