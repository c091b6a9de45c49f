"""Shows a configuration to a person: what holds, where it was set, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from gleitzeit.config.interpolate import mentions
from gleitzeit.config.merge import Path, dotted
from gleitzeit.config.model import (
    Config,
    HostConfig,
    HttpConfig,
    InstanceConfig,
    RouteConfig,
    Source,
    ToolsetConfig,
)
from gleitzeit.config.resilience import SECTIONS, settle
from gleitzeit.config.secrets import SecretRef
from gleitzeit.config.shape import accepts, descend, properties
from gleitzeit.config.tables import DEFAULTS
from gleitzeit.errors import PluginError

__all__ = ["MASK", "is_secret", "mask", "show"]

MASK: Final = "********"
_DEFAULT: Final = Source("default")
_SECRET: Final = re.compile(r"key|token|secret|passw|authorization|credential|cookie|bearer", re.IGNORECASE)
#: Tables whose values are as good as secrets, whatever their names.
_TABLES: Final = frozenset({"env", "headers"})
_USER: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY: Final = re.compile(r"([?&][^=&#]*(?:key|token|secret|sig|passw)[^=&#]*=)[^&#]+", re.IGNORECASE)
_FALLBACK: Final = re.compile(r"(\$\{[A-Za-z0-9_]+:-)[^}]+\}")
_OPTION: Final = re.compile(r"-{1,2}[\w-]*(?:key|token|secret|passw|authorization)[\w-]*", re.IGNORECASE)


def show(config: Config, *, reveal: bool = False) -> Mapping[str, Any]:
    """Section -> key -> {"value", "source"}; see `Config.show`."""
    shown: dict[str, Any] = {"files": list(config.files), "profile": config.profile, "host": {}}
    for key, value in _settings(config.host, HostConfig):
        source = _within(config.sources, f"host.{key}")
        shown["host"][key] = _item(_link(value) if key == "http.proxy" and not reveal else value, source)
    for instance in config.instances:
        section = shown.setdefault(instance.section or instance.kind, {})
        section[instance.name] = _instance(instance, _schema(config, instance), reveal)
    if config.routes:
        shown["routes"] = {name: _route(route, config.sources) for name, route in config.routes.items()}
    if config.aliases:
        shown["aliases"] = {
            name: _item(target, _near(config.sources, dotted(("aliases", name))))
            for name, target in config.aliases.items()
        }
    if config.toolsets:
        shown["toolsets"] = {
            name: _toolset(toolset, config.sources) for name, toolset in config.toolsets.items()
        }
    if config.warnings:
        shown["warnings"] = list(config.warnings)
    return shown


def _route(route: RouteConfig, sources: Mapping[str, Source]) -> dict[str, Any]:
    place: Path = ("routes", route.name)
    shown = {
        "targets": _item(list(route.targets), _near(sources, dotted((*place, "targets")))),
        "strategy": _item(route.strategy, _near(sources, dotted((*place, "strategy")))),
    }
    for path, value in _leaves(route.options, ("options",)):
        shown[dotted(path)] = _item(mask(value, path, None), _near(sources, dotted((*place, *path))))
    if route.allow_strategies:
        source = _near(sources, dotted((*place, "allow_strategies")))
        shown["allow_strategies"] = _item(list(route.allow_strategies), source)
    return shown


def _toolset(toolset: ToolsetConfig, sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        key: _item(list(value), _near(sources, dotted(("toolsets", toolset.name, key))))
        for key in ("tools", "categories", "tags", "exclude")
        if (value := getattr(toolset, key))
    }


def is_secret(path: Path, schema: Mapping[str, Any] | None) -> bool:
    """Is what lies under `path` a secret, by its schema, its name or a table that it stands in?"""
    for end in range(1, len(path) + 1):
        at = descend(schema, path[:end])
        found = [at, *(at.get("anyOf") or ())] if at is not None else []
        if any(each.get("writeOnly") or each.get("format") == "password" for each in found):
            return True
    types = accepts(descend(schema, path), schema)
    if types and types <= {"boolean", "integer", "null", "number"}:
        return False  # max_tokens is no secret
    names = [key for key in path if isinstance(key, str)]
    return bool(_TABLES.intersection(names[:-1])) or any(_SECRET.search(name) for name in names)


def mask(value: Any, path: Path, schema: Mapping[str, Any] | None) -> Any:
    """A value as it may be shown: what is secret is hidden, references and `${VAR}` stay as written."""
    if isinstance(value, Mapping):
        return {key: mask(item, (*path, key), schema) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        hidden = [mask(item, (*path, number), schema) for number, item in enumerate(value)]
        return [
            MASK
            if number and isinstance(value[number - 1], str) and _OPTION.fullmatch(value[number - 1])
            else item
            for number, item in enumerate(hidden)
        ]
    if isinstance(value, SecretRef) or value is None or isinstance(value, bool):
        return value
    if not is_secret(path, schema):
        return _link(value)
    if isinstance(value, str) and (mentions(value) or value.startswith("secret://")):
        return (
            _FALLBACK.sub(rf"\1{MASK}}}", value)
            if re.fullmatch(r"(?:\w+ )?\$\{[^}]*\}|secret://.*", value)
            else MASK
        )
    return MASK


def _instance(instance: InstanceConfig, schema: Mapping[str, Any] | None, reveal: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key in ("plugin", "enabled", "eager", "local", "may_ask"):
        value = getattr(instance, key)
        if key in ("plugin", "enabled") or key in instance.sources:
            shown[key] = _item(value, _near(instance.sources, key))
    if instance.model_rows:
        shown["models"] = _item(
            [row["name"] for row in instance.model_rows], _near(instance.sources, "models")
        )
    globs = {"targets": instance.targets, "tools": instance.tools}
    tables = {**instance.resilience, **{name: table for name, table in globs.items() if table}}
    for path, value in _settled(tables):
        shown[dotted(path)] = _item(value, _within(instance.sources, dotted(path)))
    for path, value in _leaves(instance.values):
        key = dotted(path)
        source = _near(instance.sources, key)
        written = _under(instance.raw, path, value)
        if reveal:
            shown[key] = _item(value, source)
        elif source.literal and source.where.startswith("environment variable"):
            shown[key] = _item(MASK if isinstance(value, str) else value, source)
        else:
            shown[key] = _item(mask(written, path, schema), source)
    if instance.problem:
        shown["problem"] = _item(instance.problem, instance.sources.get("", _DEFAULT))
    return shown


def _settings(settings: Any, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in fields(kind):
        value = getattr(settings, each.name)
        if isinstance(value, HttpConfig):
            yield from _settings(value, HttpConfig, "http.")
        elif each.name == "resilience":
            whole = settle(value)
            for name in DEFAULTS:
                yield from _settings(getattr(whole, name), SECTIONS[name], f"{name}.")
        else:
            yield prefix + each.name, list(value) if isinstance(value, tuple) else value


def _settled(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values of tables of ours; those for single codes as one, as no file need have named the codes."""
    for key, item in value.items():
        if isinstance(item, Mapping) and key != "by_code":
            yield from _settled(item, (*path, key))
        else:
            yield (*path, key), list(item) if isinstance(item, tuple) else item


