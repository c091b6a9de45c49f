"""No combination of lists lets a denied name through, and tightening never loosens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gleitzeit_plugin_guard_limits import Limits, LimitsConfig
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.values import Chat, Invoke, Operation, Target, Tool, ToolCall

words = st.text("aA*?[!]-/. é", min_size=1, max_size=4)
names = st.sampled_from(["a", "A", "b", "a/b", "a-b", ""]) | words
patterns = st.builds(lambda head, tail: f"{head}/{tail}", words, words) | st.sampled_from(
    ["*", "a/*", "*/b", "a/[!b]", "a/?", "A/B"]
)
allows = st.none() | st.lists(patterns, max_size=3)
denies = st.lists(patterns, max_size=3)
rules = st.fixed_dictionaries(
    {},
    optional={"allow_models": allows, "deny_models": denies, "allow_tools": allows, "deny_tools": denies},
)
people = st.sampled_from(["ada", "bob", "anonymous", "default"])
configs = st.builds(
    lambda everybody, principals: {**everybody, "principals": principals, "arguments": "known"},
    rules,
    st.dictionaries(people | st.sampled_from(["a*", "*b", "*"]), rules, max_size=4),
)
operations: st.SearchStrategy[Operation] = st.sampled_from([Chat("x"), ToolCall(), Invoke("b")])
targets = st.builds(
    lambda instance, name, is_tool: Target(instance, name=name, tool=Tool(name) if is_tool else None),
    st.sampled_from(["a", "A", "b"]),
    names,
    st.booleans(),
)
principals = st.none() | people


def allowed(config: dict[str, Any], operation: Operation, target: Target, principal: str | None) -> bool:
    context: Any = SimpleNamespace(name="limits")
    limits = Limits(LimitsConfig.model_validate(config), context)
    request = operation.to(target, principal=principal)
    first, again = limits.security_check(request, target), limits.security_check(request, target)
    assert first == again
    return first.allowed


def escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def kind_of(operation: Operation) -> str:
    return "models" if isinstance(operation, Chat) else "tools"


@given(configs, operations, targets, principals, st.sampled_from(["exact", "upper", "instance", "all"]))
def test_a_denied_name_never_gets_through(
    config: dict[str, Any], operation: Operation, target: Target, principal: str | None, how: str
) -> None:
    name = operation.method if isinstance(operation, Invoke) else target.name
    exact = f"{escaped(target.instance)}/{escaped(name)}"
    pattern = {"exact": exact, "upper": exact.upper(), "instance": f"{target.instance}/*", "all": "*"}[how]
    key = f"deny_{kind_of(operation)}"
    config[key] = [*config.get(key, []), pattern]
    assert not allowed(config, operation, target, principal)


@given(configs, operations, targets, principals, st.data())
def test_tightening_a_list_never_allows_more(
    config: dict[str, Any], operation: Operation, target: Target, principal: str | None, data: st.DataObject
) -> None:
    before = allowed(config, operation, target, principal)
    section = data.draw(st.sampled_from([config, *config["principals"].values()]))
    kind = data.draw(st.sampled_from(["models", "tools"]))
    deny, allow = f"deny_{kind}", f"allow_{kind}"
    if data.draw(st.booleans()):
        section[deny] = [*section.get(deny, []), data.draw(patterns)]
    else:
        section[allow] = (section.get(allow) or [])[1:]
    assert before or not allowed(config, operation, target, principal)


@given(configs, operations, targets, principals)
def test_what_an_allow_list_does_not_have_never_gets_through(
    config: dict[str, Any], operation: Operation, target: Target, principal: str | None
) -> None:
    config[f"allow_{kind_of(operation)}"] = ["elsewhere/*"]
    assert not allowed(config, operation, target, principal)


def test_a_denial_holds_for_other_letters_and_spaces_at_once() -> None:
    target = Target("a", name=" x")
    assert not allowed({"deny_models": ["A/ X"]}, Chat("hi"), target, None)
    assert not allowed({"deny_models": ["A/X"]}, Chat("hi"), target, None)
