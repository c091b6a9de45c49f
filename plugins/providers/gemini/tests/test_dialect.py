"""JSON Schema in the older dialect."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_gemini.dialect import openapi_schema
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import UnsupportedError
from gleitzeit.testing import strategies as some
from gleitzeit.testing.gemini_server import problem

CASES: list[tuple[Any, Any]] = [
    ({"type": "string", "minLength": 2}, {"type": "STRING", "minLength": "2"}),
    ({"type": ["integer", "null"]}, {"type": "INTEGER", "nullable": True}),
    ({"type": ["integer", "string"]}, {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}),
    ({"type": "null"}, {"type": "NULL"}),
    ({"enum": ["a", "b"]}, {"type": "STRING", "format": "enum", "enum": ["a", "b"]}),
    ({"const": "a"}, {"type": "STRING", "format": "enum", "enum": ["a"]}),
    ({"enum": [1, 2], "type": "integer"}, {"type": "INTEGER"}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
    (
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
        {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
    ),
    ({"type": "array", "items": {"type": "boolean"}}, {"type": "ARRAY", "items": {"type": "BOOLEAN"}}),
    ({"type": "array"}, {"type": "ARRAY", "items": {}}),
    (
        {"properties": {"a": {"type": "string"}}, "required": ["a", "b"], "additionalProperties": False},
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
    ),
    (
        {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "number"}}}]},
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "NUMBER"}}},
    ),
    (
        {"$ref": "#/$defs/a~1b", "description": "d", "$defs": {"a/b": {"type": "string"}}},
        {"type": "STRING", "description": "d"},
    ),
    (True, {}),
]


@pytest.mark.parametrize("schema, wanted", CASES)
def test_what_becomes_of_a_schema(schema: Any, wanted: Any) -> None:
    assert openapi_schema(schema) == wanted


@pytest.mark.parametrize(
    "schema, words",
    [
        ({"properties": {"next": {"$ref": "#"}}}, "contains itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "contains itself"),
        ({"$ref": "#/$defs/missing"}, "leads nowhere"),
        ({"$ref": "https://example.org/x"}, "leads nowhere"),
    ],
)
def test_what_cannot_be_written(schema: Any, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        openapi_schema(schema)


SCHEMAS = st.recursive(
    st.sampled_from(
        [{"type": kind} for kind in ("string", "number", "null", "array")] + [{"enum": ["x", None]}, {}]
    ),
    lambda inner: st.one_of(
        st.dictionaries(some.names(), inner, max_size=3).map(lambda found: {"properties": found}),
        inner.map(lambda item: {"type": ["array", "null"], "items": item, "uniqueItems": True}),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found, "title": "t"}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"allOf": found, "not": {}}),
    ),
    max_leaves=6,
)


@given(schema=SCHEMAS)
def test_every_schema_is_one_that_the_server_takes(schema: Any) -> None:
    function = {"name": "f", "parameters": openapi_schema(schema)}
    body = {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [function]}],
    }
    assert problem("generateContent", body) is None
