"""What our own keys may hold, as JSON Schema: for checks, for reading texts, for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.config.merge import Path
from gleitzeit.config.model import SHIPPED
from gleitzeit.config.tables import CALLED, DEFAULTS
from gleitzeit.near import did_you_mean

__all__ = [
    "HOST",
    "INSTANCE",
    "ROUTE",
    "TOOLSET",
    "accepts",
    "advice",
    "alternatives",
    "decode",
    "descend",
    "mismatch",
    "own",
    "properties",
]

Schema = Mapping[str, Any]

_TEXTS: Final = {"type": "array", "items": {"type": "string"}}


def _seconds(description: str) -> Schema:
    return {"type": "number", "exclusiveMinimum": 0, "description": description}


HOST: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "allow": {**_TEXTS, "description": "Globs of distributions whose plugins may be used; absent: all."},
        "deny": {**_TEXTS, "description": "Globs of distributions whose plugins may not be used."},
        "timeout": _seconds("Seconds that a call may take."),
        "hook_timeout": _seconds("Seconds that one plugin may take to answer a hook."),
        "list_timeout": _seconds(
            "Seconds that the lists of `gleitzeit mcp serve` wait for servers that are starting."
        ),
        "start_timeout": _seconds("Seconds that an instance may take to start."),
        "drain_timeout": _seconds("Seconds that calls in flight may take when the host closes."),
        "mcp_files": {**_TEXTS, "description": "Files of MCP servers in another program's format."},
        "model_data": {
            **_TEXTS,
            "default": [SHIPPED],
            "description": "JSON files with windows and prices of models, first ones first; "
            '"shipped" stands for those of the packages.',
        },
        "health_interval": {
            "type": "number",
            "minimum": 0,
            "default": 0,
            "description": "Seconds between health probes of running instances; 0: none.",
        },
        "status_socket": {
            "type": "string",
            "minLength": 1,
            "description": "File of the local socket that tells other processes how the host fares.",
        },
        "tools_lock": {
            "type": "string",
            "minLength": 1,
            "description": "File of approved tools; a tool that differs from it, or is new, is quarantined.",
        },
        **DEFAULTS,
        "http": {
            "type": "object",
            "additionalProperties": False,
            "description": "The one HTTP client that all plugins share.",
            "properties": {
                "verify_ssl": {"type": "boolean", "description": "Verify TLS certificates."},
                "proxy": {"type": "string", "format": "password", "description": "URL of a proxy."},
                "ca_file": {"type": "string", "description": "File of additional trusted certificates."},
                "max_connections": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Most connections at once.",
                },
                "connect_timeout": {**_seconds("Seconds to connect."), "maximum": 86_400, "default": 5},
            },
        },
    },
}

#: The keys that an instance of any plugin has. What answers calls has more, see `own`; all others
#: go to the plugin.
INSTANCE: Final[Schema] = {
    "type": "object",
    "properties": {
        "plugin": {
            "type": "string",
            "minLength": 1,
            "description": "The plugin's name, if not the instance's.",
        },
        "enabled": {"type": "boolean", "description": "False: as if it were not there, but listed."},
        "eager": {"type": "boolean", "description": "Start it when the host opens."},
        "local": {"type": "boolean", "description": "Does every byte of a call stay on this machine?"},
        "may_ask": {"type": "boolean", "description": "May it ask the host's models and its person?"},
        "models": {
            "type": "array",
            "items": {"type": ["string", "object"]},
            "description": "The models it serves.",
        },
    },
}

ROUTE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["targets"],
    "properties": {
        "targets": {**_TEXTS, "minItems": 1, "description": "Models or tools, in order of preference."},
        "strategy": {"type": "string", "description": "The plugin that orders the targets of a call."},
        "options": {
            "type": "object",
            "additionalProperties": True,
            "description": "What the strategy is told.",
        },
        "allow_strategies": {
            **_TEXTS,
            "description": "Strategies that a request may choose instead.",
        },
    },
}

TOOLSET: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "tools": {
            **_TEXTS,
            "minItems": 1,
            "description": "Names and patterns of tools, and other sets as @NAME; absent: all tools.",
        },
        "categories": {**_TEXTS, "minItems": 1, "description": "Only tools of one of these categories."},
        "tags": {**_TEXTS, "minItems": 1, "description": "Only tools with one of these tags."},
        "exclude": {**_TEXTS, "description": "Names, patterns and sets of tools that are left out."},
    },
}

_NAMES: Final[Mapping[str, str]] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a table",
    "string": "a text",
}
_EXAMPLES: Final = {"array": '["..."]', "boolean": "true or false", "object": "{ ... }", "string": '"..."'}
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def mismatch(value: Any, schema: Schema) -> str | None:
    """What is wrong with a value of ours, without quoting it; None where it fits."""
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = _kind(value)
    if kind not in wanted and not (kind == "integer" and "number" in wanted):
        return f"expected {' or '.join(_NAMES[each] for each in wanted)}, got {_NAMES.get(kind, kind)}"
    # Asked for what must hold, as for NaN no comparison does.
    if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
        return f"expected more than {schema['exclusiveMinimum']}"
    if "minimum" in schema and not value >= schema["minimum"]:
        return f"expected at least {schema['minimum']}"
    if "maximum" in schema and not value <= schema["maximum"]:
        return f"expected at most {schema['maximum']:,.10g}".replace(",", "_")
    if "enum" in schema and value.casefold() not in schema["enum"]:
        lower = [each for each in schema["enum"] if each == each.casefold()]
        step = did_you_mean(value, lower, f"such as {', '.join(schema['examples'])}")
        return f"there is no such {schema['title']}; {step}"
    if (schema.get("minLength") or schema.get("minItems")) and not value:
        return "it is empty"
    if "items" in schema:
        for number, item in enumerate(value):
            fault = mismatch(item, schema["items"])
            if fault is not None:
                return f"item {number + 1}: {fault}"
    return None


def advice(key: str, schema: Schema) -> str:
    """What to write under the key instead."""
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    for example in (*(schema.get("examples") or ()), *([schema["default"]] if "default" in schema else ())):
        return f"write {key} = {json.dumps(example)}"
    least = schema.get("minimum", 10)
    return f"write {key} = {least if kind in ('integer', 'number') else _EXAMPLES[kind]}"


def own(section: str) -> Mapping[str, Schema]:
    """The keys of an instance in this section that are ours, whatever its plugin."""
    more = CALLED if section in ("providers", "servers") else {}
    return {**INSTANCE["properties"], **more}


def accepts(schema: Schema | None, root: Schema | None = None) -> frozenset[str]:
    """The JSON types that a schema lets pass, references and alternatives followed; empty: unknown."""
    return frozenset(_types(schema, root or schema or {}))


def decode(text: str, schema: Schema | None, root: Schema | None = None) -> Any:
    """A text from outside as the type that the schema wants; texts stay texts wherever they may.

    Raises ValueError where the text is none such.
    """
    types = accepts(schema, root)
    if not types or "string" in types:
        return text
    stripped = text.strip()
    if types & {"array", "object"} and (stripped[:1] in ("[", "{") or types <= {"array", "object", "null"}):
        wanted = "array" if "array" in types else "object"
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            value = None
        if _kind(value) not in types:
            example = '["a", "b"]' if wanted == "array" else '{"key": "value"}'
            raise ValueError(f"expected {_NAMES[wanted]} as JSON, such as {example}")
        return value
    if "boolean" in types and stripped.lower() in _BOOLEANS:
        return _BOOLEANS[stripped.lower()]
    for name, convert in (("integer", int), ("number", float)):
        if name in types:
            try:
                return convert(stripped)
            except ValueError:
                continue
    raise ValueError(f"expected {' or '.join(sorted(_NAMES[each] for each in types - {'null'}))}")


def properties(schema: Schema | None, root: Schema | None = None) -> Mapping[str, Schema]:
    """The named properties of an object's schema, references and alternatives followed."""
    root = root or schema or {}
    found: dict[str, Schema] = {}
    for each in alternatives(schema, root):
        found.update(each.get("properties") or {})
    return found


