"""Reads values out of merged layers: variables put in, references recognised, our own keys checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.config.interpolate import InterpolationError, interpolate, mentions
from gleitzeit.config.merge import Leaf, Node, Path, Table, dotted
from gleitzeit.config.model import Source
from gleitzeit.config.secrets import SCHEME, SecretRef
from gleitzeit.config.shape import advice, decode, mismatch, properties
from gleitzeit.errors import ConfigError
from gleitzeit.near import did_you_mean

__all__ = ["Reader", "Report"]

#: Takes note of a problem: where, key, what, next step.
Report: TypeAlias = Callable[[Source, str, str, str], None]
_BACKEND: Final = r"secret://[^/$]*/"


class Reader:
    """Reads under one environment; problems go to `report`."""

    def __init__(self, environ: Mapping[str, str], report: Report) -> None:
        self._environ = environ
        self._report = report

    def value(self, node: Node, path: Path) -> Any:
        """What the node says."""
        if isinstance(node, Table):
            return {key: self.value(item, (*path, key)) for key, item in node.items.items()}
        return node.value if node.source.literal else self._expanded(node.value, node.source, path)

    def checked(self, node: Node, schema: Mapping[str, Any], path: Path) -> Any:
        """The value of one of our own keys; None, and a problem, where it does not fit."""
        if schema.get("type") == "object" and schema.get("additionalProperties") is not True:
            return self.settings(node, schema, path)
        value = self.value(node, path)
        if _refers(value):
            step = "a variable may: ${NAME}"
            self._report(node.source, dotted(path), "a reference to a secret cannot stand here", step)
            return None
        if isinstance(node, Leaf) and isinstance(node.value, str) and mentions(node.value):
            try:
                value = decode(value, schema)
            except ValueError:
                pass  # told below, in the words for all other values
        fault = mismatch(value, schema)
        if fault is None:
            return value
        self._report(node.source, dotted(path), fault, advice(str(path[-1]), schema))
        return None

    def settings(self, node: Node, schema: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """The keys of a table of our own that fit; what is unknown, missing or wrong is a problem."""
        if not isinstance(node, Table):
            self._report(node.source, dotted(path), "expected a table", f"write [{dotted(path)}]")
            return {}
        known = properties(schema)
        others = schema.get("additionalProperties")
        for key in schema.get("required", ()):
            if key not in node.items:
                self._report(node.source, dotted((*path, key)), "it is missing", advice(key, known[key]))
        found = {}
        for key, item in node.items.items():
            wanted = known.get(key, others)
            if not isinstance(wanted, Mapping):
                step = did_you_mean(key, known, f"known keys are {', '.join(known)}")
                self._report(item.source, dotted((*path, key)), "there is no such key", step)
                continue
            fault = mismatch(key, schema["propertyNames"]) if "propertyNames" in schema else None
            if fault is not None:
                self._report(item.source, dotted((*path, key)), fault, "")
                continue
            value = self.checked(item, wanted, (*path, key))
            if value is not None:
                found[key] = value
        return found

    def _expanded(self, value: Any, source: Source, path: Path) -> Any:
        if isinstance(value, SecretRef):
            return value
        if isinstance(value, str):
            return self._text(value, source, path)
        if isinstance(value, Mapping):
            return {key: self._expanded(item, source, (*path, key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._expanded(item, source, (*path, number)) for number, item in enumerate(value)]
        return value

    def _text(self, raw: str, source: Source, path: Path) -> str:
        try:
            text = interpolate(raw, self._environ) if "$" in raw else raw
            # The text as written decides: no variable may make a reference, or choose its backend.
            if not raw.startswith(SCHEME):
                return text
            if re.match(_BACKEND, raw):
                return SecretRef(text)
            what, step = "the backend of a reference cannot come from a variable", "write its name"
        except InterpolationError as error:
            what, step = str(error), error.hint
        except ConfigError as error:  # its text quotes what variables said
            what, step = "this is no reference to a secret", error.hint or ""
        self._report(source, dotted(path), what, step)
        return raw


def _refers(value: Any) -> bool:
    """Is this a reference to a secret, or is there one in it?"""
    if isinstance(value, Mapping):
        return any(_refers(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_refers(item) for item in value)
    return isinstance(value, SecretRef)
