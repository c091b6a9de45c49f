"""What is installed, configured and known, without importing a plugin or asking one.

The rows behind `gleitzeit plugins`, `models` and `tools`. States and models are those that a host
would begin with; how they are after a start only a host can say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.config.implicit import needed
from gleitzeit.discovery import SECTIONS
from gleitzeit.records import KW_ONLY, record
from gleitzeit.standing import Standing, judge, stand

if TYPE_CHECKING:
    from gleitzeit.config import Config, InstanceConfig, RouteConfig
    from gleitzeit.discovery import Entry, Index
    from gleitzeit.modeldata import Known

__all__ = [
    "NOT_ASKED",
    "ModelRow",
    "PluginRow",
    "ToolRow",
    "models",
    "plugins",
    "priced",
    "sandbox_of",
    "tools",
]

#: What is said where only the instance knows.
NOT_ASKED: Final = "not asked; use --live"


@record(frozen=True)
class PluginRow:
    """An instance, or a plugin that has none (`instance` is empty).

    `state` is a word of `gleitzeit.values.State`. `sandbox` is what encloses the process behind a
    server, "none" where nothing does; empty where there is no process.
    """

    plugin: str
    _: KW_ONLY
    kind: str
    instance: str = ""
    distribution: str = ""
    version: str = ""
    state: str = "discovered"
    sandbox: str = ""
    reason: str = ""
    summary: str = ""


@record(frozen=True)
class ModelRow:
    """A name that a call may be sent to. `name` ends in `/…` where an instance's models are not known."""

    name: str
    _: KW_ONLY
    instance: str = ""
    plugin: str = ""
    operations: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    context_tokens: int | None = None
    output_tokens: int | None = None
    #: Dollars for a million tokens: `input`, `output`, `cached_input`.
    price: Mapping[str, Any] | None = None
    #: The day on which a data file's price held; empty for what the configuration says.
    price_date: str = ""
    source: str = ""
    note: str = ""


@record(frozen=True)
class ToolRow:
    """A tool, or an instance whose tools are not known (`name` ends in `/…`)."""

    name: str
    _: KW_ONLY
    instance: str
    plugin: str
    sandbox: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    note: str = ""


def plugins(index: Index, config: Config) -> list[PluginRow]:
    """Every instance, and every plugin that has none, in the order of kinds."""
    rows = []
    for kind in SECTIONS.values():
        used: set[tuple[str, str]] = set()
        for instance in config.instances:
            if instance.kind == kind:
                standing = stand(instance, index, config.host)
                if standing.entry is not None:
                    used.add((standing.entry.name, standing.entry.distribution))
                rows.append(_plugin(instance, standing))
        others = [entry for entry in index.of_kind(kind) if (entry.name, entry.distribution) not in used]
        rows += [_unused(entry, config) for entry in others]
    return rows


def models(index: Index, config: Config, capability: str | None = None) -> list[ModelRow]:
    """The routes, the aliases, and the models of each provider that are known without asking.

    With `capability`, only models that are known to have it.
    """
    rows = []
    if capability is None:
        rows += [_route(route) for route in config.routes.values()]
        rows += [ModelRow(name, source="alias", note=target) for name, target in config.aliases.items()]
    from gleitzeit.modeldata import Known  # not for the other listings

    data = Known(config.host.model_data)
    for instance, entry in _usable(index, config):
        found = list(_models(instance, entry, data))
        rows += [row for row in found if capability is None or capability in row.capabilities]
    return rows


def tools(index: Index, config: Config, pattern: str | None = None) -> list[ToolRow]:
    """The instances that may offer tools of names like `pattern`: which tools, only they know."""
    rows = []
    for instance, entry in _usable(index, config):
        manifest = entry.manifest if entry is not None else None
        silent = manifest is not None and manifest.hooks and "provide_tools" not in manifest.hooks
        if not silent and (pattern is None or _may_match(instance.name, pattern)):
            rows.append(
                ToolRow(
                    f"{instance.name}/…",
                    instance=instance.name,
                    plugin=instance.plugin,
                    sandbox=sandbox_of(instance, entry),
                    note=NOT_ASKED,
                )
            )
    return rows


