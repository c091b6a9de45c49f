"""The configuration that a command line asks for, and the commands that show it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gleitzeit.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

    from gleitzeit.cli.output import Output
    from gleitzeit.config import Config
    from gleitzeit.discovery import Index

__all__ = ["overrides", "read", "schema", "show"]


def read(options: Namespace, output: Output) -> tuple[Config, Index]:
    """The configuration and what is installed; raises `ConfigError`. Imports no plugin."""
    from gleitzeit.config import load
    from gleitzeit.discovery import scan

    index = scan()
    over = overrides(options.set)
    config = load(options.config, profile=options.profile, overrides=over, index=index)
    if options.mcp is not None:  # beside the files that the configuration names, which only it knows
        over.setdefault("host", {})["mcp_files"] = [*config.host.mcp_files, os.path.abspath(options.mcp)]
        config = load(options.config, profile=options.profile, overrides=over, index=index)
    for warning in (*config.warnings, *index.problems):
        output.note(f"note: {warning}")
    return config, index


def overrides(items: Iterable[str]) -> dict[str, Any]:
    """What `--set` puts over the configuration; raises `UsageError`."""
    found: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        path = _path(key) if equals else []
        if len(path) < 2:
            raise UsageError(f"--set {key!r} names no key", hint="write --set section.name.key=value")
        table = found
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(
                    f"--set {key}: {part!r} was set to a value before", hint="set one or the other"
                )
            table = inner
        table[path[-1]] = _value(text)
    return found


def show(options: Namespace, output: Output) -> int:
    """`gleitzeit config show`; secrets stay masked, there is no option that shows them."""
    config, _ = read(options, output)
    shown = config.show()
    if output.json:
        output.document(shown)
        return 0
    from gleitzeit.cli.table import Column

    for name in ("files", "profile"):
        if shown.get(name):
            value = shown[name]
            output.note(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    rows = [(key, _written(item["value"]), item["source"]) for key, item in _items(shown, ())]
    columns = (Column("KEY", 9, least=24), Column("VALUE", 5, least=12), Column("FROM", 3, least=12))
    output.table(columns, rows, style=lambda title, text: "dim" if title == "FROM" else None)
    return 0


def schema(options: Namespace, output: Output) -> int:
    """`gleitzeit config schema`"""
    from gleitzeit.config import schema as schema_of
    from gleitzeit.discovery import scan

    output.document(schema_of(scan()))
    return 0


def _path(key: str) -> list[str]:
    """The words of a dotted key, as TOML reads it."""
    import tomllib  # a listing without a file needs none of it

    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return []
    words = []
    while isinstance(table, dict) and len(table) == 1:
        word, table = next(iter(table.items()))
        words.append(word)
    return words if table == 0 else []


def _value(text: str) -> Any:
    """What TOML writes with brackets or quotes; other texts are typed by the key's schema later."""
    if text.strip()[:1] in ("[", "{", '"', "'"):
        import tomllib

        try:
            found = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            return text
        return found["value"] if len(found) == 1 else text
    return text


def _items(shown: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The keys with their values and sources."""
    for key, item in shown.items():
        if isinstance(item, Mapping) and item.keys() == {"value", "source"}:
            yield ".".join((*path, key)), item
        elif isinstance(item, Mapping):
            yield from _items(item, (*path, key))


def _written(value: Any) -> str:
    """A value nearly as TOML writes it; nothing where nothing is set."""
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
