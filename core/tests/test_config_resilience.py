"""The tables that bound and repeat calls: where they may stand, what they refuse, what holds in the end."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit import errors
from gleitzeit.config import Config, InstanceConfig, load
from gleitzeit.config.codes import NAMES, codes
from gleitzeit.config.resilience import SECTIONS, Resilience, RetryConfig, TimeoutsConfig, settle, translated
from gleitzeit.config.tables import TABLES
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import ConfigError
from gleitzeit.manifest import Shipped

FILE = """
[host.retry]
max_retries = 3
by_code.rate_limited = { max_retries = 8 }
[providers.acme]
retry.base_delay = 1
circuit_breaker.enabled = false
bulkhead = { max_calls = 4, max_queue = 0 }
rate_limit.requests_per_minute = 0.5
timeouts.idle = 0
[providers.acme.targets."gpt-*"]
bulkhead.max_calls = 1
retry.max_retries = 0
[servers.git]
command = "git"
timeouts.attempt = 5
[profiles.calm.host.retry]
max_retries = 1
[profiles.calm.providers.acme.targets."gpt-*".timeouts]
queue = 1
"""


def read(folder: Path, **more: Any) -> Config:
    path = folder / "g.toml"
    path.write_text(FILE, encoding="utf-8")
    return load(path, **{"environ": {}, **more})


def instance(config: Config, name: str = "acme") -> InstanceConfig:
    return next(each for each in config.instances if each.name == name)


def problems(data: Any, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(data=data, environ=environ)
    return caught.value.problems


def test_the_shape_and_the_values_have_the_same_keys_and_defaults() -> None:
    assert list(SECTIONS) == list(TABLES) == [each.name for each in fields(Resilience)]
    for name, schema in TABLES.items():
        empty = SECTIONS[name]()
        assert list(schema["properties"]) == [each.name for each in fields(empty)], name
        for key, item in schema["properties"].items():
            if "default" in item:
                assert item["default"] == getattr(empty, key), key
            else:
                assert not getattr(empty, key), key


class TestWhereTheyStand:
    def test_of_host_instance_and_target_are_read(self, tmp_path: Path) -> None:
        config = read(tmp_path)
        retry = {"max_retries": 3, "by_code": {"rate_limited": {"max_retries": 8}}}
        assert config.host.resilience == {"retry": retry}
        acme = instance(config)
        assert acme.resilience == {
            "retry": {"base_delay": 1},
            "circuit_breaker": {"enabled": False},
            "bulkhead": {"max_calls": 4, "max_queue": 0},
            "rate_limit": {"requests_per_minute": 0.5},
            "timeouts": {"idle": 0},
        }
        assert acme.targets == {"gpt-*": {"bulkhead": {"max_calls": 1}, "retry": {"max_retries": 0}}}
        assert acme.values == {}, "they are not the plugin's"
        assert instance(config, "git").resilience == {"timeouts": {"attempt": 5}}

    def test_elsewhere_they_are_the_plugins_keys(self) -> None:
        exporter = instance(load(data={"exporters": {"acme": {"retry": {"times": 3}}}}, environ={}))
        assert (exporter.values, exporter.resilience) == ({"retry": {"times": 3}}, {})

    def test_a_file_of_another_program_means_its_own_words(self, tmp_path: Path) -> None:
        (tmp_path / "mcp.json").write_text(
            json.dumps({"mcpServers": {"git": {"command": "x", "retry": 3, "timeouts": {"idle": 9}}}})
        )
        data = {
            "host": {"mcp_files": [str(tmp_path / "mcp.json")]},
            "servers": {"git": {"timeouts": {"idle": 1}}},
        }
        config = load(data=data, environ={})
        git = instance(config, "git")
        assert (git.problem, git.resilience) == (None, {"timeouts": {"idle": 1}})
        assert sum("left out, as programs disagree" in line for line in config.warnings) == 2

    def test_layers_merge_key_by_key(self, tmp_path: Path) -> None:
        environ = {
            "GLEITZEIT__HOST__RETRY__MAX_DELAY": "7",
            "GLEITZEIT__HOST__RETRY__BY_CODE__TIMEOUT__BASE_DELAY": "2",
            "GLEITZEIT__PROVIDERS__ACME__BULKHEAD__MAX_CALLS": "9",
            "GLEITZEIT__PROVIDERS__ACME__TARGETS__GPT__RETRY__MAX_DELAY": "5",
            "GLEITZEIT__SERVERS__GIT__TIMEOUTS": '{"idle": 3}',
        }
        overrides = {'providers.acme.targets."gpt-*".timeouts.idle': "4", "host.timeouts": {"idle": 8}}
        config = read(tmp_path, profile="calm", environ=environ, overrides=overrides)
        by_code = {"rate_limited": {"max_retries": 8}, "deadline": {"base_delay": 2.0}}
        retry = {"max_retries": 1, "by_code": by_code, "max_delay": 7.0}
        assert config.host.resilience == {"retry": retry, "timeouts": {"idle": 8}}
        acme = instance(config)
        assert acme.resilience["bulkhead"] == {"max_calls": 9, "max_queue": 0}
        assert acme.targets["gpt-*"] == {
            "bulkhead": {"max_calls": 1},
            "retry": {"max_retries": 0, "max_delay": 5.0},
            "timeouts": {"queue": 1, "idle": 4.0},
        }
        assert instance(config, "git").resilience == {"timeouts": {"attempt": 5, "idle": 3}}

    def test_a_variable_cannot_name_a_glob_that_nobody_wrote(self) -> None:
        variable = "GLEITZEIT__PROVIDERS__ACME__TARGETS__GPT_5__RETRY__MAX_RETRIES"
        [problem] = problems({"providers": {"acme": {}}}, **{variable: "1"})
        assert problem.startswith(f"environment variable {variable}: there is no table 'targets.gpt_5'; ")
        assert "a variable's name can hold no glob" in problem

    def test_a_table_in_a_variable_has_its_depth_checked(self) -> None:
        nested = "{" + '"a": {' * 70 + "}" * 71
        [problem] = problems({"routes": {"r": {"targets": ["x"]}}}, GLEITZEIT__ROUTES__R__OPTIONS=nested)
        assert "nested deeper than 64 levels" in problem

    def test_a_manifest_does_not_hide_them(self) -> None:
        manifest = {"name": "acme", "config_schema": {"type": "object", "properties": {}}}
        shipped = Shipped("m", json.dumps(manifest).encode, "acme", "provider")
        index = Index([Entry("acme", kind="provider", value="a:A", shipped=shipped)])
        environ = {"GLEITZEIT__PROVIDERS__ACME__CIRCUIT_BREAKER__ENABLED": "off"}
        acme = instance(load(data={}, environ=environ, index=index))
        assert acme.resilience == {"circuit_breaker": {"enabled": False}}


class TestRefused:
    @pytest.mark.parametrize(
        "table, key, value, said",
        [
            ("retry", "max_retries", -1, "expected at least 0; write max_retries = 2"),
            ("retry", "max_retries", 101, "expected at most 100; write max_retries = 2"),
            ("retry", "max_retries", 2.5, "expected a whole number, got a number"),
            ("retry", "base_delay", float("nan"), "expected at least 0"),
            ("retry", "max_delay", float("inf"), "expected at most 86_400; write max_delay = 30.0"),
            ("retry", "jitter_factor", 1.5, "expected at most 1; write jitter_factor = 0.2"),
            ("retry", "jitter", 1, "there is no such key; did you mean 'jitter_factor'?"),
            ("retry", "retry_codes", "timeout", 'write retry_codes = ["rate_limited", "overloaded"]'),
            (
                "retry",
                "retry_codes",
                ["timeout", "overlaoded"],
                "item 2: there is no such error code; did you",
            ),
            ("retry", "retry_codes", ["§"], "there is no such error code; such as rate_limited"),
            ("retry", "retry_codes", [1], "item 1: expected a text"),
            (
                "retry",
                "by_code",
                {"rate_limit": {}},
                "by_code.rate_limit: there is no such error code; did you",
            ),
            ("retry", "by_code", {"timeout": 3}, "by_code.timeout: expected a table"),
            (
                "retry",
                "by_code",
                {"timeout": {"by_code": {}}},
                "by_code.timeout.by_code: there is no such key",
            ),
            ("circuit_breaker", "failure_threshold", 0, "expected at least 1; write failure_threshold = 5"),
            ("circuit_breaker", "recovery_timeout", 0, "expected more than 0; write recovery_timeout = 30.0"),
            ("circuit_breaker", "half_open_max_calls", True, "expected a whole number, got true or false"),
            (
                "circuit_breaker",
                "enabled",
                1,
                "expected true or false, got a whole number; write enabled = true",
            ),
            ("bulkhead", "max_calls", 0, "expected at least 1; write max_calls = 16"),
            ("bulkhead", "max_queue", -1, "expected at least 0"),
            ("rate_limit", "requests_per_minute", 0, "expected more than 0; write requests_per_minute = 600"),
            ("rate_limit", "tokens_per_minute", "many", "expected a number, got a text"),
            ("timeouts", "idel", 1, "there is no such key; did you mean 'idle'?"),
            ("timeouts", "queue", -0.5, "expected at least 0; write queue = 10.0"),
        ],
    )
    def test_what_does_not_fit_is_told_with_place_and_next_step(
        self, table: str, key: str, value: Any, said: str
    ) -> None:
        given = {table: {key: value}}
        for data, place in (
            ({"providers": {"acme": given}}, "providers.acme"),
            ({"providers": {"acme": {"targets": {"gpt-*": given}}}}, 'providers.acme.targets."gpt-*"'),
        ):
            [problem] = problems(data)
            assert problem.startswith(f"configuration in code: {place}.{table}.{key}")
            assert said in problem

    @pytest.mark.parametrize(
        "data, said",
        [
            ({"host": {"bulkhead": {"max_calls": 1}}}, "host.bulkhead: there is no such key"),
            ({"host": {"retry": 3}}, "host.retry: expected a table; write [host.retry]"),
            ({"host": {"retry": {"max_retries": "${N:-x}"}}}, "host.retry.max_retries: expected a whole"),
            ({"host": {"health_interval": -1}}, "host.health_interval: expected at least 0"),
            ({"host": {"status_socket": ""}}, "host.status_socket: it is empty"),
            ({"host": {"http": {"connect_timeout": 0}}}, "connect_timeout: expected more than 0"),
            ({"providers": {"a": {"targets": {"": {}}}}}, 'providers.a.targets."": it is empty'),
            ({"providers": {"a": {"targets": ["x"]}}}, "providers.a.targets: expected a table"),
            ({"providers": {"a": {"targets": {"x": {"targets": {}}}}}}, "x.targets: there is no such key"),
            ({"routes": {"r": {"targets": ["x"], "options": 1}}}, "routes.r.options: expected a table"),
            (
                {"routes": {"r": {"targets": ["x"], "options": {"a": [{"b": "secret://env/X"}]}}}},
                "routes.r.options: a reference to a secret cannot stand here",
            ),
            ({"routes": {"r": {"targets": ["x"], "allow_strategies": "p2c"}}}, "expected a list, got a text"),
        ],
    )
    def test_so_is_what_stands_in_the_wrong_place(self, data: Any, said: str) -> None:
        [problem] = problems(data)
        assert said in problem

    def test_of_a_server_keeps_only_that_server_from_working(self) -> None:
        data = {"servers": {"git": {"command": "x", "retry": {"max_retires": 1}}}}
        assert "servers.git.retry.max_retires: there is no such key; did you mean 'max_retries'?" in (
            instance(load(data=data, environ={}), "git").problem or ""
        )


class TestCodes:
    def test_every_code_of_an_error_is_known_and_stands_for_all_beneath_it(self) -> None:
        for name in errors.__all__:
            above = getattr(errors, name)
            beneath = {
                below.code for each in errors.__all__ if issubclass(below := getattr(errors, each), above)
            }
            assert set(codes(above.code)) == beneath

    @given(st.sampled_from(NAMES), st.data())
    def test_case_means_nothing(self, name: str, data: st.DataObject) -> None:
        upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
        mixed = "".join(one.upper() if up else one for one, up in zip(name, upper, strict=True))
        assert codes(mixed) == codes(name) != ()

    @pytest.mark.parametrize(
        "name, code",
        [
            ("RATE_LIMIT_EXCEEDED", "rate_limited"),
            ("SERVICE_UNAVAILABLE", "overloaded"),
            ("TIMEOUT", "deadline"),
            ("INTERNAL_ERROR", "server_fault"),
        ],
    )
    def test_words_of_others_mean_ours(self, name: str, code: str) -> None:
        assert codes(name) == (code,)

    def test_are_ours_after_reading_and_named_once(self) -> None:
        retry = {"retry_codes": ["RATE_LIMIT_EXCEEDED", "Rate_Limited", "connect"]}
        found = load(data={"host": {"retry": retry}}, environ={}).host.resilience["retry"]["retry_codes"]
        assert found == ("rate_limited", *codes("wire"))

    def test_a_code_goes_before_a_group_that_it_is_in_wherever_it_stands(self) -> None:
        for names in (("capacity", "rate_limit_exceeded"), ("rate_limit_exceeded", "capacity")):
            values = {
                "capacity": {"max_retries": 1, "base_delay": 2},
                "rate_limit_exceeded": {"max_retries": 8},
            }
            found = translated({"retry": {"by_code": {name: values[name] for name in names}}})
            by_code = found["retry"]["by_code"]
            assert by_code["rate_limited"] == {"max_retries": 8, "base_delay": 2}
            assert by_code["overloaded"] == {"max_retries": 1, "base_delay": 2}


class TestSettle:
    def test_of_nothing_is_the_defaults(self) -> None:
        assert settle() == settle({}, {}) == Resilience()

    def test_later_layers_go_over_earlier_ones_key_by_key(self, tmp_path: Path) -> None:
        config = read(tmp_path)
        acme = instance(config)
        found = settle(config.host.resilience, acme.resilience, acme.targets["gpt-*"])
        by_code = {"rate_limited": {"max_retries": 8}}
        assert found.retry == RetryConfig(max_retries=0, base_delay=1, by_code=by_code)
        assert (found.bulkhead.max_calls, found.bulkhead.max_queue) == (1, 0)
        assert found.circuit_breaker.enabled is False
        assert found.timeouts == TimeoutsConfig(idle=0)

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(("attempt", "first_event", "idle", "queue")),
                st.floats(min_value=0, max_value=9),
            )
        )
    )
    def test_the_last_layer_that_names_a_key_says_it(self, tables: list[dict[str, float]]) -> None:
        found = settle(*({"timeouts": table} for table in tables)).timeouts
        for key in ("attempt", "first_event", "idle", "queue"):
            said = [table[key] for table in tables if key in table]
            assert getattr(found, key) == (said[-1] if said else getattr(TimeoutsConfig(), key))

    def test_codes_merge_too_and_no_layer_is_changed(self) -> None:
        first = {"retry": {"by_code": {"deadline": {"max_retries": 1, "base_delay": 2}}}}
        second = {"retry": {"by_code": {"deadline": {"max_retries": 3}, "wire": {"max_delay": 1}}}}
        before = json.dumps([first, second])
        assert settle(first, second).retry.by_code == {
            "deadline": {"max_retries": 3, "base_delay": 2},
            "wire": {"max_delay": 1},
        }
        assert json.dumps([first, second]) == before


class TestShown:
    def test_the_hosts_hold_with_their_defaults_and_sources(self, tmp_path: Path) -> None:
        host = read(tmp_path).show()["host"]
        path = tmp_path / "g.toml"
        assert host["retry.max_retries"] == {"value": 3, "source": f"{path}:3"}
        assert host["retry.by_code"] == {
            "value": {"rate_limited": {"max_retries": 8}},
            "source": f"{path}:4",
        }
        assert host["retry.max_delay"] == {"value": 30.0, "source": "default"}
        assert host["timeouts.first_event"]["value"] == 120.0
        assert not any(key.startswith(("bulkhead", "rate_limit", "resilience")) for key in host)

    def test_an_instances_are_those_that_were_given(self, tmp_path: Path) -> None:
        config = read(tmp_path, environ={"GLEITZEIT__PROVIDERS__ACME__RATE_LIMIT__TOKENS_PER_MINUTE": "5"})
        acme = config.show()["providers"]["acme"]
        assert acme['targets."gpt-*".retry.max_retries'] == {
            "value": 0,
            "source": f"{tmp_path / 'g.toml'}:13",
        }
        # numbers are no secrets, whatever their name
        assert acme["rate_limit.tokens_per_minute"]["value"] == 5
        assert "retry.max_retries" not in acme
        json.dumps(config.show())

    def test_a_route_says_its_options_and_strategies(self) -> None:
        route = {
            "targets": ["a"],
            "strategy": "p2c",
            "options": {"decay": 10, "weights": {"a": 2}},
            "allow_strategies": ["cheapest"],
        }
        config = load(data={"routes": {"r": route}}, environ={})
        assert config.routes["r"].options == {"decay": 10, "weights": {"a": 2}}
        assert config.routes["r"].allow_strategies == ("cheapest",)
        shown = config.show()["routes"]["r"]
        assert {key: item["value"] for key, item in shown.items()} == {
            "targets": ["a"],
            "strategy": "p2c",
            "options.decay": 10,
            "options.weights.a": 2,
            "allow_strategies": ["cheapest"],
        }


def test_the_hosts_other_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(
        "[host]\nhealth_interval = 15\nstatus_socket = 'run/g.sock'\nhttp.connect_timeout = 0.5\n",
        encoding="utf-8",
    )
    host = load(path, environ={}).host
    assert (host.health_interval, host.http.connect_timeout) == (15, 0.5)
    assert host.status_socket == str(tmp_path / "run" / "g.sock")
