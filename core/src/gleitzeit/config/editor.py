"""The JSON Schema of `gleitzeit.toml`, for editors: our keys, and those of every installed plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.config.servers import SERVER
from gleitzeit.config.shape import HOST, INSTANCE, ROUTE, TOOLSET, accepts, own, properties
from gleitzeit.config.tables import CALLED, TABLES
from gleitzeit.discovery import SECTIONS, Index

__all__ = ["schema"]

#: Ours stand in every section and plugin: written out once, and referred to.
_TABLES: Final = {name: {"$ref": f"#/$defs/tables/properties/{name}"} for name in CALLED}
_VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}


def schema(index: Index) -> Mapping[str, Any]:
    """The schema. A key of a plugin that is a number or list may also be a text with a `${VAR}` in it.

    No key of a plugin is required: it may come from a profile or from the environment.
    """
    definitions: dict[str, Any] = {}
    sections: dict[str, Any] = {
        "host": {"$ref": "#/$defs/host"},
        "routes": {"type": "object", "additionalProperties": ROUTE},
        "aliases": {"type": "object", "additionalProperties": {"type": "string"}},
        "toolsets": {"type": "object", "additionalProperties": TOOLSET},
        "servers": {"type": "object", "additionalProperties": _server(index)},
    }
    for section, kind in SECTIONS.items():
        sections[section] = _section(section, kind, index, definitions)
    definitions["host"] = _shared(HOST)
    definitions["tables"] = {"type": "object", "properties": {**TABLES, **_globs()}}
    definitions["sections"] = {"type": "object", "properties": sections, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gleitzeit.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {"$ref": f"#/$defs/sections/properties/{name}"} for name in sections},
            "profiles": {"type": "object", "additionalProperties": {"$ref": "#/$defs/sections"}},
        },
        "$defs": definitions,
    }


def _section(section: str, kind: str, index: Index, definitions: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    chosen: list[Any] = []
    for entry in index.of_kind(kind):
        manifest = entry.manifest
        if manifest is None or manifest.config_schema is None or f"{kind}.{entry.name}" in definitions:
            continue
        name = f"{kind}.{entry.name}"
        definitions[name] = _plugin(section, manifest.config_schema, f"#/$defs/{name}", manifest.summary)
        reference = {"$ref": f"#/$defs/{name}"}
        given = {"properties": {"plugin": {"const": entry.name}}, "required": ["plugin"]}
        chosen.append({"if": given, "then": reference})
        named[entry.name] = {"if": {"not": {"required": ["plugin"]}}, "then": reference}
    instance: dict[str, Any] = {
        **INSTANCE,
        "properties": _own(section),
        **({"allOf": chosen} if chosen else {}),
    }
    return {
        "type": "object",
        "additionalProperties": instance,
        "properties": {name: {"allOf": [instance, condition]} for name, condition in named.items()},
    }


def _plugin(section: str, config: Mapping[str, Any], place: str, summary: str) -> dict[str, Any]:
    """A plugin's schema beside our own keys, its references leading to its new place."""
    moved = _moved(config, place)
    keys = {key: _relaxed(value, moved) for key, value in (moved.get("properties") or {}).items()}
    found = {key: value for key, value in moved.items() if key != "required"}
    return {
        **found,
        "description": summary or moved.get("description", ""),
        "properties": {**keys, **_own(section)},
        "additionalProperties": moved.get("additionalProperties", False),
    }


def _own(section: str) -> Mapping[str, Any]:
    """Our keys of an instance, the large ones as references."""
    return {key: _TABLES.get(key, value) for key, value in own(section).items()}


def _shared(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """A table of ours with references for what stands in others too."""
    keys = {key: _TABLES.get(key, value) for key, value in table["properties"].items()}
    return {**table, "properties": keys}


def _globs() -> dict[str, Any]:
    """`targets` and `tools`."""
    return {
        name: {**table, "additionalProperties": _shared(table["additionalProperties"])}
        for name, table in CALLED.items()
        if name not in TABLES
    }


def _moved(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {
            key: place + item[1:]
            if key == "$ref" and isinstance(item, str) and item.startswith("#/")
            else _moved(item, place)
            for key, item in value.items()
        }
    return [_moved(item, place) for item in value] if isinstance(value, list) else value


def _relaxed(value: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    types = accepts(value, root)
    if not types or "string" in types:
        return value
    kept = {key: value[key] for key in ("title", "description", "default") if key in value}
    return {**kept, "anyOf": [value, _VARIABLE]}


def _server(index: Index) -> dict[str, Any]:
    """A server's entry: the common keys, and those of the plugin that serves them."""
    plugins = [entry.manifest for entry in index.of_kind("provider") if entry.name == "mcp"]
    known: dict[str, Any] = {}
    for manifest in plugins:
        known.update(properties(manifest.config_schema) if manifest is not None else {})
    keys = {key: value for key, value in known.items() if "$ref" not in str(value)}
    return {"type": "object", "properties": {**keys, **SERVER["properties"], **_own("servers")}}
