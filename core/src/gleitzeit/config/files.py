"""Reads configuration files: TOML, or JSON by its suffix."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.config.merge import Node, Path, tree
from gleitzeit.config.model import Source
from gleitzeit.config.problems import problem
from gleitzeit.errors import ConfigError

__all__ = ["Document", "read"]

_LIMIT: Final = 8 << 20
_LINE: Final = r"line (\d+)"
#: JSON as editors write it: comments, and commas before a closing bracket.
_RELAXED: Final = r'(?s)("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/|,(?=\s*[\]}])'


class Document:
    """A file that was read, or what code gave instead of one."""

    def __init__(self, name: str, directory: str, data: Mapping[str, Any], lines: Mapping[Path, int]) -> None:
        self.name = name
        self.directory = directory
        self.data = data
        self.lines = lines

    def source(self, path: Path = (), prefix: str = "") -> Source:
        """Where the value under `path` was written."""
        while path and path not in self.lines:
            path = path[:-1]
        line = self.lines.get(path)
        return Source(prefix + self.name + (f":{line}" if line is not None and path else ""))

    def tree(self, *, at: Path = (), prefix: str = "") -> Node:
        """What lies under `at`, as a layer; raises `ConfigError` for what no layer can hold."""
        data: Any = self.data
        for key in at:
            data = data[key]
        try:
            return tree(data, lambda path: self.source((*at, *path), prefix))
        except ValueError as error:
            raise ConfigError(
                "the configuration has a problem:", problems=(problem(self.name, "", str(error)),)
            ) from None


def read(path: str, *, relaxed: bool = False) -> Document:
    """The file's content; raises `ConfigError` with file and line. `relaxed` JSON may have comments."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(_LIMIT + 1)
    except OSError as error:
        raise _wrong(name, f"it cannot be read: {error.strerror}") from None
    if len(raw) > _LIMIT:
        raise _wrong(name, "it is larger than 8 MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _wrong(f"{name}:{line}", "it is no UTF-8 text") from None
    from gleitzeit.config.lines import json_lines, toml_lines

    load, lines = (_json, json_lines) if path.endswith(".json") else (_toml, toml_lines)
    if relaxed and load is _json:
        text = re.sub(_RELAXED, lambda match: match[1] or re.sub(r"[^\n]", " ", match[0]), text)
    try:
        data = load(name, text)
    except RecursionError:
        raise _wrong(name, "it is nested too deeply") from None
    document = Document(name, os.path.dirname(os.path.abspath(path)), data, {})
    document.tree()  # checks the depth, which the search for lines relies on
    return Document(document.name, document.directory, data, lines(text))


def _toml(name: str, text: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:
        what = str(error)
        found = re.search(_LINE, what)
        line = int(found[1]) if found is not None else text.count("\n") + 1
        raise _wrong(f"{name}:{line}", f"no valid TOML: {_unquoted(what)}") from None


def _json(name: str, text: str) -> Mapping[str, Any]:
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice.extend(key for key in dict.fromkeys(keys) if keys.count(key) > 1)
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=once)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise _wrong(f"{name}:{line}", f"no valid JSON: {getattr(error, 'msg', error)}") from None
    if twice:
        raise _wrong(name, f"the key {twice[0]!r} stands there twice")
    if not isinstance(data, dict):
        raise _wrong(name, "expected an object")
    return data


def _unquoted(message: str) -> str:
    """What the parser says, less a key of the file that it may quote beside its place."""
    return message.partition(" (at ")[0]


def _wrong(where: str, what: str) -> ConfigError:
    return ConfigError("the configuration has a problem:", problems=(problem(where, "", what),))
