"""Knows which plugins are installed, by the metadata of distributions alone: nothing is imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from gleitzeit.distributions import (
    MANIFESTS,
    PREFIX,
    Distribution,
    distributions,
    entry_points,
    package_directories,
)
from gleitzeit.errors import AmbiguousPluginError, PluginLoadError, PluginNotFoundError
from gleitzeit.manifest import Manifest, Shipped
from gleitzeit.near import did_you_mean
from gleitzeit.records import KW_ONLY, field, record

__all__ = ["SECTIONS", "Entry", "Index", "scan"]

#: Section of the configuration -> kind; the entry-point group is `gleitzeit.SECTION`. It repeats
#: `kinds.KINDS`, whose import costs ten times a scan; a test holds them equal.
SECTIONS: Final[Mapping[str, str]] = {
    "providers": "provider",
    "transports": "transport",
    "sandboxes": "sandbox",
    "policies": "policy",
    "exporters": "exporter",
    "secrets": "secrets",
    "strategies": "strategy",
    "http": "http",
    "plugins": "plain",
}


@record(frozen=True)
class Entry:
    """A plugin that is installed, or handed over in person (`plugin`)."""

    name: str
    _: KW_ONLY
    kind: str
    #: `module:attribute`
    value: str
    distribution: str = ""
    version: str = ""
    #: The directory or archive in which the distribution was found.
    location: str = ""
    #: Why the entry point itself cannot be used.
    fault: str | None = None
    shipped: Shipped | None = field(default=None, repr=False, compare=False)
    plugin: Any = field(default=None, repr=False, compare=False)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, read at the first look; None where none is shipped or it is broken (`problem`)."""
        return self.shipped.manifest if self.shipped is not None else None

    @property
    def problem(self) -> str | None:
        """What is wrong with the entry point (then it cannot load) or with the manifest (then it can)."""
        return self.fault or (self.shipped.problem if self.shipped is not None else None)

    def load(self) -> Any:
        """Import the plugin; raises `PluginLoadError`, also where the import exits the interpreter."""
        if self.plugin is not None:
            return self.plugin
        where = f"plugin {self.name!r} of {self.distribution or self.value}"
        if self.fault is not None:
            raise PluginLoadError(f"{where}: {self.fault}", hint="reinstall it", provider=self.name)
        module, _, path = self.value.partition(":")
        try:
            found: Any = importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a plugin's module may raise anything
            raise PluginLoadError(
                f"{where} cannot be imported: {type(error).__name__}: {error}",
                hint=f"try: python -c 'import {module}'",
                provider=self.name,
            ) from error
        for name in path.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                raise PluginLoadError(
                    f"{where}: module {module} has no {path!r}",
                    hint=f"mend the entry point {self.name} = {self.value!r}, or reinstall the plugin",
                    provider=self.name,
                ) from None
        return found


#: (kind, name) -> the distribution of ours that has the plugin, where that is not called after it. Whoever
#: is told to install a name that nobody has taken may get what somebody else puts there.
_HOMES: Final[Mapping[tuple[str, str], str]] = {
    ("http", "fast"): "http-fast",
    ("plain", "limits"): "guard-limits",
    ("provider", "azure-openai"): "openai",
    ("provider", "huggingface-router"): "huggingface",
    ("strategy", "cheapest"): "balance",
    ("strategy", "hedge"): "balance",
    ("strategy", "least-busy"): "balance",
    ("strategy", "p2c"): "balance",
    ("strategy", "priority"): "balance",
    ("strategy", "random"): "balance",
    ("strategy", "round-robin"): "balance",
    ("strategy", "sticky"): "balance",
    ("strategy", "weighted"): "balance",
}


