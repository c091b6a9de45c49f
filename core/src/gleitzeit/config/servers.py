"""MCP servers as `[servers.*]` and as other programs' files write them.

Read as they are: `{"mcpServers": {NAME: {...}}}` (Claude, Cursor, Copilot), `{"servers": {NAME: {...}}}`
(VS Code) and `{"servers": [{"name": NAME, ...}]}`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

from gleitzeit.config.files import Document, read
from gleitzeit.config.merge import Leaf, Node, Path, Table, dotted, tree
from gleitzeit.config.problems import Problems
from gleitzeit.config.shape import advice, mismatch
from gleitzeit.config.tables import CALLED

__all__ = ["PLUGIN", "SERVER", "Fault", "foreign", "normal"]

#: The plugin that serves them.
PLUGIN: Final = "mcp"
_TEXTS: Final = {"type": "array", "items": {"type": ["string", "integer", "number"]}}
#: The keys whose meaning is ours; others go to the plugin.
SERVER: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "command": {
            "type": ["string", "array"],
            "minLength": 1,
            "description": "The program that is the server.",
        },
        "args": {**_TEXTS, "description": "The program's arguments."},
        "env": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "The program's environment, beside the few variables that every program needs.",
        },
        "cwd": {"type": "string", "description": "The directory that the program starts in."},
        "url": {
            "type": "string",
            "minLength": 1,
            "description": "The address of a server that runs elsewhere.",
        },
        "headers": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Headers of every request to the address.",
        },
        "transport": {
            "type": "string",
            "description": "stdio, http or another transport plugin; by default what command or url suggest.",
        },
        "type": {"type": "string", "description": "Another word for transport."},
        "sandbox": {"type": "string", "description": "The sandbox that encloses the program, or none."},
        "disabled": {"type": "boolean", "description": "True is enabled = false."},
        "capabilities": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What its models can do.",
        },
        "description": {"type": "string", "description": "A note for people."},
    },
}
_KNOWN: Final = frozenset(
    (*SERVER["properties"], "enabled", "models", "name", "transportType", "sandboxEnabled")
)
#: Keys that programs disagree about: `timeout` is seconds here and milliseconds there, `retry` a number.
_UNCLEAR: Final = frozenset({"timeout", *CALLED})
_WIRES: Final = {"streamable-http": "http", "streamable_http": "http", "streamablehttp": "http"}


class Fault:
    """Stands for an entry that cannot be read: the field, what is wrong with it, the next step."""

    def __init__(self, key: str, what: str, step: str = "") -> None:
        self.key = key
        self.what = what
        self.step = step


def foreign(path: str, problems: Problems, warnings: list[str]) -> Table:
    """The servers of another program's file as a layer `{name: entry}`; a bad entry stays, to fail alone."""
    document = read(path, relaxed=True)
    folder = document.directory
    if os.path.basename(folder) == ".vscode":
        folder = os.path.dirname(folder)
    items: dict[str, Node] = {}
    forms = [top for top in ("mcpServers", "servers") if isinstance(document.data.get(top), (Mapping, list))]
    for top in forms:
        for name, key, entry in _named(document.data[top], items):
            items[name] = _entry(entry, document, (top, key), folder, warnings)
    if not forms:
        step = 'write {"mcpServers": {NAME: {"command": ...}}}'
        problems.add(path, "", "it holds neither mcpServers nor servers", step)
    return Table(items, document.source())


def normal(values: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Bring a merged entry into one form, in place; yields (key, what, next step) of what is wrong."""
    for key, schema in SERVER["properties"].items():
        if key in values:
            fault = mismatch(values[key], schema)
            if fault is not None:
                yield key, fault, advice(key, schema)
                del values[key]
    command = values.get("command")
    if isinstance(command, (list, tuple)):
        words = [str(word) for word in command]
        values["command"], values["args"] = words[0] if words else "", [*words[1:], *values.get("args", ())]
    if "args" in values:
        values["args"] = [word if isinstance(word, str) else str(word) for word in values["args"]]
    for key in ("env", "headers"):
        if key in values:
            values[key] = yield from _texts(key, values[key])
    wires = [values.pop(key) for key in ("transport", "transportType", "type") if key in values]
    if wires:
        values["transport"] = _WIRES.get(str(wires[0]).lower(), str(wires[0]).lower())
    if not values.get("command") and not values.get("url"):
        yield "command", "it is missing", "give command for a program here, or url for a server elsewhere"
    elif values.get("command") and values.get("url"):
        yield "url", "there is a command as well", "remove one of them"
    if values.pop("sandboxEnabled", None) is True and "sandbox" not in values:
        step = 'name a sandbox, or accept none: sandbox = "none" in [servers.NAME] of gleitzeit.toml'
        yield "sandboxEnabled", "it asks for a sandbox, and none is configured", step
    values.pop("name", None)


def _named(entries: Any, taken: Mapping[str, Any]) -> Iterator[tuple[str, str | int, Any]]:
    """(name, key, entry) of each server; what has no name of its own is called by its place."""
    numbered = isinstance(entries, list)
    names = set(taken)
    for number, (key, entry) in enumerate(enumerate(entries) if numbered else entries.items()):
        given = key if not numbered else entry.get("name") if isinstance(entry, Mapping) else None
        name = given if isinstance(given, str) else ""
        if name and name not in names:
            names.add(name)
            yield name, key, entry
            continue
        what = "another server has this name" if name else "expected a name"
        name = f"server-{number + 1}"
        while name in names:
            name += "x"
        names.add(name)
        yield name, key, Fault("name", what, 'write "name": "..."')


def _entry(entry: Any, document: Document, at: Path, folder: str, warnings: list[str]) -> Node:
    """An entry as a layer, in our words; keys that mean nothing here are told, not used."""
    if not isinstance(entry, (Mapping, Fault)):
        entry = Fault("", "expected an object")
    if isinstance(entry, Fault):
        return Leaf(entry, document.source(at))
    values = dict(entry)
    nested = values.get("transport")
    if isinstance(nested, Mapping):
        values = {**nested, **{key: value for key, value in values.items() if key != "transport"}}
    if isinstance(values.get("sandbox"), Mapping):  # the rules of another program's sandbox
        values["sandboxEnabled"] = values.get("sandboxEnabled", True)
        del values["sandbox"]
    for key in [key for key in values if key not in _KNOWN]:
        what = (
            "left out, as programs disagree about it"
            if key in _UNCLEAR
            else "no key of ours, left to the plugin"
        )
        warnings.append(f"{document.source((*at, key))}: {dotted((*at, key))}: {what}")
        if key in _UNCLEAR:
            del values[key]
    return tree(_translated(values, folder), lambda path: document.source((*at, *path)))


def _translated(value: Any, folder: str) -> Any:
    """Variables in the notation of other programs, in ours."""
    if isinstance(value, str):
        folder = folder.replace("$", "$$")
        return value.replace("${env:", "${").replace("${workspaceFolder}", folder)
    if isinstance(value, Mapping):
        return {key: _translated(item, folder) for key, item in value.items()}
    return [_translated(item, folder) for item in value] if isinstance(value, list) else value


def _texts(key: str, values: Mapping[str, Any]) -> Generator[tuple[str, str, str], None, dict[str, str]]:
    """A table of texts; numbers are taken as text, anything else is wrong."""
    texts = {}
    for name, value in values.items():
        if isinstance(value, str):
            texts[name] = value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            texts[name] = str(value)
        else:
            yield dotted((key, name)), "expected a text", "write it in quotes"
    return texts
