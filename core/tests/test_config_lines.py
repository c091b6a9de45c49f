"""Every key of a file is found on its line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config.lines import json_lines, toml_lines
from gleitzeit.config.merge import Path

DOCUMENT = '''\
# a comment with = and [brackets]
name = "x" # = [
[host]
timeout = 5

http.verify_ssl = false   # a dotted key
"quoted key" = """
fake = 1
[fake]
"""
literal = \'\'\'
[[fake]]
\'\'\'
[[providers.p.models]]
name = "one"
tags = [ "a",
  # ] a comment
  "]", [1,
    2] ]
[providers.p.models.inner]
date = 1979-05-27 07:32:00Z
[[providers.p.models]]
name = { first = "}", "la st" = { deep.er = 1 } }
[ spaced . "key" ]
"\\u0061\\U00000062" = 1
\'lit"eral\' = "\\"=#"
'''

LINES: dict[Path, int] = {
    ("name",): 2,
    ("host",): 3,
    ("host", "timeout"): 4,
    ("host", "http", "verify_ssl"): 6,
    ("host", "quoted key"): 7,
    ("host", "literal"): 11,
    ("providers", "p", "models"): 14,
    ("providers", "p", "models", 0, "name"): 15,
    ("providers", "p", "models", 0, "tags"): 16,
    ("providers", "p", "models", 0, "tags", 0): 16,
    ("providers", "p", "models", 0, "tags", 1): 18,
    ("providers", "p", "models", 0, "tags", 2, 1): 19,
    ("providers", "p", "models", 0, "inner"): 20,
    ("providers", "p", "models", 0, "inner", "date"): 21,
    ("providers", "p", "models", 1): 22,
    ("providers", "p", "models", 1, "name", "la st", "deep", "er"): 23,
    ("spaced", "key"): 24,
    ("spaced", "key", "ab"): 25,
    ("spaced", "key", 'lit"eral'): 26,
}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """All keys and items of a parsed document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield (*path, number)
            yield from paths(item, (*path, number))


@pytest.mark.parametrize("path", LINES, ids=str)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_toml_keys_are_found(path: Path, newline: str) -> None:
    assert toml_lines(DOCUMENT.replace("\n", newline))[path] == LINES[path]


def test_every_key_of_toml_has_a_line() -> None:
    assert set(paths(tomllib.loads(DOCUMENT))) <= set(toml_lines(DOCUMENT))


def test_json_keys_are_found() -> None:
    text = '{\n "a": {"b"\n:\n [1,\n {"c": "} \\" ]"}]},\n\n"d":1e5, "": null}\n'
    lines = json_lines(text)
    assert set(paths(json.loads(text))) <= set(lines)
    assert (lines["a",], lines["a", "b"], lines["a", "b", 1, "c"], lines["d",]) == (2, 2, 5, 7)


KEYS = st.text(min_size=1, max_size=4)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=6))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from([None, 0, 1, 2]))
def test_json_lines_agree_with_how_the_text_was_written(data: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(data, indent=indent)
    lines, written = json_lines(text), text.split("\n")
    for path in paths(data):
        key = path[-1]
        assert path in lines
        if isinstance(key, str):
            assert json.dumps(key) + ":" in written[lines[path] - 1]


def basic(text: str) -> str:
    """A TOML basic string."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08X}" for c in text) + '"'


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path, int]]:
    """A TOML text, and the line of each key as it was written."""
    written: list[str] = []
    lines: dict[Path, int] = {}
    for table in draw(st.lists(TEXTS, max_size=3, unique=True)):
        again = draw(st.integers(0, 2))
        for number in range(max(again, 1)):
            prefix: Path = (table, number) if again else (table,)
            written += draw(st.lists(st.sampled_from(["", "# [x] = 1", "  "]), max_size=2))
            written.append(f"[[{basic(table)}]]" if again else f"[{basic(table)}]")
            lines[prefix] = len(written)
            for key in draw(st.lists(TEXTS, max_size=3, unique=True)):
                value = draw(
                    st.one_of(
                        TEXTS.map(basic),
                        st.integers().map(str),
                        TEXTS.map(lambda text: '"""\n' + basic(text)[1:-1] + '\nx = 1"""'),
                        st.lists(TEXTS.map(basic), max_size=3).map(
                            lambda each: "[\n" + ",\n".join(each) + "]"
                        ),
                        TEXTS.map(lambda text: "{ a.b = " + basic(text) + " }"),
                    )
                )
                lines[(*prefix, key)] = len(written) + 1
                written += f"{basic(key)} = {value}".split("\n")
    return "\n".join(written), lines


@given(documents())
def test_toml_lines_agree_with_how_the_text_was_written(document: tuple[str, dict[Path, int]]) -> None:
    text, expected = document
    found = toml_lines(text)
    assert set(paths(tomllib.loads(text))) <= set(found)
    assert {path: found[path] for path in expected} == expected
