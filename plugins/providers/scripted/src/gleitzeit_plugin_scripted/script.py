"""Reads scripts, and says of a broken one in which line and key the fault lies."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from gleitzeit.errors import ConfigError
from gleitzeit_plugin_scripted.config import ModelScript, Script, ScriptedConfig

__all__ = ["builtin", "load", "parse", "read"]

#: A script is read in one go when the instance is built, so it is kept small.
SIZE_LIMIT: Final = 4 * 2**20


def read(config: ScriptedConfig) -> tuple[str, Mapping[str, ModelScript]]:
    """Where the models of `config` are scripted, and the models; raises `ConfigError`."""
    if config.answers is not None:
        return "the configuration", config.answers
    if config.script is not None:
        return config.script, load(Path(config.script).expanduser())
    return "the built-in script", builtin()


def builtin() -> Mapping[str, ModelScript]:
    """The models there are when nothing is configured."""
    return parse(files(__package__).joinpath("builtin.toml").read_text("utf-8"), "builtin.toml")


def load(path: Path) -> Mapping[str, ModelScript]:
    """The models of a script file; raises `ConfigError` with file, line and key of every fault."""
    try:
        if not path.is_file():
            raise ConfigError(
                f"{path}: there is no such script file",
                hint="correct `script`; paths start from the working folder",
            )
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: the script cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    if len(data) > SIZE_LIMIT:
        raise ConfigError(
            f"{path}: the script is larger than {SIZE_LIMIT >> 20} MiB",
            hint="split it over several instances",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: the script is not UTF-8", hint="save it as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Mapping[str, ModelScript]:
    """The models of a script; `where` ends in `.json` for JSON, else the script is TOML."""
    is_json = where.endswith(".json")
    try:
        data = json.loads(text) if is_json else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{where}:{error.lineno}: not JSON: {error.msg}", hint=f"look at column {error.colno}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+), column (\d+)", str(error))
        line, hint = (
            (found[1], f"look at column {found[2]}")
            if found
            else (text.count("\n") + 1, "look at the end of the file")
        )
        raise ConfigError(f"{where}:{line}: not TOML: {str(error).split(' (at ')[0]}", hint=hint) from None
    except RecursionError:
        raise ConfigError(f"{where}: the script is nested too deeply", hint="flatten it") from None
    try:
        return Script.model_validate(data).models
    except ValidationError as error:
        lines = {} if is_json else _lines(text)
        problems = tuple(
            _problem(fault["loc"], fault["msg"], where, lines) for fault in error.errors(include_input=False)
        )
        raise ConfigError(
            "the script does not hold:",
            problems=problems,
            hint="the keys are described in the README of gleitzeit-plugin-scripted",
        ) from None


def _problem(
    loc: tuple[int | str, ...], message: str, where: str, lines: Mapping[tuple[int | str, ...], int]
) -> str:
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    line = next((lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in lines), None)
    text = message.removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{where}{f':{line}' if line else ''}: {key or 'script'}: {text}"


_HEADER: Final = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_NAME: Final = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _lines(text: str) -> dict[tuple[int | str, ...], int]:
    """The line of each key and table header of a TOML text; good enough to point a person there."""
    lines: dict[tuple[int | str, ...], int] = {}
    counts: dict[tuple[int | str, ...], int] = {}
    table: tuple[int | str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ()
            names = _names(header[2])
            for depth, name in enumerate(names, 1):
                table += (name,)
                if header[1] == "[[" and depth == len(names):
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table += (counts[table],)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _names(key[1]), number)
    return lines


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip("\"'") for name in _NAME.findall(dotted))