def _schema(config: Config, instance: InstanceConfig) -> Mapping[str, Any] | None:
    if config.index is None:
        return None
    try:
        manifest = config.index.find(instance.kind, instance.plugin).manifest
    except PluginError:
        return None
    return manifest.config_schema if manifest is not None and properties(manifest.config_schema) else None


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _under(raw: Any, path: Path, otherwise: Any) -> Any:
    """The value as written; what was changed on the way, or came later, as it is."""
    for key in path:
        if not isinstance(raw, Mapping) or key not in raw:
            return otherwise
        raw = raw[key]
    return raw


def _link(value: Any) -> Any:
    """An address without the user or key that it may carry; an argument without its secret."""
    if not isinstance(value, str):
        return value
    option, equals, _ = value.partition("=")
    if equals and _OPTION.fullmatch(option):
        return f"{option}={MASK}"
    return _QUERY.sub(rf"\1{MASK}", _USER.sub(MASK, value)) if "://" in value else value


def _near(sources: Mapping[str, Source], key: str) -> Source:
    return sources.get(key, _DEFAULT)


def _within(sources: Mapping[str, Source], key: str) -> Source:
    """Where the value, or the last that was set of a table, comes from."""
    inner = [source for name, source in sources.items() if name.startswith(f"{key}.")]
    return sources.get(key) or (inner[-1] if inner else _DEFAULT)


def _item(value: Any, source: Source) -> dict[str, Any]:
    return {"value": value, "source": source.where}
