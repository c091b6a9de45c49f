"""JSON Schema in the API's older dialect, a subset of OpenAPI's.

What the subset cannot say is left out, as it only narrows an answer that is checked anyway. A schema
that contains itself cannot be written in it at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import UnsupportedError

__all__ = ["openapi_schema"]

_SAME: Final = (
    "title",
    "description",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "required",
    "propertyOrdering",
    "default",
    "example",
)
#: Written as strings, as 64-bit numbers are.
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


def openapi_schema(schema: Any, root: Any = None, open: tuple[str, ...] = ()) -> dict[str, Any]:
    """`schema` in the subset; raises `UnsupportedError` for one that contains itself."""
    if not isinstance(schema, Mapping):
        return {}
    root = schema if root is None else root
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference in open:
            raise UnsupportedError(
                f"a schema that contains itself ({reference}) has no place in this dialect",
                hint='set `schemas = "json"`',
            )
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        found = _find(root, reference)
        return openapi_schema({**found, **beside}, root, (*open, reference))
    written: dict[str, Any] = {key: schema[key] for key in _SAME if schema.get(key) is not None}
    written |= {key: str(schema[key]) for key in _COUNTS if type(schema.get(key)) is int}
    _type(schema, written)
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        _enum(values, written)
    for part in schema.get("allOf") or ():
        written = _merged(written, openapi_schema(part, root, open))
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        _options([openapi_schema(option, root, open) for option in options], written)
    if isinstance(schema.get("properties"), Mapping):
        written["properties"] = {
            name: openapi_schema(inner, root, open) for name, inner in schema["properties"].items()
        } | written.get("properties", {})
        written.setdefault("type", "OBJECT")
    if "required" in written:
        known = written.get("properties", {})
        written["required"] = [name for name in written["required"] if name in known]
        if not written["required"]:
            del written["required"]
    items = schema.get("items", schema.get("prefixItems"))
    if isinstance(items, Mapping):
        written["items"] = openapi_schema(items, root, open)
    elif isinstance(items, list) and items:
        written["items"] = {"anyOf": [openapi_schema(item, root, open) for item in items]}
    elif written.get("type") == "ARRAY":
        written["items"] = {}
    return written


def _find(root: Any, reference: str) -> Mapping[str, Any]:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) and step else found
    if not reference.startswith("#") or not isinstance(found, Mapping):
        raise UnsupportedError(f"the schema's reference {reference!r} leads nowhere")
    return found


def _type(schema: Mapping[str, Any], written: dict[str, Any]) -> None:
    given = schema.get("type")
    kinds = [kind for kind in (given if isinstance(given, list) else [given]) if kind in _TYPES]
    plain = [kind.upper() for kind in kinds if kind != "null"]
    if (len(kinds) > len(plain) and plain) or schema.get("nullable") is True:
        written["nullable"] = True
    if len(plain) == 1:
        written["type"] = plain[0]
    elif plain:
        written["anyOf"] = [{"type": kind} for kind in plain]
    elif kinds:
        written["type"] = "NULL"


def _enum(values: list[Any], written: dict[str, Any]) -> None:
    """Only texts can be listed: other values are told by their type alone."""
    if None in values:
        written["nullable"] = True
    texts = [value for value in values if isinstance(value, str)]
    if texts and len(texts) == len([value for value in values if value is not None]):
        written["enum"] = texts
        written["type"] = "STRING"
        written["format"] = "enum"


def _options(options: list[dict[str, Any]], written: dict[str, Any]) -> None:
    real = [option for option in options if option.get("type") != "NULL"]
    if len(real) < len(options):
        written["nullable"] = True
    if len(real) == 1:
        written |= {key: value for key, value in real[0].items() if key not in written}
    elif real:
        written["anyOf"] = real


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {**first, **second}
    if "properties" in first and "properties" in second:
        both["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        both["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return both
