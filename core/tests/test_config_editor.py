"""The JSON Schema that editors get accepts what `load` accepts, and marks what it refuses."""

from __future__ import annotations

import json
import tomllib
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gleitzeit.config import load, schema
from gleitzeit.config.shape import HOST, INSTANCE, ROUTE
from gleitzeit.config.tables import CALLED, TABLES
from gleitzeit.discovery import Entry, Index
from gleitzeit.manifest import Shipped


class Again(BaseModel):
    model_config = ConfigDict(extra="forbid")
    times: int = 3


class Acme(BaseModel):
    """What Acme takes."""

    model_config = ConfigDict(extra="forbid")
    api_key: SecretStr
    level: Literal["low", "high"] = "low"
    max_tokens: int | None = Field(default=None, ge=1)
    again: Again = Again()


def entry(name: str, kind: str, config: Any) -> Entry:
    manifest = {"name": name, "kind": kind, "summary": "S", "config_schema": config}
    return Entry(name, kind=kind, value="a:A", shipped=Shipped("m", json.dumps(manifest).encode, name, kind))


INDEX = Index(
    [
        entry("acme", "provider", Acme.model_json_schema()),
        entry("prom", "exporter", {"type": "object", "properties": {"port": {"type": "integer"}}}),
        Entry("bare", kind="provider", value="b:B"),
    ]
)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    found = schema(INDEX)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


GOOD = """
[host]
timeout = 5
deny = ["x"]
http = { verify_ssl = false }
[providers.acme]
api_key = "${KEY}"
max_tokens = "${MAX:-5}"
again.times = 4
eager = true
models = ["a", { name = "b" }]
[providers.second]
plugin = "acme"
level = "high"
[providers.bare]
anything = 1
[servers.git]
command = ["uvx", "mcp-server-git"]
env = { A = "b" }
[exporters.prom]
port = 9090
[routes.fast]
targets = ["acme/a"]
[aliases]
"gpt-4.1" = "acme/a"
[profiles.x.providers.acme]
level = "high"
"""


def test_accepts_what_load_accepts(validator: jsonschema.Draft202012Validator) -> None:
    data = tomllib.loads(GOOD)
    load(data=data, environ={"KEY": "k"}, index=INDEX)
    assert [error.message for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    "text",
    [
        "host.tiemout = 5",
        "host.timeout = 'soon'",
        "provider.acme.level = 'low'",
        "providers.acme.levle = 'low'",
        "providers.acme.level = 'medium'",
        "providers.acme.max_tokens = 'many'",
        "providers.acme.max_tokens = 0",
        "providers.acme.again.tmies = 4",
        "providers.acme.eager = 'yes'",
        "providers.second = { plugin = 'acme', levle = 'low' }",
        "profiles.x.providers.acme.levle = 'low'",
        "exporters.prom.port = 'x'",
        "routes.fast.strategy = 'x'",
        "routes.fast = { targets = [] }",
        "aliases.a = 1",
        "servers.git = { command = 1 }",
    ],
)
def test_marks_what_does_not_fit(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert list(validator.iter_errors(tomllib.loads(text)))


def test_a_plugin_of_another_name_is_not_held_to_the_schema_of_the_instances_name(
    validator: jsonschema.Draft202012Validator,
) -> None:
    assert validator.is_valid({"providers": {"acme": {"plugin": "bare", "anything": 1}}})


def test_describes_every_key_of_ours() -> None:
    for ours in (HOST, HOST["properties"]["http"], INSTANCE, ROUTE):
        for key, value in ours["properties"].items():
            assert value.get("description"), key


def test_of_nothing_installed_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema(Index()))


class TestTables:
    GOOD = """
    [host]
    health_interval = 5
    status_socket = "s.sock"
    http.connect_timeout = 2
    [host.retry]
    retry_codes = ["RATE_LIMIT_EXCEEDED", "overloaded"]
    by_code.timeout.max_retries = 1
    [providers.acme.targets."a-*"]
    bulkhead.max_calls = 1
    timeouts.idle = 0
    [servers.git]
    command = "git"
    circuit_breaker.enabled = false
    [exporters.other]
    plugin = "bare"
    retry = 3
    [routes.fast]
    targets = ["acme/a"]
    options = { any = ["thing"] }
    allow_strategies = ["p2c"]
    """

    def test_are_accepted_as_load_does(self, validator: jsonschema.Draft202012Validator) -> None:
        data = tomllib.loads(self.GOOD)
        load(data=data, environ={}, index=INDEX)
        assert [error.message for error in validator.iter_errors(data)] == []

    @pytest.mark.parametrize(
        "text",
        [
            "host.bulkhead.max_calls = 1",
            "host.retry.max_retires = 1",
            "host.retry.retry_codes = ['nothing']",
            "host.retry.by_code.nothing.max_retries = 1",
            "providers.acme.retry.jitter_factor = 2",
            "providers.acme.targets.a.retry.jitter_factor = 2",
            "providers.bare.targets.a.targets.b = {}",
            "servers.git = { command = 'x', timeouts = { idle = -1 } }",
            "exporters.prom.retry.max_retries = 1",
            "routes.fast = { targets = ['a'], options = 3 }",
        ],
    )
    def test_are_marked_where_they_do_not_fit(
        self, validator: jsonschema.Draft202012Validator, text: str
    ) -> None:
        assert list(validator.iter_errors(tomllib.loads(text)))

    def test_are_written_out_once(self) -> None:
        text = json.dumps(schema(INDEX))
        assert text.count('"half_open_max_calls"') == 1

    def test_describe_every_key(self) -> None:
        for table in (*TABLES.values(), {"properties": CALLED}):
            for key, value in table["properties"].items():
                assert value.get("description"), key