def descend(schema: Schema | None, path: Path) -> Schema | None:
    """The schema of what lies under `path`; None where it is unknown."""
    root, at = schema or {}, schema
    for key in path:
        found = properties(at, root).get(key) if isinstance(key, str) else None
        if found is None:
            word = "items" if isinstance(key, int) else "additionalProperties"
            extras = (each.get(word) for each in alternatives(at, root))
            found = next((extra for extra in extras if isinstance(extra, Mapping)), None)
        if found is None:
            return None
        at = found
    return at


def alternatives(schema: Schema | None, root: Schema) -> list[Schema]:
    """The schema and what it refers to or is made of; references that go in circles are followed once."""
    found: dict[int, Schema] = {}
    left: list[Any] = [schema]
    while left:
        each = left.pop()
        if not isinstance(each, Mapping) or id(each) in found:
            continue
        found[id(each)] = each
        reference = each.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = root
            for part in reference[2:].split("/"):
                target = target.get(part) if isinstance(target, Mapping) else None
            left.append(target)
        for word in ("anyOf", "oneOf", "allOf"):
            left.extend(each.get(word) or ())
    return list(found.values())


def _types(schema: Schema | None, root: Schema) -> set[str]:
    found: set[str] = set()
    for each in alternatives(schema, root):
        kinds = each.get("type", ())
        found.update((kinds,) if isinstance(kinds, str) else kinds)
        values = [*(each.get("enum") or ()), *([each["const"]] if "const" in each else ())]
        found.update(_kind(value) for value in values)
    return found


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for types, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (Mapping, "object"),
        ((list, tuple), "array"),
    ):
        if isinstance(value, types):
            return name
    return type(value).__name__
