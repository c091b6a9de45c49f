"""Reads `[toolsets.NAME]`: names for several tools, which may contain each other."""

from __future__ import annotations

from gleitzeit.config.merge import Table, dotted
from gleitzeit.config.model import ToolsetConfig
from gleitzeit.config.problems import Problems
from gleitzeit.config.reader import Reader
from gleitzeit.config.shape import TOOLSET
from gleitzeit.near import did_you_mean

__all__ = ["toolsets"]


def toolsets(base: Table, reader: Reader, problems: Problems) -> dict[str, ToolsetConfig]:
    """The sets of tools; one that names an unknown set, or in the end itself, is a problem."""
    nodes = base.table("toolsets").items
    found = {}
    for name, node in nodes.items():
        given = reader.settings(node, TOOLSET, ("toolsets", name))
        found[name] = ToolsetConfig(name, **{key: tuple(value) for key, value in given.items()})
    for name, node in nodes.items():
        key = dotted(("toolsets", name))
        unknown = [inner for inner in _inside(found[name]) if inner not in found]
        for inner in unknown:
            step = did_you_mean(inner, found, f"write [{dotted(('toolsets', inner))}]")
            problems.add(node.source, key, f"there is no set @{inner}", step)
        if name in _reached(name, found):
            problems.add(node.source, key, "the set contains itself", "take one of the names out")
    return found


def _inside(toolset: ToolsetConfig) -> list[str]:
    """The names of the sets that it names."""
    return [word[1:] for word in (*toolset.tools, *toolset.exclude) if word.startswith("@")]


def _reached(name: str, known: dict[str, ToolsetConfig]) -> set[str]:
    """The sets that lie inside of it, however deep."""
    seen: set[str] = set()
    left = _inside(known[name])
    while left:
        inner = left.pop()
        if inner in known and inner not in seen:
            seen.add(inner)
            left += _inside(known[inner])
    return seen
