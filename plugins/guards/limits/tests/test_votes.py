"""What the guard lets through and what it denies."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from attrs import frozen
from gleitzeit_plugin_guard_limits import Limits, LimitsConfig
from gleitzeit_plugin_guard_limits.size import size_of
from pydantic import ValidationError

from gleitzeit.hookspecs import check_hooks
from gleitzeit.manifest import build as manifest_of
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    GetPrompt,
    ImagePart,
    Invoke,
    Message,
    Model,
    Operation,
    ReadResource,
    Request,
    Target,
    Tool,
    ToolCall,
    ToolCallPart,
    Verdict,
)

Guard = Callable[..., Limits]

MODEL = Target("openai", name="gpt-6", model=Model("gpt-6"))
LOCAL = Target("here", name="small", model=Model("small"), local=True)
TOOL = Target("git", name="git_log", tool=Tool("git_log"))


def ask(guard: Limits, operation: Operation, target: Target | None, **fields: Any) -> Verdict:
    return guard.security_check(Request(operation, target=target or "some/name", **fields), target)


def test_without_rules_models_and_known_tools_are_allowed(guard: Guard) -> None:
    limits = guard()
    for operation in (Chat("x"), Completion("x"), Embedding("x"), Classification("x")):
        assert ask(limits, operation, MODEL).allowed
        assert ask(limits, operation, None).allowed
    assert ask(limits, ToolCall({"a": 1}), TOOL).allowed


def test_an_allow_list_denies_everything_else(guard: Guard) -> None:
    limits = guard(allow_models=["openai/*"])
    assert ask(limits, Chat("x"), MODEL).allowed
    verdict = ask(limits, Chat("x"), LOCAL)
    assert not verdict.allowed
    assert (
        verdict.reason
        == "'anonymous' may not use model here/small: plugins.limits.allow_models does not have it"
    )
    assert ask(limits, ToolCall(), TOOL).allowed


def test_an_empty_allow_list_allows_nothing(guard: Guard) -> None:
    assert not ask(guard(allow_models=[]), Chat("x"), MODEL).allowed


def test_a_denial_wins_over_an_allowance(guard: Guard) -> None:
    verdict = ask(guard(allow_tools=["git/*"], deny_tools=["git/git_l*"]), ToolCall(), TOOL)
    assert verdict.reason.endswith("plugins.limits.deny_tools has 'git/git_l*'")


@pytest.mark.parametrize("name", ["GPT-6", " gpt-6", "Gpt-6 "])
def test_a_denial_holds_for_every_spelling(guard: Guard, name: str) -> None:
    assert not ask(guard(deny_models=["openai/gpt-6"]), Chat("x"), Target("openai", name=name)).allowed


def test_a_negated_class_denies_what_it_says(guard: Guard) -> None:
    limits = guard(deny_models=["m/[!A]"])
    assert not ask(limits, Chat("x"), Target("m", name="a")).allowed
    assert ask(limits, Chat("x"), Target("m", name="A")).allowed


@pytest.mark.parametrize(
    "operation, target",
    [
        (Invoke("git_log"), Target("git", name="")),
        (ReadResource("git_log"), Target("git", name="")),
        (GetPrompt(), Target("git", name="git_log")),
        (Chat("x"), TOOL),
    ],
)
def test_a_denied_tool_is_not_reached_by_another_operation(
    guard: Guard, operation: Operation, target: Target
) -> None:
    limits = guard(deny_tools=["git/git_log"], arguments="known")
    assert not ask(limits, operation, target).allowed
    assert ask(guard(arguments="known"), operation, target).allowed


def test_a_new_kind_of_inference_is_held_by_both_lists(guard: Guard) -> None:
    @frozen
    class Rerank(Operation):
        kind: ClassVar[str] = "rerank"

    assert not ask(guard(deny_models=["openai/*"]), Rerank(), MODEL).allowed
    assert not ask(guard(deny_tools=["openai/*"]), Rerank(), MODEL).allowed
    assert ask(guard(), Rerank(), MODEL).allowed


def test_the_address_of_a_resource_is_not_told(guard: Guard) -> None:
    verdict = ask(guard(allow_tools=[]), ReadResource("file:///home/canary"), Target("fs", name=""))
    assert "tool fs: " in verdict.reason
    assert "canary" not in verdict.reason


PRINCIPALS = {
    "ada": {"allow_models": ["*"]},
    "team-*": {"deny_models": ["openai/*"]},
    "*-intern": {"max_bytes": 1},
    "default": {"allow_models": ["here/*"]},
}


@pytest.mark.parametrize(
    "principal, target, text, allowed",
    [
        ("ada", MODEL, "long text", True),
        ("team-a", MODEL, "x", False),
        ("team-a", LOCAL, "long text", True),
        ("team-a-intern", MODEL, "x", False),
        ("team-a-intern", LOCAL, "long text", False),
        ("team-a-intern", LOCAL, "x", True),
        ("bob", MODEL, "x", False),
        ("bob", LOCAL, "long text", True),
        (None, MODEL, "x", False),
        (None, LOCAL, "x", True),
        ("default", MODEL, "x", False),
        ("team-*", MODEL, "x", False),
    ],
)
def test_the_exact_principal_then_all_globs_then_the_default_hold(
    guard: Guard, principal: str | None, target: Target, text: str, allowed: bool
) -> None:
    assert ask(guard(principals=PRINCIPALS), Chat(text), target, principal=principal).allowed is allowed


def test_a_request_without_principal_is_anonymous(guard: Guard) -> None:
    limits = guard(principals={"anonymous": {"deny_models": ["*"]}, "default": {}})
    assert not ask(limits, Chat("x"), MODEL).allowed
    assert ask(limits, Chat("x"), MODEL, principal="ada").allowed


def test_a_principal_that_nobody_foresaw_is_denied_even_without_a_target(guard: Guard) -> None:
    verdict = ask(guard(principals={"ada": {}}), Chat("x"), None, principal="eve")
    assert verdict.reason == "no rule of plugins.limits.principals covers 'eve', and there is no default"


def test_rules_for_everybody_hold_beside_those_of_a_principal(guard: Guard) -> None:
    limits = guard(deny_models=["openai/*"], principals={"ada": {"allow_models": ["*"]}})
    assert not ask(limits, Chat("x"), MODEL, principal="ada").allowed


def test_many_strangers_do_not_fill_the_memory(guard: Guard) -> None:
    limits = guard(principals={"default": {}})
    for number in range(5000):
        assert ask(limits, Chat("x"), Target("m", name=str(number)), principal=str(number)).allowed
    assert len(limits._by_principal) <= 4096
    assert len(limits._by_name) <= 4096


@pytest.mark.parametrize(
    "operation, size",
    [
        (Chat("abc"), 3),
        (Chat("äöü"), 6),
        (Chat([Message.system("ab"), Message.user(["c", ImagePart(data=b"1234", media_type="x")])]), 8),
        (Chat("a", stop=["bc"]), 3),
        (Chat("a", options={"openai": {"x": ["yz"]}}), 10),
        (Completion("abc"), 3),
        (Embedding(["ab", "c"]), 3),
        (ToolCall({"path": "abc", "n": 1}), 4 + 3 + 1 + 8),
        (Chat(Message.assistant(ToolCallPart("i", name="n", arguments={"a": "b"}))), 4),
    ],
)
def test_the_size_is_the_bytes_of_the_content(operation: Operation, size: int) -> None:
    assert size_of(operation) == size


def test_tools_count_with_their_descriptions_and_schemas() -> None:
    bare = size_of(Chat("x", tools=[Tool("t")]))
    assert size_of(Chat("x", tools=[Tool("t", description="y" * 100)])) == bare + 100


@pytest.mark.parametrize(
    "limit, operation, says",
    [
        ({"max_bytes": 2}, Chat("abc"), "3 bytes of content; plugins.limits.max_bytes = 2"),
        ({"max_bytes": 2}, ToolCall({"a": "bc"}), "3 bytes of content"),
        ({"max_messages": 1}, Chat([Message.user("a")] * 2), "2 messages; plugins.limits.max_messages = 1"),
        ({"max_tools": 0}, Chat("x", tools=[Tool("t")]), "1 tools; plugins.limits.max_tools = 0"),
        (
            {"principals": {"default": {"max_bytes": 1}}},
            Chat("ab"),
            "plugins.limits.principals.default.max_bytes",
        ),
    ],
)
@pytest.mark.parametrize("target", [None, MODEL])
def test_a_request_that_is_too_large_is_denied_with_and_without_target(
    guard: Guard, limit: dict[str, Any], operation: Operation, says: str, target: Target | None
) -> None:
    verdict = ask(guard(**limit, arguments="off"), operation, target)
    assert says in verdict.reason
    assert not verdict.allowed


def test_private_data_stays_on_local_targets(guard: Guard) -> None:
    limits = guard()
    verdict = ask(limits, Chat("canary"), MODEL, data_class="private")
    assert verdict.reason == (
        "private data stays on local targets, and openai/gpt-6 is none (plugins.limits.private_local)"
    )
    assert ask(limits, Chat("x"), LOCAL, data_class="private").allowed
    assert ask(limits, Chat("x"), None, data_class="private").allowed
    assert ask(limits, Chat("x"), MODEL, data_class="internal").allowed
    assert not ask(limits, ToolCall(), TOOL, data_class="private").allowed
    assert ask(guard(private_local=False), Chat("x"), MODEL, data_class="private").allowed


def test_an_unknown_data_class_is_denied(guard: Guard) -> None:
    assert not ask(guard(), Chat("x"), LOCAL, data_class="secret").allowed


@pytest.mark.parametrize(
    "operation, fields",
    [
        (Chat([object()]), {}),  # type: ignore[list-item]
        (Chat([Message.user([object()])]), {}),  # type: ignore[list-item]
        (Embedding([object()]), {}),  # type: ignore[list-item]
        (Chat("x"), {"principal": ["ada"]}),
        (Chat("x"), {"data_class": ["public"]}),
        ("canary", {}),
    ],
)
def test_what_cannot_be_checked_is_denied(guard: Guard, operation: Any, fields: dict[str, Any]) -> None:
    verdict = ask(guard(max_bytes=10**9), operation, MODEL, **fields)
    assert not verdict.allowed
    assert "cannot be checked" in verdict.reason
    assert "canary" not in verdict.reason


def test_content_nested_too_deeply_is_denied(guard: Guard) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    verdict = ask(guard(max_bytes=10**9), ToolCall({"a": deep}), TOOL)
    assert "RecursionError" in verdict.reason


def test_the_keys_in_reasons_name_the_instance() -> None:
    context: Any = SimpleNamespace(name="office")
    limits = Limits(LimitsConfig.model_validate({"deny_models": ["*"]}), context)
    assert "plugins.office.deny_models" in ask(limits, Chat("x"), MODEL).reason


@pytest.mark.parametrize(
    "values, says",
    [
        ({"deny_models": ["gpt-6"]}, r"deny_models\.0\n.*write \"\*/gpt-6\" or \"gpt-6/\*\""),
        ({"max_byte": 1}, "max_byte\n"),
        ({"max_bytes": -1}, "max_bytes\n"),
        ({"principals": {"ada": {"allow_tools": "git/*"}}}, r"principals\.ada\.allow_tools\n"),
        ({"arguments": "maybe"}, "arguments\n"),
    ],
)
def test_a_wrong_configuration_names_its_key(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LimitsConfig.model_validate(values)


def test_the_guard_fits_the_contract(guard: Guard) -> None:
    assert check_hooks(guard(), "limits") == ("security_check",)


def test_the_manifest_is_what_the_code_says() -> None:
    shipped = Path(__file__).parent.parent / "src/gleitzeit_plugin_guard_limits/gleitzeit.json"
    assert json.loads(shipped.read_text("utf-8")) == manifest_of(Limits, "limits", "plain")


def test_every_configuration_in_the_readme_holds() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        for values in tomllib.loads(block)["plugins"].values():
            values.pop("plugin", None)
            assert isinstance(LimitsConfig.model_validate(values), LimitsConfig)


def test_the_refusal_in_the_readme_is_the_one_given(guard: Guard) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    block = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]
    verdict = ask(guard(**tomllib.loads(block)["plugins"]["limits"]), Chat("x"), MODEL, principal="bob")
    assert f"denied by limits: {verdict.reason}\n" in text
