"""The options that all commands share, and `gleitzeit config`."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gleitzeit.cli.settings import overrides
from gleitzeit.errors import UsageError

Run = Callable[..., Any]


def values(result: Any, section: str, name: str) -> dict[str, Any]:
    """Key -> value of an instance, as `config show --json` says."""
    return {key: item["value"] for key, item in result.json()[section][name].items()}


def test_every_key_is_shown_with_its_source(desk: Any, run: Run) -> None:
    desk.config('[providers.one]\nplugin = "desk"\ncolor = "${COLOR:-red}"\n')
    lines = run("config", "show").lines
    assert ["providers.one.color", '"${COLOR:-red}"', "gleitzeit.toml:3"] in [line.split() for line in lines]


def test_secrets_stay_masked_and_nothing_reveals_them(
    desk: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush-1")
    monkeypatch.setenv("GLEITZEIT__PROVIDERS__ONE__PASSWORD", "hush-hush-2")
    desk.config(
        """
        [providers.one]
        plugin = "desk"
        api_key = "hush-hush-3"
        token = "${MY_TOKEN}"
        [servers.clock]
        command = "clock"
        args = ["--api-key", "hush-hush-4"]
        env = { THING = "hush-hush-5" }
        """
    )
    for words in ([], ["--json"], ["--debug"]):
        result = run("config", "show", *words, "--set", "providers.one.secret=hush-hush-6")
        assert result.code == 0
        assert "hush" not in result.out + result.err


def test_value_from_the_command_line_says_so(desk: Any, run: Run) -> None:
    desk.config('[providers.one]\nplugin = "desk"\ncolor = "red"\n')
    result = run("config", "show", "--json", "--set", "providers.one.color=blue")
    assert result.json()["providers"]["one"]["color"] == {"value": "blue", "source": "keyword argument"}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_options_may_stand_before_or_after_the_command(desk: Any, run: Run, before: bool) -> None:
    path = desk.config('[providers.one]\nplugin = "desk"\n', "other.toml")
    options = ["--config", str(path), "--json", "--set", "providers.one.a=1"]
    words = [*options, "config", "show"] if before else ["config", "show", *options]
    assert values(run(*words), "providers", "one")["a"] == "1"


def test_overrides_of_all_places_are_used(desk: Any, run: Run) -> None:
    desk.config('[providers.one]\nplugin = "desk"\n')
    places = ["--set", "providers.one.a=1", "config", "--set", "providers.one.b=2", "show"]
    found = values(run(*places, "--set", "providers.one.c=3", "--json"), "providers", "one")
    assert [found[key] for key in "abc"] == ["1", "2", "3"]


def test_profile_is_laid_over(desk: Any, run: Run) -> None:
    desk.config("[host]\ntimeout = 1\n[profiles.slow.host]\ntimeout = 99\n")
    assert run("config", "show", "--json", "--profile", "slow").json()["host"]["timeout"]["value"] == 99


@pytest.mark.parametrize(
    "item, found",
    [
        ("host.timeout=5", {"host": {"timeout": "5"}}),
        ("providers.a.list=[1, 2]", {"providers": {"a": {"list": [1, 2]}}}),
        ("providers.a.text='x = 1'", {"providers": {"a": {"text": "x = 1"}}}),
        ('providers."a.b".key=v', {"providers": {"a.b": {"key": "v"}}}),
        ("providers.a.key=", {"providers": {"a": {"key": ""}}}),
        ("providers.a.key=a=b", {"providers": {"a": {"key": "a=b"}}}),
        ("providers.a.key=[not toml", {"providers": {"a": {"key": "[not toml"}}}),
        ("providers.a.key=[1]\nhost.timeout = 5", {"providers": {"a": {"key": "[1]\nhost.timeout = 5"}}}),
    ],
)
def test_override_is_a_key_and_a_value(item: str, found: dict[str, Any]) -> None:
    assert overrides([item]) == found


@pytest.mark.parametrize("items", [["timeout=5"], ["=5"], ["host.timeout"], ["a..b=1"], ["a.b=1", "a.b.c=2"]])
def test_override_that_names_no_key_is_refused(items: list[str]) -> None:
    with pytest.raises(UsageError, match="--set"):
        overrides(items)


@given(st.lists(st.text(), max_size=4))
def test_overrides_are_understood_or_refused(items: list[str]) -> None:
    try:
        found = overrides(items)
    except UsageError:
        return
    assert json.dumps(found, default=str)


def test_unknown_key_is_a_configuration_error_with_its_place(desk: Any, run: Run) -> None:
    desk.config("[host]\ntimout = 5\n[providers]\nx = 1\n")
    result = run("plugins")
    assert result.code == 3
    assert "gleitzeit.toml:2: host.timout: there is no such key; did you mean 'timeout'" in result.err
    assert "gleitzeit.toml:4: providers.x" in result.err
    assert len(json.loads(run("plugins", "--json").err)["error"]["problems"]) == 2


def test_file_that_is_named_must_exist(run: Run) -> None:
    result = run("plugins", "--config", "nowhere.toml")
    assert (result.code, result.out) == (3, "")
    assert "nowhere.toml" in result.err


def test_servers_of_another_file_come_beside_the_configured_ones(desk: Any, run: Run) -> None:
    desk.config('{"mcpServers": {"one": {"command": "one"}}}', "one.json")
    desk.config('{"mcpServers": {"two": {"command": "two", "odd": 1}}}', "two.json")
    desk.config('[host]\nmcp_files = ["one.json"]\n[servers.three]\ncommand = "three"\n')
    result = run("config", "show", "--json", "--mcp", "two.json")
    assert set(result.json()["servers"]) == {"one", "two", "three"}
    assert "two.json:1: mcpServers.two.odd: " in run("plugins", "--mcp", "two.json").err


def test_schema_is_one_that_accepts_what_is_right_and_refuses_what_is_not(desk: Any, run: Run) -> None:
    schema = run("config", "schema").json()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"host": {"timeout": 5}, "providers": {"one": {"plugin": "desk"}}})
    assert not validator.is_valid({"host": {"timout": 5}})
