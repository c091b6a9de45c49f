"""Tool arguments are checked against the tool's own schema, and never quoted."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jsonschema
import pytest
from gleitzeit_plugin_guard_limits import Limits
from gleitzeit_plugin_guard_limits.arguments import Schemas
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.values import Invoke, Target, Tool, ToolCall, Verdict

Guard = Callable[..., Limits]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"$ref": "#/$defs/days"},
        "tags": {"type": "array", "items": {"enum": ["wind", "rain"]}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"days": {"type": "integer", "minimum": 1}},
}


def call(guard: Limits, arguments: dict[str, Any], schema: Any = SCHEMA) -> Verdict:
    target = Target("weather", name="get", tool=Tool("get", input_schema=schema))
    return guard.security_check(ToolCall(arguments).to(target), target)


@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, {"city": "Oslo", "days": 3, "tags": ["wind"]}])
def test_arguments_that_fit_are_allowed(guard: Guard, arguments: dict[str, Any]) -> None:
    assert call(guard(), arguments).allowed


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({}, "required (missing 'city')"),
        ({"city": 3}, "properties/city/type (must be string)"),
        ({"city": "canary" * 10}, "properties/city/maxLength"),
        ({"city": "x", "days": 0}, "properties/days/minimum"),
        ({"city": "x", "canary": 1}, "additionalProperties"),
        ({"city": "x", "tags": ["canary"]}, "properties/tags/items/enum"),
        ({"city": 1, "days": "canary"}, "properties/city/type (must be string); properties/days/type"),
    ],
)
def test_arguments_that_break_the_schema_are_denied_by_the_rule_that_they_break(
    guard: Guard, arguments: dict[str, Any], says: str
) -> None:
    verdict = call(guard(), arguments)
    assert not verdict.allowed
    assert says in verdict.reason
    assert "plugins.limits.arguments" in verdict.reason
    assert "canary" not in verdict.reason


def test_many_faults_are_cut_short(guard: Guard) -> None:
    schema = {"properties": {name: {"type": "integer"} for name in "abcdef"}}
    verdict = call(guard(), dict.fromkeys("abcdef", "x"), schema)
    assert verdict.reason.count("must be integer") == 3
    assert "; …" in verdict.reason


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/schema", "https://example.invalid/schema", "file:///etc/passwd"]
)
def test_a_reference_to_elsewhere_is_denied_and_never_fetched(
    guard: Guard, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: fetched.append(args))
    verdict = call(guard(), {"a": 1}, {"properties": {"a": {"$ref": url}}})
    assert "never fetched" in verdict.reason
    assert not verdict.allowed
    assert fetched == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "zork"},
        {"properties": {"a": {"pattern": "("}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"minimum": object()},
        {"$schema": ["x"]},
        [],
        None,
    ],
)
def test_a_broken_schema_denies(guard: Guard, schema: Any) -> None:
    verdict = call(guard(), {"a": "x"}, schema)
    assert not verdict.allowed
    assert "schema" in verdict.reason or "cannot be checked" in verdict.reason


def test_a_schema_that_names_an_older_draft_is_read_by_it(guard: Guard) -> None:
    draft = "http://json-schema.org/draft-07/schema#"
    schema = {
        "$schema": draft,
        "properties": {"a": {"items": [{"type": "integer"}], "additionalItems": False}},
    }
    assert call(guard(), {"a": [1]}, schema).allowed
    assert not call(guard(), {"a": [1, 2]}, schema).allowed


def test_mappings_and_tuples_count_as_objects_and_arrays(guard: Guard) -> None:
    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({"a": {"type": "array"}})})
    assert call(guard(), {"a": (1, 2)}, schema).allowed
    assert not call(guard(), {"a": MappingProxyType({})}, schema).allowed


def test_a_tool_without_known_schema_is_denied_unless_the_operator_says_otherwise(guard: Guard) -> None:
    target = Target("weather", name="get")
    request = ToolCall().to(target)
    assert 'plugins.limits.arguments = "strict"' in guard().security_check(request, target).reason
    assert guard(arguments="known").security_check(request, target).allowed
    assert guard(arguments="off").security_check(request, target).allowed


def test_a_method_has_no_schema_and_is_denied_where_arguments_are_strict(guard: Guard) -> None:
    target = Target("weather", name="")
    request = Invoke("get", arguments={"a": "canary"}).to(target)
    verdict = guard().security_check(request, target)
    assert not verdict.allowed
    assert "canary" not in verdict.reason
    assert guard(arguments="known").security_check(request, target).allowed


def test_switched_off_nothing_is_checked(guard: Guard) -> None:
    assert call(guard(arguments="off"), {"city": 3}).allowed


def test_a_schema_is_compiled_once_for_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    from gleitzeit_plugin_guard_limits import arguments as module

    compiled = []
    real = module._compile

    def count(schema: Any) -> Any:
        compiled.append(schema)
        return real(schema)

    monkeypatch.setattr(module, "_compile", count)
    schemas = Schemas()
    for _ in range(3):
        assert schemas.fault(dict(SCHEMA), {"city": "x"}) is None
        assert schemas.fault(SCHEMA, {"city": 1}) is not None
    assert len(compiled) == 1


def test_an_id_given_to_another_schema_does_not_bring_back_the_old_one() -> None:
    schemas = Schemas()
    for number in range(2000):  # short-lived schemas reuse addresses
        schema = {"properties": {"a": {"const": number}}}
        assert schemas.fault(schema, {"a": number}) is None
        assert schemas.fault(schema, {"a": -1}) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("ab"), children, max_size=2)
    ),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "c"]), json_values, max_size=3)
types = st.sampled_from(["string", "integer", "object", "array", "null", "boolean"])
schemas_of_one = st.fixed_dictionaries(
    {},
    optional={
        "type": types,
        "minLength": st.integers(0, 2),
        "enum": st.lists(json_values, min_size=1, max_size=2),
    },
)
some_schemas = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(st.sampled_from(["a", "b"]), schemas_of_one, max_size=2),
        "required": st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=2),
        "additionalProperties": st.booleans() | schemas_of_one,
    },
)


@given(some_schemas, objects)
def test_the_answer_is_that_of_the_json_schema_specification(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    valid = jsonschema.Draft202012Validator(schema).is_valid(arguments)
    assert (Schemas().fault(schema, arguments) is None) is valid


@given(json_values, objects)
def test_any_schema_and_any_arguments_get_an_answer(schema: Any, arguments: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from gleitzeit_plugin_guard_limits import LimitsConfig

    context: Any = SimpleNamespace(name="limits")
    assert isinstance(call(Limits(LimitsConfig(), context), arguments, schema), Verdict)
