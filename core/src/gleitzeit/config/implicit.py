"""Instances that nobody wrote down, and values that nobody wrote down: what is installed says them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gleitzeit.config.model import ADDRESSES, InstanceConfig, Source
from gleitzeit.discovery import SECTIONS

if TYPE_CHECKING:
    from gleitzeit.discovery import Entry, Index

__all__ = ["default", "fill", "implicit", "needed"]


def implicit(
    instances: Iterable[InstanceConfig], index: Index, environ: Mapping[str, str]
) -> tuple[InstanceConfig, ...]:
    """An instance for each installed provider that has none and needs no configuration."""
    providers = [instance for instance in instances if instance.kind == "provider"]
    taken = {instance.plugin for instance in providers} | {instance.name for instance in providers}
    found: dict[str, InstanceConfig] = {}
    for entry in index.of_kind("provider"):
        if entry.name not in taken and entry.name not in found and not needed(entry):
            found[entry.name] = default(entry, environ)
    return tuple(found.values())


def needed(entry: Entry) -> str:
    """The keys of the configuration without which the plugin cannot start, in words; empty without any."""
    schema = (entry.manifest.config_schema if entry.manifest is not None else None) or {}
    words = [*schema.get("required", ())]
    branches = [", ".join(branch.get("required", ())) for branch in schema.get("anyOf", ())]
    if branches and all(branches):
        words.append(" or ".join(branches))
    return ", ".join(words)


def default(entry: Entry, environ: Mapping[str, str]) -> InstanceConfig:
    """The instance of a plugin that nobody configured: its defaults, and what its own variables say."""
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {"": Source("default, as nothing is configured")}
    variables = fill(entry, values, sources, environ)
    return InstanceConfig(
        entry.name,
        kind=entry.kind,
        plugin=entry.name,
        values=values,
        sources=sources,
        section=next(section for section, kind in SECTIONS.items() if kind == entry.kind),
        variables=variables,
        implicit=True,
    )


def fill(
    entry: Entry | None, values: dict[str, Any], sources: dict[str, Source], environ: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    """Put in what the plugin's own environment variables say, where nothing else does."""
    manifest = entry.manifest if entry is not None else None
    # A key of the vendor's must not be sent to somebody else.
    variables = manifest.secrets if manifest is not None and not ADDRESSES & values.keys() else {}
    for key, names in variables.items():
        at, words = values, key.split(".")
        variable = next((name for name in names if environ.get(name)), "")
        for word in words[:-1]:
            inner = at.setdefault(word, {}) if variable else at.get(word)
            at = inner if isinstance(inner, dict) else {words[-1]: inner}  # set to something else: leave it
        if words[-1] not in at and variable:
            at[words[-1]] = environ[variable]
            sources[key] = Source(f"environment variable {variable}", literal=True)
    return variables
