"""Environment variables and keyword arguments as the top layers of a configuration.

`GLEITZEIT__SECTION__NAME__KEY` sets a key of what is declared. Names match whatever their case, and
`_` matches any character that a variable cannot have. Values are literal: no `${...}`, no references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gleitzeit.config.load import ENVIRONMENT
from gleitzeit.config.merge import Leaf, Node, Path, Table, dotted, leaves, merge, tree
from gleitzeit.config.model import Source
from gleitzeit.config.problems import Problems
from gleitzeit.config.profiles import INSTANCES, NAMES
from gleitzeit.config.servers import PLUGIN, SERVER
from gleitzeit.config.shape import HOST, ROUTE, TOOLSET, decode, descend, own, properties
from gleitzeit.config.tables import CALLED
from gleitzeit.discovery import SECTIONS, Entry, Index
from gleitzeit.errors import PluginError
from gleitzeit.near import did_you_mean

__all__ = ["arguments", "entry_of", "variables"]

_ODD: Final = r"[^a-z0-9]+"
_TEXT: Final = {"type": "string"}
#: The sections whose tables are no instances.
_OURS: Final = {"routes": ROUTE, "toolsets": TOOLSET}
_DOTTED: Final = r'"([^"]*)"|([^."]+)'


class _Unknown(Exception):
    """A name leads nowhere: what is wrong, and the next step."""

    def __init__(self, what: str, step: str) -> None:
        super().__init__(what)
        self.step = step


def variables(
    environ: Mapping[str, str],
    base: Table,
    index: Index | None,
    problems: Problems,
    *,
    sections: Iterable[str] = NAMES,
) -> Table:
    """The layer of the environment over `base`; with `sections`, only theirs."""
    layer: Node = Table({}, Source("environment", literal=True))
    wanted = {_fold(section) for section in sections}
    for name in sorted(name for name in environ if name.startswith(ENVIRONMENT)):
        source = Source(f"environment variable {name}", literal=True)
        words = name[len(ENVIRONMENT) :].split("__")
        if wanted != _ALL and _fold(words[0]) not in wanted:
            continue
        try:
            path, schema = _locate(words, base, index)
            value = decode(environ[name], descend(schema, path[_depth(path) :]), schema)
            more = _nested(path, _node(value, source, path))
        except _Unknown as error:
            problems.add(source, "", str(error), error.step)
        except ValueError as error:
            problems.add(source, "", str(error))
        else:
            layer = merge(layer, more)
    assert isinstance(layer, Table)
    return layer


def arguments(overrides: Mapping[str, Any], base: Table, index: Index | None, problems: Problems) -> Table:
    """The layer of keyword arguments: nested mappings, or dotted keys such as `"providers.openai.api_key"`.

    They may declare instances, by saying their `plugin`.
    """
    source = Source("keyword argument", literal=True)
    layer: Node = Table({}, source)
    for key, value in overrides.items():
        path = tuple(quoted or bare for quoted, bare in re.findall(_DOTTED, key))
        try:
            layer = merge(layer, _nested(path, tree(value, lambda _: source, path)))
        except ValueError as error:
            problems.add(source, key, str(error))
    assert isinstance(layer, Table)
    checked: Node = Table({}, source)
    declared = merge(base, layer)
    assert isinstance(declared, Table)
    for path, leaf in leaves(layer):
        try:
            schema = _check(path, base, declared, index)
            value = leaf.value
            if isinstance(value, str):
                value = decode(value, descend(schema, path[_depth(path) :]), schema)
            more = _nested(path, _node(value, source, path))
        except _Unknown as error:
            problems.add(source, dotted(path), str(error), error.step)
        except ValueError as error:
            problems.add(source, dotted(path), str(error))
        else:
            checked = merge(checked, more)
    assert isinstance(checked, Table)
    return checked


def entry_of(section: str, name: str, base: Table, index: Index | None) -> Entry | None:
    """The installed plugin behind an instance; None where that is unknown or unclear."""
    kind = "provider" if section == "servers" else SECTIONS[section]
    plugin = base.table(section).table(name).get("plugin")
    default = PLUGIN if section == "servers" else name
    try:
        given = plugin.value if isinstance(plugin, Leaf) else default
        return index.find(kind, given) if index is not None and isinstance(given, str) else None
    except PluginError:
        return None


def _locate(words: list[str], base: Table, index: Index | None) -> tuple[Path, Mapping[str, Any]]:
    """The path that the words of a variable's name mean, and the schema of the table that it lies in."""
    if len(words) < 2 or not all(words):
        raise _Unknown("it names no key", f"write {ENVIRONMENT}SECTION__NAME__KEY")
    section = _match(words[0], NAMES)
    if section is None:
        step = did_you_mean(words[0].lower(), NAMES, f"sections are {', '.join(NAMES)}")
        if _fold(words[0]) == "profiles":
            step = "set the key itself, or choose a profile by GLEITZEIT_PROFILE"
        raise _Unknown(f"there is no section {words[0].lower()!r} to set", step)
    table = base.table(section)
    if section == "host":
        path = _follow(words[1:], table, HOST, strict=True)
        return ("host", *path), HOST
    if section == "aliases":
        name = "__".join(words[1:])
        return ("aliases", _match(name, table.items) or name.lower()), _TEXT
    name = _declared(section, words[1], table, base, index)
    if len(words) == 2:
        raise _Unknown(
            f"it names no key of {section}.{name}", f"write {ENVIRONMENT}{words[0]}__{words[1]}__KEY"
        )
    schema = _OURS.get(section) or _schema(section, name, base, index)
    strict = schema.get("additionalProperties") is False
    path = _follow(words[2:], table.table(name), schema, strict=strict)
    return (section, name, *path), schema


