"""Environment variables and keyword arguments set keys of what is declared, literally."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from gleitzeit.config import Config, SecretRef, load
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import ConfigError
from gleitzeit.manifest import Shipped

SCHEMA = {
    "type": "object",
    "$defs": {"Again": {"type": "object", "properties": {"times": {"type": "integer"}}}},
    "properties": {
        "api_key": {"type": "string"},
        "max_tokens": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "temperature": {"type": "number"},
        "verbose": {"type": "boolean"},
        "stop": {"type": "array", "items": {"type": "string"}},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "again": {"$ref": "#/$defs/Again"},
        "level": {"enum": ["low", "high"]},
        "stop_or_text": {"anyOf": [{"type": "array"}, {"type": "string"}]},
        "mixedCase": {"type": "string"},
    },
}


def index(*names: str) -> Index:
    return Index(
        Entry(
            name,
            kind="provider",
            value=f"{name}:P",
            shipped=Shipped(
                "m", json.dumps({"name": name, "config_schema": SCHEMA}).encode, name, "provider"
            ),
        )
        for name in names
    )


def one(variable: str, value: str, data: Any = None, *, known: bool = True) -> Any:
    """The values of the provider `acme` under one variable."""
    data = {"providers": {"acme": {}}} if data is None else data
    config = load(data=data, environ={variable: value}, index=index("acme") if known else None)
    return config.instances[0].values


def problem(environ: dict[str, str], data: Any, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(data=data, environ=environ, **more)
    [found] = caught.value.problems
    return found


class TestValues:
    @pytest.mark.parametrize(
        "key, text, value",
        [
            ("api_key", "123456", "123456"),
            ("api_key", "true", "true"),
            ("api_key", '{"a": 1}', '{"a": 1}'),
            ("api_key", "", ""),
            ("max_tokens", "5", 5),
            ("temperature", "0.5", 0.5),
            ("temperature", "1", 1.0),
            ("verbose", "true", True),
            ("verbose", "0", False),
            ("verbose", "Off", False),
            ("stop", '["a", "b"]', ["a", "b"]),
            ("headers", '{"a": "b"}', {"a": "b"}),
            ("again", '{"times": 3}', {"times": 3}),
            ("level", "high", "high"),
            ("stop_or_text", '["a"]', '["a"]'),
        ],
    )
    def test_are_what_the_plugins_schema_wants(self, key: str, text: str, value: Any) -> None:
        found = one(f"GLEITZEIT__PROVIDERS__ACME__{key.upper()}", text)[key]
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        "key, text, said",
        [
            ("max_tokens", "canary", "expected a whole number"),
            ("verbose", "canary", "expected true or false"),
            ("stop", "canary, b", 'expected a list as JSON, such as ["a", "b"]'),
            ("stop", '{"canary": 1}', "expected a list as JSON"),
            ("stop", "[" * 5000, "expected a list as JSON"),
            ("headers", "canary", "expected a table as JSON"),
        ],
    )
    def test_that_do_not_fit_are_told_without_being_quoted(self, key: str, text: str, said: str) -> None:
        variable = f"GLEITZEIT__PROVIDERS__ACME__{key.upper()}"
        found = problem({variable: text}, {"providers": {"acme": {}}}, index=index("acme"))
        assert found.startswith(f"environment variable {variable}: ")
        assert said in found
        assert "canary" not in found

    @pytest.mark.parametrize("text", ["123456", "true", "[1]", "null"])
    def test_stay_text_where_no_schema_is_known(self, text: str) -> None:
        assert one("GLEITZEIT__PROVIDERS__ACME__KEY", text, known=False) == {"key": text}

    @pytest.mark.parametrize("text", ["secret://env/HOME", "${HOME}", "$$", "${"])
    def test_are_literal(self, text: str) -> None:
        value = one("GLEITZEIT__PROVIDERS__ACME__API_KEY", text)["api_key"]
        assert value == text
        assert not isinstance(value, SecretRef)

    def test_of_a_variable_in_the_file_make_no_reference(self) -> None:
        data = {"providers": {"acme": {"api_key": "${KEY}"}}}
        value = one("KEY", "secret://env/HOME", data)["api_key"]
        assert value == "secret://env/HOME"
        assert not isinstance(value, SecretRef)

    def test_of_a_variable_may_complete_the_path_of_a_reference(self) -> None:
        data = {"providers": {"acme": {"api_key": "secret://file/${DIR}/key"}}}
        value = one("DIR", "/run/x", data)["api_key"]
        assert isinstance(value, SecretRef)
        assert (value.backend, value.path) == ("file", "/run/x/key")

    @pytest.mark.parametrize("raw", ["secret://${B}/x", "secret://en${B}/x"])
    def test_of_a_variable_cannot_choose_the_backend_of_a_reference(self, raw: str) -> None:
        config = load(data={"providers": {"acme": {"api_key": raw}}}, environ={"B": "env"})
        assert "backend of a reference cannot come from a variable" in str(config.instances[0].problem)


class TestNames:
    @pytest.mark.parametrize(
        "variable",
        [
            "GLEITZEIT__PROVIDERS__MY_ACME__MIXEDCASE",
            "GLEITZEIT__providers__my_acme__mixedCase",
            "GLEITZEIT__Providers__My_Acme__MixedCase",
        ],
    )
    def test_match_whatever_their_case(self, variable: str) -> None:
        data = {"providers": {"My-Acme": {"plugin": "acme"}}}
        assert one(variable, "x", data) == {"mixedCase": "x"}

    def test_match_keys_of_the_file_where_no_schema_is_known(self) -> None:
        data = {"providers": {"acme": {"someKey": "a", "Inner": {"otherKey": "b"}}}}
        variable = "GLEITZEIT__PROVIDERS__ACME__INNER__OTHERKEY"
        assert one(variable, "x", data, known=False) == {"someKey": "a", "Inner": {"otherKey": "x"}}

    def test_are_lower_case_where_nothing_is_known(self) -> None:
        assert one("GLEITZEIT__PROVIDERS__ACME__A__B", "x", known=False) == {"a": {"b": "x"}}

    def test_reach_nested_keys_by_the_schema(self) -> None:
        assert one("GLEITZEIT__PROVIDERS__ACME__AGAIN__TIMES", "3") == {"again": {"times": 3}}

    def test_are_kept_where_any_name_may_stand(self) -> None:
        assert one("GLEITZEIT__PROVIDERS__ACME__HEADERS__X_Token", "t") == {"headers": {"X_Token": "t"}}

    def test_of_a_servers_environment_are_kept_without_any_schema(self) -> None:
        data = {"servers": {"git": {"command": "x"}}}
        environ = {
            "GLEITZEIT__SERVERS__GIT__ENV__GITHUB_TOKEN": "t",
            "GLEITZEIT__SERVERS__GIT__ARGS": '["a"]',
        }
        [found] = load(data=data, environ=environ).instances
        assert found.values["env"] == {"GITHUB_TOKEN": "t"}
        assert found.values["args"] == ["a"]

    def test_without_the_double_underscore_mean_nothing(self) -> None:
        assert one("GLEITZEIT_PROVIDERS_ACME_API_KEY", "x") == {}

    def test_reach_every_other_section(self) -> None:
        data = {"routes": {"fast": {"targets": ["a"]}}, "aliases": {"gpt-4.1": "a"}, "exporters": {"e": {}}}
        environ = {
            "GLEITZEIT__HOST__HTTP__MAX_CONNECTIONS": "5",
            "GLEITZEIT__HOST__DENY": '["x"]',
            "GLEITZEIT__ROUTES__FAST__TARGETS": '["b", "c"]',
            "GLEITZEIT__ALIASES__GPT_4_1": "b",
            "GLEITZEIT__ALIASES__NEW": "c",
            "GLEITZEIT__EXPORTERS__E__EAGER": "yes",
        }
        config = load(data=data, environ=environ)
        assert (config.host.http.max_connections, config.host.deny) == (5, ("x",))
        assert config.routes["fast"].targets == ("b", "c")
        assert config.aliases == {"gpt-4.1": "b", "new": "c"}
        assert config.instances[0].eager is True


class TestUnknown:
    DECLARED: ClassVar = {"providers": {"openai": {}, "Second": {}}, "servers": {"git": {"command": "x"}}}

    @pytest.mark.parametrize(
        "variable, said",
        [
            ("GLEITZEIT__PROVIDERS__OPENAY__KEY", "there is no provider 'openay'; did you mean 'openai'?"),
            ("GLEITZEIT__PROVIDERS__ZZ__KEY", "there is no provider 'zz'; declared are openai, Second"),
            ("GLEITZEIT__PROVIDERS__GIT__KEY", "there is no provider 'git'; it is declared as servers.git"),
            ("GLEITZEIT__SERVERS__TIME__KEY", "there is no server 'time'"),
            ("GLEITZEIT__POLICIES__P__KEY", "there is no policy 'p'; write [policies.p]"),
            ("GLEITZEIT__ROUTES__R__TARGETS", "there is no route 'r'"),
            (
                "GLEITZEIT__PROVIDR__OPENAI__KEY",
                "there is no section 'providr' to set; did you mean 'providers'?",
            ),
            ("GLEITZEIT__PROFILES__X__KEY", "choose a profile by GLEITZEIT_PROFILE"),
            ("GLEITZEIT__HOST__HOOK_TIEMOUT", "there is no key 'hook_tiemout'; did you mean 'hook_timeout'?"),
            ("GLEITZEIT__HOST__HTTP__PROXI", "did you mean 'proxy'?"),
            ("GLEITZEIT__PROVIDERS__OPENAI", "it names no key of providers.openai"),
            ("GLEITZEIT__PROVIDERS", "it names no key"),
            ("GLEITZEIT__PROVIDERS____KEY", "it names no key"),
            ("GLEITZEIT__", "it names no key"),
        ],
    )
    def test_names_are_told_with_the_next_step(self, variable: str, said: str) -> None:
        found = problem({variable: "canary"}, self.DECLARED)
        assert found.startswith(f"environment variable {variable}: ")
        assert said in found
        assert "canary" not in found

    def test_keys_are_told_where_the_plugin_is_known(self) -> None:
        found = problem(
            {"GLEITZEIT__PROVIDERS__ACME__API_KAY": "x"}, {"providers": {"acme": {}}}, index=index("acme")
        )
        assert "there is no key 'api_kay'; did you mean 'api_key'?" in found


def test_schemas_that_refer_to_themselves_are_read() -> None:
    schema: dict[str, Any] = {
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}, {"type": "integer"}]}}
    }
    schema["properties"] = {"size": {"$ref": "#/$defs/A"}, "lost": {"$ref": "#/$defs/B"}}
    manifest = json.dumps({"name": "acme", "config_schema": schema}).encode
    entry = Entry("acme", kind="provider", value="a:A", shipped=Shipped("m", manifest, "acme", "provider"))
    environ = {"GLEITZEIT__PROVIDERS__ACME__SIZE": "5", "GLEITZEIT__PROVIDERS__ACME__LOST": "5"}
    [found] = load(data={"providers": {"acme": {}}}, environ=environ, index=Index([entry])).instances
    assert found.values == {"size": 5, "lost": "5"}


def test_an_installed_provider_need_not_be_declared() -> None:
    config = load(data={}, environ={"GLEITZEIT__PROVIDERS__ACME__API_KEY": "k"}, index=index("acme"))
    [found] = config.instances
    assert (found.name, found.plugin, found.values) == ("acme", "acme", {"api_key": "k"})


class TestArguments:
    DATA: ClassVar = {"providers": {"acme": {"api_key": "file"}}}

    def load(self, overrides: dict[str, Any], **more: Any) -> Config:
        return load(data=self.DATA, environ={}, overrides=overrides, **more)

    def test_go_over_the_file(self) -> None:
        assert self.load({"providers": {"acme": {"api_key": "code"}}}).instances[0].values == {
            "api_key": "code"
        }

    def test_are_literal(self) -> None:
        value = self.load({"providers.acme.api_key": "secret://env/${HOME}"}).instances[0].values["api_key"]
        assert value == "secret://env/${HOME}"
        assert not isinstance(value, SecretRef)

    def test_may_hand_over_a_reference(self) -> None:
        reference = SecretRef("secret://env/KEY")
        assert self.load({"providers.acme.api_key": reference}).instances[0].values["api_key"] is reference

    def test_may_be_texts_for_what_is_no_text(self) -> None:
        config = self.load({"host.timeout": "5", "providers.acme.max_tokens": "7"}, index=index("acme"))
        assert config.host.timeout == 5
        assert config.instances[0].values["max_tokens"] == 7

    @pytest.mark.parametrize("table", [{"plugin": "acme"}, {"plugin": "acme", "api_key": "x"}])
    def test_may_declare_an_instance_by_its_plugin(self, table: dict[str, str]) -> None:
        config = self.load({"providers": {"second": table}})
        assert [(each.name, each.plugin) for each in config.instances] == [
            ("acme", "acme"),
            ("second", "acme"),
        ]

    @pytest.mark.parametrize(
        "overrides, said",
        [
            ({"providers.acmee.api_key": "x"}, "there is no provider 'acmee'; did you mean 'acme'?"),
            ({"provider": {"acme": {"api_key": "x"}}}, "there is no such section; did you mean 'providers'?"),
            ({"host.timeout": "soon"}, "expected a number"),
            ({"host.hook_tiemout": 5}, "did you mean 'hook_timeout'?"),
            ({"host": 5}, "expected a table"),
            ({"providers": {1: {}}}, "the key 1 in providers is no text"),
            ({"providers": {"acme": 5}}, "expected a table"),
        ],
    )
    def test_that_lead_nowhere_are_told(self, overrides: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(overrides)
        assert said in caught.value.problems[0]
        assert "keyword argument" in caught.value.problems[0]