def sandbox_of(instance: InstanceConfig, entry: Entry | None) -> str:
    """What will enclose the process of a server, "none" where nothing will; empty where it has no process."""
    said = instance.values.get("sandbox")
    if isinstance(said, str) and said:
        return said
    if not instance.values.get("command") or instance.values.get("url"):
        return ""
    manifest = entry.manifest if entry is not None else None
    schema: Mapping[str, Any] = (manifest.config_schema if manifest is not None else None) or {}
    default = schema.get("properties", {}).get("sandbox", {}).get("default")
    return default if isinstance(default, str) else "none"


def _usable(index: Index, config: Config) -> Iterator[tuple[InstanceConfig, Entry | None]]:
    """The providers that a host would ask."""
    for instance in config.instances:
        if instance.kind == "provider":
            standing = stand(instance, index, config.host)
            if standing.state == "discovered":
                yield instance, standing.entry


def _plugin(instance: InstanceConfig, standing: Standing) -> PluginRow:
    entry = standing.entry
    return PluginRow(
        instance.plugin,
        kind=instance.kind,
        instance=instance.name,
        distribution=entry.distribution if entry is not None else "",
        version=entry.version if entry is not None else "",
        state=standing.state,
        sandbox=sandbox_of(instance, entry),
        reason=_reason(standing),
        summary=_summary(entry),
    )


def _unused(entry: Entry, config: Config) -> PluginRow:
    standing = judge(entry, config.host)
    needs = needed(entry) if entry.kind == "provider" else ""
    return PluginRow(
        entry.name,
        kind=entry.kind,
        distribution=entry.distribution,
        version=entry.version,
        state=standing.state,
        reason=_reason(standing) or (f"not configured; it needs {needs}" if needs else ""),
        summary=_summary(entry),
    )


def _reason(standing: Standing) -> str:
    """What keeps it from a start, or else what is not whole about it."""
    if standing.error is not None:
        return str(standing.error)
    return standing.entry.problem or "" if standing.entry is not None else ""


def _models(instance: InstanceConfig, entry: Entry | None, data: Known) -> Iterator[ModelRow]:
    manifest = entry.manifest if entry is not None else None
    own = instance.model_rows
    rows: Sequence[Any] = own or (manifest.rows_for(instance.values) if manifest is not None else ())
    patterns = manifest.patterns if manifest is not None and not own else ()
    for row in rows:
        more = data.add(row, row["name"], instance, entry)
        yield _model(instance, {**row, **more}, "configuration" if own else "manifest")
    if not own and instance.section != "servers":  # a server serves the models that its entry lists
        listing = manifest is None or not manifest.hooks or "provide_models" in manifest.hooks
        note = f"takes names like {', '.join(patterns)}" if patterns else NOT_ASKED
        if patterns or (listing and not rows):
            yield ModelRow(
                f"{instance.name}/…",
                instance=instance.name,
                plugin=instance.plugin,
                capabilities=tuple(sorted(manifest.capabilities)) if manifest is not None else (),
                source="manifest" if patterns else "",
                note=note,
            )


def _route(route: RouteConfig) -> ModelRow:
    return ModelRow(route.name, source="route", note=f"{route.strategy}: {', '.join(route.targets)}")


def _model(instance: InstanceConfig, row: Mapping[str, Any], source: str) -> ModelRow:
    """A row from a manifest's JSON, or from the operator's list of models."""

    def words(key: str) -> tuple[str, ...]:
        value = row.get(key, ())
        return (value,) if isinstance(value, str) else tuple(sorted(value or ()))

    return ModelRow(
        f"{instance.name}/{row['name']}",
        instance=instance.name,
        plugin=instance.plugin,
        operations=words("operations"),
        capabilities=words("capabilities"),
        context_tokens=row.get("context_tokens"),
        output_tokens=row.get("output_tokens"),
        **priced(row.get("metadata") or {}),
        source=source,
        note=row.get("description", "") or "",
    )


def priced(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The price in a model's metadata as fields of a `ModelRow`; what is none is left out."""
    price = metadata.get("price")
    if not isinstance(price, Mapping) or type(price.get("input")) not in (int, float):
        return {}
    return {"price": dict(price), "price_date": str(metadata.get("price_date", ""))}


def _summary(entry: Entry | None) -> str:
    return entry.manifest.summary if entry is not None and entry.manifest is not None else ""


def _may_match(instance: str, pattern: str) -> bool:
    """May a tool of the instance have a name like `pattern`? Without a slash any tool may."""
    head, slash, _ = pattern.partition("/")
    return not slash or fnmatchcase(instance, head)
