"""Layers merge: tables key by key, everything else as a whole, and each value keeps its source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config.merge import DEPTH, Leaf, Node, Path, Table, dotted, leaves, merge, plain, tree
from gleitzeit.config.model import Source

KEYS = st.text("abcxyz", min_size=1, max_size=2)
SCALARS = st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(SCALARS, inner), max_size=3),
    max_leaves=12,
)
#: `a`, `b` and `c` are tables, `x`, `y` and `z` are not.
AGREEING: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.sampled_from("xyz"), SCALARS, max_size=3),
    lambda inner: st.builds(
        lambda tables, rest: {**tables, **rest},
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.dictionaries(st.sampled_from("xyz"), SCALARS, max_size=3),
    ),
    max_leaves=8,
)


def layer(data: dict[str, Any], name: str) -> Node:
    return tree(data, lambda path: Source(f"{name}:{dotted(path)}"))


def deep(base: Any, over: Any) -> Any:
    """The rule, written once more in plain dicts."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {
            key: deep(base[key], over[key]) if key in base and key in over else {**base, **over}[key]
            for key in [*base, *(key for key in over if key not in base)]
        }
    return over


@given(TABLES, TABLES)
def test_merging_follows_the_rule(base: dict[str, Any], over: dict[str, Any]) -> None:
    assert plain(merge(layer(base, "base"), layer(over, "over"))) == deep(base, over)


@given(AGREEING, AGREEING, AGREEING)
def test_layers_that_agree_on_what_is_a_table_may_be_grouped_at_will(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    a, b, c = layer(one, "a"), layer(two, "b"), layer(three, "c")
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert plain(left) == plain(right)
    assert [(p, leaf.source) for p, leaf in leaves(left)] == [(p, leaf.source) for p, leaf in leaves(right)]


def test_a_value_in_between_hides_the_table_below_it() -> None:
    layers = [layer({"a": {"b": 1}}, "1"), layer({"a": 2}, "2"), layer({"a": {"c": 3}}, "3")]
    assert plain(merge(merge(layers[0], layers[1]), layers[2])) == {"a": {"c": 3}}


@given(TABLES)
def test_an_empty_layer_changes_nothing(data: dict[str, Any]) -> None:
    some, none = layer(data, "some"), layer({}, "none")
    assert plain(merge(some, none)) == plain(merge(none, some)) == data


@given(TABLES, TABLES)
def test_the_source_of_a_value_is_the_layer_that_it_came_from(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    def at(data: Any, path: Path) -> Any:
        for key in path:
            data = data[key] if isinstance(data, dict) and key in data else ...
        return data

    for path, leaf in leaves(merge(layer(base, "base"), layer(over, "over"))):
        origin = over if leaf.source.where.startswith("over:") else base
        assert at(origin, path) == leaf.value
        assert leaf.source.where.endswith(f":{dotted(path)}")


@given(TABLES, TABLES)
def test_merging_changes_neither_layer(base: dict[str, Any], over: dict[str, Any]) -> None:
    a, b = layer(base, "a"), layer(over, "b")
    merge(a, b)
    assert (plain(a), plain(b)) == (base, over)


def test_lists_replace() -> None:
    merged = merge(layer({"a": [1, 2]}, "a"), layer({"a": [3]}, "b"))
    assert plain(merged) == {"a": [3]}


def test_a_table_of_no_keys_is_a_table() -> None:
    assert isinstance(layer({"a": {}}, "a"), Table)
    assert isinstance(merge(layer({"a": 1}, "a"), layer({"a": {}}, "b")), Table)


@pytest.mark.parametrize("inner", [{}, []])
def test_nesting_has_a_limit(inner: Any) -> None:
    for _ in range(DEPTH + 2):
        inner = {"a": inner} if isinstance(inner, dict) else [inner]
    with pytest.raises(ValueError, match="deeper than 64"):
        layer({"a": inner}, "a")


def test_keys_are_texts() -> None:
    with pytest.raises(ValueError, match="the key 1 in a is no text"):
        layer({"a": {1: 2}}, "a")


@pytest.mark.parametrize(
    "path, text",
    [
        (("a", "b-c_d"), "a.b-c_d"),
        (("aliases", "gpt-4.1"), 'aliases."gpt-4.1"'),
        (("models", 0, "name"), "models[0].name"),
        ((), ""),
        (("",), '""'),
    ],
)
def test_paths_are_written_as_toml_writes_them(path: Path, text: str) -> None:
    assert dotted(path) == text


def test_leaves_of_a_leaf_is_itself() -> None:
    leaf = Leaf(1, Source("x"))
    assert list(leaves(leaf)) == [((), leaf)]
