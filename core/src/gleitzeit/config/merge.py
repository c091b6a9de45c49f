"""Layers of configuration as trees that know where each value comes from, and their merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.config.model import Source

__all__ = ["DEPTH", "Leaf", "Node", "Path", "Table", "dotted", "leaves", "merge", "plain", "tree"]

#: Keys from the root to a value; list items are addressed by number.
Path: TypeAlias = tuple[str | int, ...]
DEPTH: Final = 64


class Leaf:
    """A value that is replaced as a whole: a scalar or a list."""

    __slots__ = ("source", "value")

    def __init__(self, value: Any, source: Source) -> None:
        self.value = value
        self.source = source


class Table:
    """Keys and what they hold. Layers share tables, so none is ever changed."""

    __slots__ = ("items", "source")

    def __init__(self, items: Mapping[str, Node], source: Source) -> None:
        self.items = items
        self.source = source

    def get(self, key: str) -> Node | None:
        """What the key holds."""
        return self.items.get(key)

    def table(self, key: str) -> Table:
        """The table under the key; an empty one where there is none."""
        found = self.items.get(key)
        return found if isinstance(found, Table) else Table({}, self.source)


Node: TypeAlias = Leaf | Table


def tree(value: Any, source: Callable[[Path], Source], path: Path = ()) -> Node:
    """Nested mappings as a tree; raises ValueError for keys that are no texts and for too deep nesting."""
    if len(path) > DEPTH:
        raise ValueError(f"nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} in {dotted(path) or 'the configuration'} is no text")
        return Table({key: tree(item, source, (*path, key)) for key, item in value.items()}, source(path))
    _check_depth(value, DEPTH - len(path))
    return Leaf(value, source(path))


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: tables merge key by key, everything else replaces."""
    if isinstance(base, Table) and isinstance(over, Table):
        items = dict(base.items)
        for key, node in over.items.items():
            items[key] = merge(items[key], node) if key in items else node
        return Table(items, base.source)
    return over


def plain(node: Node) -> Any:
    """The tree as nested dicts."""
    return {key: plain(item) for key, item in node.items.items()} if isinstance(node, Table) else node.value


def leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Leaf]]:
    """All values with their paths."""
    if isinstance(node, Leaf):
        yield path, node
    else:
        for key, item in node.items.items():
            yield from leaves(item, (*path, key))


def dotted(path: Path) -> str:
    """A path as a person writes it; keys that TOML would quote are quoted."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            bare = key.replace("-", "").replace("_", "").isalnum() and key.isascii()
            text += ("." if text else "") + (key if bare else f'"{key}"')
    return text


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, (list, tuple, Mapping)):
        if left <= 0:
            raise ValueError(f"nested deeper than {DEPTH} levels")
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_depth(item, left - 1)
