"""Bodies with one thing changed, so that a validator and a fake can be asked whether they agree."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["mutations"]

_VALUES: Final[tuple[Any, ...]] = (None, True, -1, 0.5, 10**6, "", "bogus", [], ["bogus"], {}, {"bogus": 1})
_Path = tuple[str | int, ...]


def mutations(body: Any) -> Iterator[tuple[str, Any]]:
    """Every body with one field left out, added, or replaced by something else; and what was done."""
    for path in _paths(body, ()):
        at = "/".join(map(str, path))
        for value in _VALUES:
            yield f"{at} = {value!r}", _changed(body, path, value)
        yield f"{at} left out", _without(body, path)
        if isinstance(path[-1], str) or isinstance(_at(body, path), dict):
            yield f"{at} with another", _beside(body, path)


def _paths(node: Any, path: _Path) -> Iterator[_Path]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def _at(body: Any, path: _Path) -> Any:
    for step in path:
        body = body[step]
    return body


def _changed(body: Any, path: _Path, value: Any) -> Any:
    made = copy.deepcopy(body)
    _at(made, path[:-1])[path[-1]] = copy.deepcopy(value)
    return made


def _without(body: Any, path: _Path) -> Any:
    made = copy.deepcopy(body)
    del _at(made, path[:-1])[path[-1]]
    return made


def _beside(body: Any, path: _Path) -> Any:
    made = copy.deepcopy(body)
    node = _at(made, path)
    holder = node if isinstance(node, dict) else _at(made, path[:-1])
    holder["bogus_field"] = 1
    return made