class Index:
    """What is installed. `problems` are faults that belong to no single entry."""

    def __init__(self, entries: Iterable[Entry] = (), problems: Iterable[str] = ()) -> None:
        order = list(SECTIONS.values())
        self.entries = tuple(sorted(entries, key=lambda e: (order.index(e.kind), e.name, e.distribution)))
        self.problems = tuple(problems)
        self._by_name: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            self._by_name.setdefault((entry.kind, entry.name), []).append(entry)

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """The entries of one kind, by name."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def has(self, kind: str, name: str) -> bool:
        """Is a plugin of this kind and name installed, whether or not it can be used?"""
        return (kind, name) in self._by_name

    def find(
        self, kind: str, name: str, *, allow: Sequence[str] | None = None, deny: Sequence[str] = ()
    ) -> Entry:
        """The one plugin of this kind and name.

        Where several distributions claim the name, the operator's `host.allow` and `host.deny`
        settle it. Raises `PluginNotFoundError` or `AmbiguousPluginError`.
        """
        found = self._by_name.get((kind, name), [])
        if len(found) > 1:
            found = [entry for entry in found if _permitted(entry, allow, deny)] or found[:1]
        if not found:
            raise self._missing(kind, name)
        if len(found) > 1:
            claims = " and ".join(f"{entry.distribution} {entry.version}" for entry in found)
            line = f'[host] deny = ["{found[-1].distribution}"]'
            raise AmbiguousPluginError(
                f"{kind} plugin {name!r} is offered by {claims}",
                hint=f"settle it in the configuration: {line}, or uninstall one",
                provider=name,
            )
        return found[0]

    def _missing(self, kind: str, name: str) -> PluginNotFoundError:
        own = f"mcp-{name}" if kind == "transport" else name
        hint = f"pip install gleitzeit-plugin-{_HOMES.get((kind, name), own)}"
        question = did_you_mean(name, [entry.name for entry in self.of_kind(kind)])
        others = sorted({entry.kind for entry in self.entries if entry.name == name})
        if question:
            hint = f"{question} or else: {hint}"
        elif others:
            hint = f"there is a plugin of this name of kind {' and '.join(others)}; or else: {hint}"
        return PluginNotFoundError(f"no {kind} plugin {name!r} is installed", hint=hint, provider=name)


class _Scan:
    """Finds what is installed on `path` (default `sys.path`), once per path and process."""

    def __init__(self) -> None:
        self._memo: dict[tuple[str, ...], Index] = {}

    def __call__(self, path: Sequence[str] | None = None) -> Index:
        key = tuple(os.path.abspath(root) for root in (sys.path if path is None else path))
        index = self._memo.get(key)
        if index is None:
            index = self._memo[key] = _index(key)
        return index

    def cache_clear(self) -> None:
        """Forget what was found, as after an installation."""
        self._memo.clear()


scan: Final = _Scan()


def _index(path: tuple[str, ...]) -> Index:
    entries: list[Entry] = []
    problems: list[str] = []
    for found in distributions(path, problems):
        plugins: dict[tuple[str, str], tuple[str, str | None]] = {}
        manifests: dict[str, str] = {}
        for group, name, value, fault in entry_points(found.text):
            kind = SECTIONS.get(group.removeprefix(PREFIX))
            if group == MANIFESTS:
                manifests[name] = value
            elif kind is None:
                question = did_you_mean(group, [PREFIX + section for section in SECTIONS])
                problems.append(
                    f"{found.name}: entry-point group {group!r} is unknown; {question or 'it is ignored'}"
                )
            elif (kind, name) in plugins:
                plugins[kind, name] = plugins[kind, name][0], "it is declared twice in entry_points.txt"
            else:
                plugins[kind, name] = value, fault
        for (kind, name), (value, fault) in plugins.items():
            shipped = None
            if name in manifests:
                where = f"{manifests[name]} of {found.name}"
                alone = sum(other == name for _, other in plugins) == 1
                read = _reader(manifests[name], found, path)
                shipped = Shipped(where, read, name, kind, alone=alone, beside=read)
            entries.append(
                Entry(
                    name,
                    kind=kind,
                    value=value,
                    distribution=found.name,
                    version=found.version,
                    location=found.location,
                    fault=fault,
                    shipped=shipped,
                )
            )
        orphans = sorted(manifests.keys() - {name for _, name in plugins})
        problems.extend(
            f"{found.name}: manifest {name!r} belongs to no plugin of that name" for name in orphans
        )
    return Index(entries, problems)


def _reader(value: str, found: Distribution, path: tuple[str, ...]) -> Callable[..., bytes]:
    """Reads `package:file` beside the distribution, or (editable) where the package would come from.

    With a name it reads what lies beside that file.
    """
    package, _, file = value.partition(":")
    words = package.split(".")

    def read(beside: str = "") -> bytes:
        parts = [*file.split("/")[:-1], *beside.split("/")] if beside else file.split("/")
        if not file or not all(word.isidentifier() for word in words) or {"..", ""} & set(parts):
            raise OSError(f"{beside or value!r} is no `package:file.json`")
        try:
            return found.read("/".join((*words, *parts)))
        except OSError:
            for directory in package_directories(words[0], path):
                place = os.path.join(directory, *words[1:], *parts)
                if os.path.exists(place):
                    with open(place, "rb") as stream:
                        return stream.read()
            raise

    return read


def _permitted(entry: Entry, allow: Sequence[str] | None, deny: Sequence[str]) -> bool:
    def matches(globs: Sequence[str]) -> bool:
        return any(fnmatchcase(entry.distribution, glob.lower().replace("_", "-")) for glob in globs)

    return not matches(deny) and (allow is None or matches(allow))
