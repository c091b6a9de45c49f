"""Instances that nobody wrote down, and what the environment variables of a manifest fill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gleitzeit.config import Config, InstanceConfig, load
from gleitzeit.config.implicit import default, needed
from gleitzeit.discovery import Entry, Index
from gleitzeit.manifest import Shipped


def instance(config: Config, name: str) -> InstanceConfig:
    [found] = [each for each in config.instances if each.name == name]
    return found


def index(**secrets: Mapping[str, Any]) -> Index:
    """Installed providers with the environment variables of their manifests."""
    return Index(
        Entry(
            name,
            kind="provider",
            value=f"{name}:P",
            shipped=Shipped("m", json.dumps({"name": name, "secrets": variables}).encode, name, "provider"),
        )
        for name, variables in secrets.items()
    )


class TestVariablesOfManifests:
    INDEX = index(openai={"api_key": "OPENAI_API_KEY", "auth.token": "OPENAI_TOKEN"})

    def load(
        self, table: Mapping[str, Any], environ: Mapping[str, str], name: str = "openai"
    ) -> InstanceConfig:
        return instance(load(data={"providers": {name: table}}, environ=environ, index=self.INDEX), name)

    def test_fill_a_key_that_nothing_else_sets(self) -> None:
        found = self.load({}, {"OPENAI_API_KEY": "sk"})
        assert found.values == {"api_key": "sk"}
        assert str(found.sources["api_key"]) == "environment variable OPENAI_API_KEY"

    @pytest.mark.parametrize(
        "environ, value",
        [
            ({"NEW_KEY": "n", "OLD_KEY": "o"}, "n"),
            ({"OLD_KEY": "o"}, "o"),
            ({"NEW_KEY": "", "OLD_KEY": "o"}, "o"),
            ({}, None),
        ],
    )
    def test_may_be_several_of_which_the_first_that_is_set_counts(
        self, environ: Mapping[str, str], value: str | None
    ) -> None:
        installed = index(acme={"auth.key": ["NEW_KEY", "OLD_KEY"]})
        found = instance(load(data={"providers": {"acme": {}}}, environ=environ, index=installed), "acme")
        assert found.values.get("auth", {}).get("key") == value
        assert found.variables == {"auth.key": ("NEW_KEY", "OLD_KEY")}

    def test_fill_nested_keys_beside_others(self) -> None:
        found = self.load({"auth": {"user": "u"}}, {"OPENAI_TOKEN": "t"})
        assert found.values == {"auth": {"user": "u", "token": "t"}}

    def test_do_not_make_tables_for_nothing(self) -> None:
        assert self.load({}, {}).values == {}

    def test_do_not_touch_what_is_set(self) -> None:
        assert self.load({"api_key": "mine"}, {"OPENAI_API_KEY": "sk"}).values == {"api_key": "mine"}
        assert self.load({"auth": "x"}, {"OPENAI_TOKEN": "t"}).values == {"auth": "x"}

    def test_do_not_replace_a_key_whose_own_variable_is_unset(self) -> None:
        found = self.load({"api_key": "${OTHER}"}, {"OPENAI_API_KEY": "sk"})
        assert found.problem is not None
        assert "sk" not in found.values.values()

    def test_hold_for_every_instance_of_the_plugin(self) -> None:
        found = self.load({"plugin": "openai"}, {"OPENAI_API_KEY": "sk"}, "second")
        assert found.values == {"api_key": "sk"}

    def test_do_not_hold_for_other_plugins(self) -> None:
        assert self.load({"plugin": "other"}, {"OPENAI_API_KEY": "sk"}).values == {}

    def test_are_taken_as_they_are(self) -> None:
        value = self.load({}, {"OPENAI_API_KEY": "${HOME} secret://env/HOME"}).values["api_key"]
        assert value == "${HOME} secret://env/HOME"
        assert type(value) is str

    def test_that_are_empty_fill_nothing(self) -> None:
        assert self.load({}, {"OPENAI_API_KEY": ""}).values == {}

    def test_never_fill_an_instance_that_speaks_to_another_address(self) -> None:
        data = {"providers": {"openai": {"base_url": "http://127.0.0.1:1/v1"}}}
        config = load(data=data, environ={"OPENAI_API_KEY": "sk-canary"}, index=self.INDEX)
        (instance,) = config.instances
        assert "sk-canary" not in str(instance.values)

    def test_an_installed_provider_that_needs_nothing_has_an_instance(self) -> None:
        for data in (None, {"host": {"timeout": 5}}):
            (instance,) = load(data=data, environ={"OPENAI_API_KEY": "sk"}, index=self.INDEX).instances
            assert (instance.name, instance.implicit, instance.values) == ("openai", True, {"api_key": "sk"})

    def test_a_configured_provider_leaves_no_other_instance_of_its_plugin(self) -> None:
        data = {"providers": {"work": {"plugin": "openai"}}}
        assert [i.name for i in load(data=data, environ={}, index=self.INDEX).instances] == ["work"]

    @pytest.mark.parametrize(
        "schema,words",
        [
            ({}, ""),
            ({"required": ["a", "b"]}, "a, b"),
            ({"anyOf": [{"required": ["command"]}, {"required": ["url"]}]}, "command or url"),
            ({"anyOf": [{"required": ["command"]}, {}]}, ""),
        ],
    )
    def test_a_plugin_says_what_it_cannot_start_without(self, schema: Any, words: str) -> None:
        text = json.dumps({"name": "x", "kind": "provider", "config_schema": schema}).encode()
        shipped = Shipped("a test", lambda: text, "x", "provider")
        entry = Entry("x", kind="provider", value="x:X", shipped=shipped)
        assert needed(entry) == words
        assert bool(load(environ={}, index=Index((entry,))).instances) is not bool(words)

    def test_fill_the_instance_that_nobody_configured(self) -> None:
        found = default(self.INDEX.find("provider", "openai"), {"OPENAI_API_KEY": "sk"})
        assert (found.name, found.kind, found.plugin, found.values) == (
            "openai",
            "provider",
            "openai",
            {"api_key": "sk"},
        )
