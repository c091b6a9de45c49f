"""The host's own settings, routes and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gleitzeit.config import load
from gleitzeit.errors import ConfigError


def problems(data: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(data=data, environ={})
    return caught.value.problems


class TestHost:
    def test_reads_all_its_settings(self, tmp_path: Path) -> None:
        path = tmp_path / "g.toml"
        path.write_text("""
            [host]
            allow = ["gleitzeit-*"]
            deny = ["x"]
            timeout = 1
            hook_timeout = 2.5
            start_timeout = 3
            drain_timeout = 4
            [host.http]
            verify_ssl = false
            proxy = "http://${HOST}:1"
            ca_file = "ca.pem"
            max_connections = 7
        """)
        host = load(path, environ={"HOST": "h"}).host
        assert (host.allow, host.deny) == (("gleitzeit-*",), ("x",))
        assert (host.timeout, host.hook_timeout, host.start_timeout, host.drain_timeout) == (1, 2.5, 3, 4)
        assert (host.http.verify_ssl, host.http.proxy, host.http.max_connections) == (False, "http://h:1", 7)
        assert host.http.ca_file == str(path.parent / "ca.pem")

    def test_a_text_with_a_variable_may_stand_for_a_number(self) -> None:
        data = {"host": {"timeout": "${T:-5}", "http": {"verify_ssl": "${V}"}}}
        host = load(data=data, environ={"V": "off"}).host
        assert (host.timeout, host.http.verify_ssl) == (5.0, False)

    @pytest.mark.parametrize(
        "key, value, said",
        [
            ("timeout", "5", "expected a number, got a text"),
            ("timeout", True, "expected a number, got true or false"),
            ("timeout", 0, "expected more than 0"),
            ("timeout", float("nan"), "expected more than 0"),
            ("deny", "x", "expected a list, got a text"),
            ("deny", ["a", 1], "item 2: expected a text"),
            ("http", 1, "expected a table"),
            ("timeout", "${T:-soon}", "expected a number, got a text"),
            ("http", {"proxy": "secret://env/X"}, "a reference to a secret cannot stand here"),
            ("http", {"max_connections": 0}, "http.max_connections: expected at least 1"),
            ("hook_tiemout", 1, "there is no such key; did you mean 'hook_timeout'?"),
        ],
    )
    def test_refuses_what_does_not_fit(self, key: str, value: Any, said: str) -> None:
        [problem] = problems({"host": {key: value}})
        assert f"host.{key}" in problem
        assert said in problem

    def test_an_unset_variable_stops_everything(self) -> None:
        assert "NO_SUCH is not set" in problems({"host": {"http": {"proxy": "${NO_SUCH}"}}})[0]


class TestRoutesAndAliases:
    def test_are_read(self) -> None:
        data = {"routes": {"r": {"targets": ["a/b", "c"], "strategy": "x"}}, "aliases": {"short": "a/${M}"}}
        config = load(data=data, environ={"M": "m"})
        assert config.routes["r"].targets == ("a/b", "c")
        assert config.routes["r"].strategy == "x"
        assert config.aliases == {"short": "a/m"}

    @pytest.mark.parametrize(
        "data, said",
        [
            ({"routes": {"r": {}}}, "routes.r.targets: it is missing"),
            ({"routes": {"r": {"targets": []}}}, "routes.r.targets: it is empty"),
            ({"routes": {"r": {"targets": ["a"], "target": 1}}}, "did you mean 'targets'?"),
            ({"routes": {"r": ["a"]}}, "routes.r: expected a table"),
            ({"aliases": {"a": 1}}, "aliases.a: expected a text"),
            ({"aliases": {"a": ""}}, "aliases.a: it is empty"),
            ({"aliases": {"a": "x"}, "routes": {"a": {"targets": ["x"]}}}, "there is a route of this name"),
        ],
    )
    def test_refuse_what_does_not_fit(self, data: Any, said: str) -> None:
        assert said in problems(data)[0]
