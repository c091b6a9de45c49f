"""A manifest is made from the code and checked against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from gleitzeit.discovery import Entry
from gleitzeit.errors import PluginError, PluginLoadError
from gleitzeit.manifest import Manifest, Shipped, as_model, build, check, dumps
from gleitzeit.plugin import Plugin, Provider
from gleitzeit.values import Chat, Model, Reply, Request, Stream
from gleitzeit.version import API_VERSION


class AcmeConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    api_key: SecretStr
    retries: int = 2


class Acme(Provider):
    """Answers like Acme.

    And more that is not the summary.
    """

    Config: ClassVar = AcmeConfig
    manifest: ClassVar = {
        "models": ["acme-small", Model("acme-large", operations={Chat}, context_tokens=128_000)],
        "patterns": ["acme-*"],
        "capabilities": {"vision", "tools"},
        "secrets": {"api_key": "ACME_API_KEY"},
    }

    def provide_models(self) -> list[Model]:
        return []

    async def call(self, request: Request) -> Reply | Stream:
        return Reply()


def shipped(data: object, kind: str = "provider", name: str = "acme") -> Entry:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Entry(
        name,
        kind=kind,
        value="acme:Acme",
        shipped=Shipped("acme.json", lambda: text, name, kind),
        plugin=Acme,
    )


class TestBuild:
    def test_reads_summary_hooks_and_schema_off_the_code(self) -> None:
        manifest = build(Acme, "acme", "provider")
        assert manifest["summary"] == "Answers like Acme."
        assert manifest["hooks"] == ["provide_models", "call"]
        assert manifest["api_version"] == API_VERSION
        jsonschema.Draft202012Validator.check_schema(manifest["config_schema"])
        assert manifest["config_schema"]["required"] == ["api_key"]

    def test_shows_secret_fields_as_secret(self) -> None:
        key = build(Acme, "acme", "provider")["config_schema"]["properties"]["api_key"]
        assert key["format"] == "password"
        assert key["writeOnly"] is True

    def test_takes_from_the_class_what_code_does_not_say(self) -> None:
        manifest = build(Acme, "acme", "provider")
        assert manifest["models"] == [
            {"name": "acme-small"},
            {"name": "acme-large", "operations": ["chat"], "context_tokens": 128_000},
        ]
        assert manifest["patterns"] == ["acme-*"]
        assert manifest["capabilities"] == ["tools", "vision"]
        assert manifest["secrets"] == {"api_key": "ACME_API_KEY"}

    def test_a_key_may_have_several_variables_and_the_models_a_file(self) -> None:
        class More(Plugin):
            manifest: ClassVar = {
                "secrets": {"api_key": ("NEW_KEY", "OLD_KEY"), "token": "TOKEN"},
                "model_data": "models.json",
            }

        data = json.loads(dumps(build(More, "more", "plain")))
        assert data["secrets"] == {"api_key": ["NEW_KEY", "OLD_KEY"], "token": "TOKEN"}
        manifest = Manifest.parse(data)
        assert manifest.secrets == {"api_key": ("NEW_KEY", "OLD_KEY"), "token": ("TOKEN",)}
        assert manifest.model_data == "models.json"

    @pytest.mark.parametrize("secrets", [{"api_key": []}, {"api_key": [1]}, {"api_key": {}}])
    def test_refuses_variables_that_are_none(self, secrets: object) -> None:
        with pytest.raises(PluginError, match="secrets: expected an object"):
            Manifest.parse({"name": "x", "secrets": secrets})

    def test_is_json_that_can_be_read_back(self) -> None:
        text = dumps(build(Acme, "acme", "provider"))
        manifest = Manifest.parse(json.loads(text))
        assert text.endswith("}\n")
        assert manifest.models == (
            Model("acme-small"),
            Model("acme-large", operations={Chat}, context_tokens=128_000),
        )
        assert manifest.capabilities == {"vision", "tools"}

    def test_of_a_plugin_that_says_nothing_is_small(self) -> None:
        class Quiet(Plugin):
            pass

        Quiet.__doc__ = None
        assert build(Quiet, "quiet", "plain") == {
            "name": "quiet",
            "kind": "plain",
            "api_version": API_VERSION,
        }

    def test_of_a_factory_says_what_is_known(self) -> None:
        def make(config: object, context: object) -> object:
            """Makes one."""
            return object()

        assert build(make, "made", "plain")["summary"] == "Makes one."

    def test_refuses_extras_that_it_does_not_know(self) -> None:
        class Wrong(Plugin):
            manifest: ClassVar[dict[str, Any]] = {"modles": []}

        with pytest.raises(PluginLoadError, match="did you mean 'models'"):
            build(Wrong, "wrong", "plain")

    def test_refuses_extras_of_the_wrong_shape(self) -> None:
        class Wrong(Plugin):
            manifest: ClassVar = {"secrets": {"api_key": 1}}

        with pytest.raises(PluginLoadError, match="secrets: expected an object"):
            build(Wrong, "wrong", "plain")

    def test_describes_a_configuration_that_is_no_pydantic_model(self) -> None:
        class Odd(Plugin):
            Config: ClassVar = dict[str, int]

        assert build(Odd, "odd", "plain")["config_schema"]["type"] == "object"


class TestCheck:
    def test_says_nothing_of_what_was_built(self) -> None:
        assert check(shipped(build(Acme, "acme", "provider"))) == []

    @pytest.mark.parametrize(
        "key, change",
        [
            ("summary", lambda _: "Something else"),
            ("models", lambda rows: rows[1:]),
            ("patterns", lambda _: []),
            ("capabilities", lambda words: [*words, "more"]),
            ("secrets", lambda _: {}),
            ("secrets", lambda _: {"api_key": ["ACME_API_KEY", "ACME_KEY"]}),
            ("model_data", lambda _: "models.json"),
            ("hooks", lambda hooks: [*hooks, "health"]),
            ("api_version", lambda _: "0.9"),
            ("config_schema", lambda schema: {**schema, "required": []}),
        ],
    )
    def test_names_each_difference(self, key: str, change: Callable[[Any], Any]) -> None:
        manifest = build(Acme, "acme", "provider")
        manifest[key] = change(manifest.get(key))
        [difference] = check(shipped(manifest))
        assert difference.startswith(f"{key}: ")

    def test_says_that_a_manifest_is_broken(self) -> None:
        [difference] = check(shipped(b"{"))
        assert "acme.json is no JSON" in difference

    def test_says_that_none_is_shipped(self) -> None:
        assert check(Entry("acme", kind="provider", value="a:A", plugin=Acme)) == [
            "plugin 'acme' ships no manifest"
        ]


class TestParse:
    def test_names_every_fault(self) -> None:
        data = {
            "kind": 1,
            "patterns": [1],
            "secrets": [],
            "config_schema": "x",
            "models": [{"name": "m", "operations": 1, "context_tokens": "many", "metadata": []}, ""],
        }
        with pytest.raises(PluginError) as caught:
            Manifest.parse(data)
        for fault in (
            "name:",
            "kind:",
            "patterns:",
            "secrets:",
            "config_schema:",
            "models[0].operations:",
            "models[0].context_tokens:",
            "models[0].metadata:",
            "models[1]:",
        ):
            assert fault in caught.value.message

    def test_ignores_what_a_newer_version_may_add(self) -> None:
        manifest = Manifest.parse({"name": "x", "colour": "blue", "models": [{"name": "m", "speed": 3}]})
        assert manifest.models == (Model("m"),)

    def test_rows_need_no_import_of_values(self) -> None:
        assert Manifest.parse({"name": "x", "models": ["m"]}).model_rows == ({"name": "m"},)


def test_a_model_row_may_be_a_name() -> None:
    assert as_model("m") == Model("m")
