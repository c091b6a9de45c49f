"""`gleitzeit plugin manifest`: makes the data file of a plugin from its code, or compares the two."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit.cli.output import Output
from gleitzeit.config.shape import own, properties
from gleitzeit.discovery import scan
from gleitzeit.errors import PluginError, PluginNotFoundError, UsageError
from gleitzeit.kinds import KINDS
from gleitzeit.manifest import build, check, dumps
from gleitzeit.near import did_you_mean

if TYPE_CHECKING:
    from gleitzeit.discovery import Entry

__all__ = ["find", "place", "run"]

FILE = "gleitzeit.json"
#: Keys of ours that a plugin gets as well if it declares them.
GIVEN = frozenset({"local", "models"})


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit plugin manifest`; unlike the listings it imports the plugin."""
    entries = find(options.name)
    for entry in entries:
        _warn(entry, output)
    if options.check:
        return _check(entries, output)
    if options.write:
        for entry in entries:
            path = place(entry)
            text = dumps(build(entry.load(), entry.name, entry.kind))
            try:
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise UsageError(
                    f"{path}: {error.strerror}", hint="write it where you may: without --write it is printed"
                ) from None
            output.note(f"wrote {path}")
        scan.cache_clear()
        return 0
    if len(entries) > 1:
        names = ", ".join(f"{entry.kind}:{entry.name}" for entry in entries)
        raise UsageError(f"{options.name!r} has several plugins", hint=f"choose one of {names}")
    [entry] = entries
    text = dumps(build(entry.load(), entry.name, entry.kind))
    if output.json:
        output.document(json.loads(text))
    else:
        output.text(text, end="")
    return 0


def find(name: str) -> list[Entry]:
    """The plugins that a name means: a plugin's, `kind:name`, a distribution's or a package's."""
    entries = scan().entries
    spelled = name.lower().replace("_", "-")
    for means in (
        lambda entry: name in (entry.name, f"{entry.kind}:{entry.name}"),
        lambda entry: (
            spelled == entry.distribution or name == entry.value.partition(":")[0].partition(".")[0]
        ),
    ):
        found = [entry for entry in entries if means(entry)]
        if found:
            return found
    known = [word for entry in entries for word in (entry.name, entry.distribution)]
    hint = did_you_mean(name, known, "pip install it first, `pip install -e .` while you write it")
    raise PluginNotFoundError(f"no plugin and no distribution {name!r} is installed", hint=hint)


def place(entry: Entry) -> Path:
    """Where the manifest of a plugin lies, by its entry point or else beside its code."""
    package, file = entry.value.partition(":")[0].partition(".")[0], FILE
    for point in metadata.entry_points(group="gleitzeit.manifest", name=entry.name):
        if point.dist is None or _same(point.dist.name, entry.distribution):
            package, _, file = point.value.partition(":")
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise PluginError(
            f"plugin {entry.name!r}: {package} is no package, so it has no place for a data file"
        )
    return Path(folders[0], *file.split("/"))


def _warn(entry: Entry, output: Output) -> None:
    """Tell the author of settings that no operator can ever set, as the host takes the key for itself."""
    try:
        schema = build(entry.load(), entry.name, entry.kind).get("config_schema")
    except PluginError:
        return  # told where the manifest is made
    ours = own(KINDS[entry.kind].section).keys() - GIVEN
    for key in sorted(ours & properties(schema).keys()):
        output.note(
            f"warning: plugin {entry.name!r}: its Config declares {key!r}, which is the host's own key: "
            "the plugin never gets it; give it another name",
            "yellow",
        )


def _check(entries: list[Entry], output: Output) -> int:
    wrong = {f"{entry.kind}:{entry.name}": check(entry) for entry in entries}
    if output.json:
        output.document({"differences": wrong})
    lines = [f"{name}: {fault}" for name, faults in wrong.items() for fault in faults]
    if lines:
        names = " ".join(name for name, faults in wrong.items() if faults)
        raise PluginError(
            "\n  ".join(["the manifest differs from the code:", *lines]),
            hint=f"gleitzeit plugin manifest {names} --write",
        )
    if not output.json:
        output.note(f"{', '.join(wrong)}: the manifest says what the code says")
    return 0


def _same(one: Any, other: str) -> bool:
    return str(one).lower().replace("_", "-").replace(".", "-") == other
