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
from gleitzeit.discovery import Entry, Index
from gleitzeit.manifest import Shipped


class Retry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    times: int = 3


class Acme(BaseModel):
    """What Acme takes."""

    model_config = ConfigDict(extra="forbid")
    api_key: SecretStr
    level: Literal["low", "high"] = "low"
    max_tokens: int | None = Field(default=None, ge=1)
    retry: Retry = Retry()


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
retry.times = 4
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
        "providers.acme.retry.tmies = 4",
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
