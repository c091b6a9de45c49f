"""What tools, prompts and resource templates promise, pinned by hash in a lock file.

    {"version": 1, "tools": {"git/git_log": {"sha256": "...", "contract": {...}}}, "prompts": {}, ...}

The hash decides. The contract stands beside it so that a difference can be shown to a person.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import asdict, field, frozen

from gleitzeit.errors import ConfigError
from gleitzeit.lookalike import visible
from gleitzeit.values import Prompt, Resource, Tool

__all__ = [
    "THINGS",
    "Change",
    "Item",
    "Lock",
    "Locked",
    "Pin",
    "contract",
    "digest",
    "read_lock",
    "write_lock",
]

Item: TypeAlias = Tool | Prompt | Resource
VERSION: Final = 1
#: What is pinned; of resources only the templates, as the others come and go with the data.
THINGS: Final = ("tools", "prompts", "resources")


@frozen
class Pin:
    """A contract that somebody approved, and its hash."""

    sha256: str
    contract: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, item: Item) -> Pin:
        """What the item promises now."""
        said = contract(item)
        return cls(digest(said), said)


@frozen(kw_only=True)
class Change:
    """How something on offer differs from what was approved; `lines` are those of a diff."""

    name: str = field(kw_only=False)
    thing: str
    what: Literal["new", "changed", "gone"]
    lines: tuple[str, ...] = ()


@frozen
class Lock:
    """What was approved: thing -> `instance/name` -> pin."""

    pins: Mapping[str, Mapping[str, Pin]] = field(factory=dict)

    def fault(self, thing: str, name: str, item: Item) -> str | None:
        """Why the item is not what was approved; None where it is."""
        pin = self.pins.get(thing, {}).get(name)
        if pin is None:
            return "it is new"
        return None if pin.sha256 == digest(contract(item)) else "it has changed"

    def changes(self, live: Lock) -> Iterator[Change]:
        """What `live` has that differs, sorted by thing and name."""
        for thing in THINGS:
            ours, theirs = self.pins.get(thing, {}), live.pins.get(thing, {})
            for name in sorted({*ours, *theirs}):
                old, new = ours.get(name), theirs.get(name)
                if old is None or new is None or old.sha256 != new.sha256:
                    what: Any = "new" if old is None else "gone" if new is None else "changed"
                    yield Change(name, thing=thing, what=what, lines=tuple(_lines(old, new)))


class Locked:
    """A lock file as it now is; read again when it has changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._read: Lock | ConfigError | None = None

    def now(self) -> Lock | ConfigError:
        """What it holds, or why it cannot be used: the same object until the file changes."""
        stamp: tuple[int, ...] = ()
        try:
            status = os.stat(self.path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            pass  # reading it tells why
        if self._read is None or stamp != self._stamp:
            self._stamp = stamp
            try:
                self._read = read_lock(self.path)
            except ConfigError as error:
                self._read = error
        return self._read


def contract(item: Item) -> dict[str, Any]:
    """What an item promises, as JSON data: all that a model is told of it, in its provider's own words."""
    if isinstance(item, Tool):
        return {
            "name": item.name,
            "title": item.title,
            "description": item.description,
            "input_schema": item.input_schema,
            "output_schema": item.output_schema,
            "annotations": asdict(item.hints),
        }
    if isinstance(item, Prompt):
        arguments = [asdict(each) for each in item.arguments]
        return {"name": item.name, "description": item.description, "arguments": arguments}
    return {
        "uri": item.uri,
        "name": item.name,
        "description": item.description,
        "media_type": item.media_type,
    }


def digest(said: Mapping[str, Any]) -> str:
    """The hash of a contract, whatever the order of its keys."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_lock(path: str) -> Lock:
    """The lock in a file; raises `ConfigError` where there is none, or none that can be relied on."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        what = f"{path}: there is no such lock file"
        raise ConfigError(what, hint="write it: gleitzeit tools lock") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="see host.tools_lock") from None
    except UnicodeDecodeError:
        raise _broken(path, "it is no text in UTF-8") from None
    try:
        data = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _broken(path, _fault(text, error)) from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise _broken(path, f"expected an object with version {VERSION}")
    pins: dict[str, dict[str, Pin]] = {}
    for thing in THINGS:
        table = data.get(thing, {})
        if not isinstance(table, dict):
            raise _broken(path, f"{thing}: expected an object")
        pins[thing] = {name: _pin(path, f"{thing}.{name}", entry) for name, entry in table.items()}
    return Lock(pins)


def write_lock(path: str, lock: Lock) -> None:
    """Write the file in one step: whoever reads it meanwhile sees the old one. Raises `ConfigError`."""
    data: dict[str, Any] = {"version": VERSION}
    for thing in THINGS:
        pins = lock.pins.get(thing, {})
        data[thing] = {name: {"sha256": pin.sha256, "contract": pin.contract} for name, pin in pins.items()}
    text = json.dumps(data, indent=2, sort_keys=True, default=_plain) + "\n"
    path = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(path)
    try:
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
        handle, temporary = tempfile.mkstemp(prefix=".gleitzeit-lock-", dir=folder)
        try:
            with open(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        what = f"{path}: cannot be written: {error.strerror}"
        raise ConfigError(what, hint="see host.tools_lock") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are there once: of two pins for one tool, as after a merge, neither counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return found


class _TwiceError(ValueError):
    """A key that is there twice."""


def _fault(text: str, error: Exception) -> str:
    """Why the text of a lock file is none, and where."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            return f"line {number}: a merge has left its marks"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, _TwiceError):
        return f"{error} is there twice"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is no JSON"


def _pin(path: str, key: str, entry: Any) -> Pin:
    said = entry.get("contract") if isinstance(entry, dict) else None
    if not isinstance(said, dict) or entry.get("sha256") != digest(said):
        raise _broken(path, f"{key}: the hash is not that of the contract beside it")
    return Pin(entry["sha256"], said)


def _broken(path: str, what: str) -> ConfigError:
    hint = "take the file from version control, or write it anew: gleitzeit tools lock"
    return ConfigError(f"{path}: this is no lock file: {what}", hint=hint)


def _lines(old: Pin | None, new: Pin | None) -> Iterator[str]:
    for line in difflib.unified_diff(_text(old), _text(new), n=1, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield visible(line)


def _text(pin: Pin | None) -> list[str]:
    if pin is None:
        return []
    text = json.dumps(pin.contract, indent=2, sort_keys=True, ensure_ascii=False, default=_plain)
    # Not at every character that ends lines: none must begin as the headings do that are left out.
    return text.split("\n")


def _plain(value: Any) -> Any:
    """What JSON does not know, as it reads it back."""
    return dict(value) if isinstance(value, Mapping) else list(value)