def _declared(section: str, word: str, table: Table, base: Table, index: Index | None) -> str:
    name = _match(word, table.items)
    if name is None and section in SECTIONS and index is not None:
        name = _match(word, [entry.name for entry in index.of_kind(SECTIONS[section])])
    if name is None:
        raise _undeclared(section, word.lower(), table, base)
    return name


def _undeclared(section: str, name: str, table: Table, base: Table) -> _Unknown:
    elsewhere = [other for other in INSTANCES if other != section and _match(name, base.table(other).items)]
    step = f"write [{dotted((section, name))}]"
    if elsewhere:
        step = f"it is declared as {elsewhere[0]}.{_match(name, base.table(elsewhere[0]).items)}"
    elif table.items:
        step = did_you_mean(name, table.items, f"declared are {', '.join(table.items)}; or {step}")
    noun = {"policies": "policy", "strategies": "strategy", "sandboxes": "sandbox"}.get(
        section, section.rstrip("s")
    )
    return _Unknown(f"there is no {noun} {name!r}", step)


def _follow(words: list[str], node: Table, schema: Mapping[str, Any], *, strict: bool) -> Path:
    path: tuple[str, ...] = ()
    at: Node | None = node
    for word in words:
        known = properties(descend(schema, path), schema)
        here = at.items if isinstance(at, Table) else {}
        key = _match(word, {**known, **here})
        if key is None:
            if any(descend(schema, path) is CALLED[globs] for globs in ("targets", "tools")):
                what = f"there is no table {dotted((*path, word.lower()))!r}"
                raise _Unknown(what, "write it into the file: a variable's name can hold no glob")
            if strict and (known or not path):
                step = did_you_mean(word.lower(), known, f"known keys are {', '.join(known)}")
                raise _Unknown(f"there is no key {dotted((*path, word.lower()))!r}", step)
            # Where any name may stand, as in the `env` of a server, the name is meant as it is written.
            key = word if path and not known and descend(schema, path) is not None else word.lower()
        path = (*path, key)
        at = at.get(key) if isinstance(at, Table) else None
    return path


def _check(path: Path, base: Table, declared: Table, index: Index | None) -> Mapping[str, Any]:
    """The schema of the table that a keyword argument sets; the path must lead to something declared."""
    section, name = (*map(str, path[:2]), "")[:2] if path else ("", "")
    if section not in NAMES:
        raise _Unknown(
            "there is no such section", did_you_mean(section, NAMES, f"sections are {', '.join(NAMES)}")
        )
    if len(path) < 2:
        raise _Unknown("expected a table", f"set {section}.NAME")
    if section == "host":
        return HOST
    if section in INSTANCES:
        installed = section in SECTIONS and entry_of(section, name, base, index) is not None
        if base.table(section).get(name) is None and not installed:
            keys = declared.table(section).table(name).items.keys()
            if not keys & {"plugin", "command", "url"}:
                raise _undeclared(section, name, base.table(section), base)
        return _schema(section, name, declared, index)
    return _OURS.get(section, _TEXT)


def _schema(section: str, name: str, base: Table, index: Index | None) -> Mapping[str, Any]:
    """What an instance may hold: our own keys, and its plugin's as far as its manifest tells."""
    entry = entry_of(section, name, base, index)
    manifest = entry.manifest if entry is not None else None
    schema = manifest.config_schema if manifest is not None else None
    ours = {**(properties(SERVER) if section == "servers" else {}), **own(section)}
    known = schema or {}
    extra = known.get("additionalProperties", False) if schema is not None else True
    return {**known, "additionalProperties": extra, "properties": {**properties(known), **ours}}


def _depth(path: Path) -> int:
    """How many keys of a path lead to the table that has a schema of its own."""
    return 1 if path[0] == "host" else 2


def _node(value: Any, source: Source, path: Path) -> Node:
    """A value as a layer holds it: a table that came as a text is a table like any other."""
    return tree(value, lambda _: source, path)


def _nested(path: Path, node: Node) -> Node:
    for key in reversed(path):
        node = Table({str(key): node}, node.source)
    return node


def _match(word: str, options: Iterable[str]) -> str | None:
    """The option that a variable's word means; `gpt-*` is GPT, as `_` at an end would be lost in `__`."""
    folded = _fold(word)
    meant = None
    for option in options:
        if _fold(option) == folded:
            return option
        if meant is None and _fold(option).strip("_") == folded:
            meant = option
    return meant


def _fold(name: str) -> str:
    return re.sub(_ODD, "_", name.casefold())


_ALL: Final = {_fold(section) for section in NAMES}
