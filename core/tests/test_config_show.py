"""A configuration is shown with sources, and without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from gleitzeit.config import load
from gleitzeit.config.show import MASK
from gleitzeit.discovery import Entry, Index
from gleitzeit.manifest import Shipped


class Settings(BaseModel):
    credential_name: str = ""
    word: SecretStr = SecretStr("")
    maybe: SecretStr | None = None
    max_tokens: int = 5
    key_count: int | None = None


MANIFEST = {"name": "acme", "secrets": {"word": "ACME_WORD"}, "config_schema": Settings.model_json_schema()}
INDEX = Index(
    [
        Entry(
            "acme",
            kind="provider",
            value="acme:A",
            shipped=Shipped("m", json.dumps(MANIFEST).encode, "acme", "provider"),
        )
    ]
)


def shown(table: dict[str, Any], *, section: str = "providers", reveal: bool = False, **environ: str) -> Any:
    config = load(data={section: {"acme": table}}, environ=environ, index=INDEX)
    return config.show(reveal=reveal)[section]["acme"]


class TestMasking:
    @pytest.mark.parametrize(
        "key",
        [
            "api_key",
            "apiKey",
            "access_token",
            "secret",
            "password",
            "passwd",
            "Authorization",
            "credentials",
            "cookie",
        ],
    )
    def test_keys_that_sound_secret_are_masked(self, key: str) -> None:
        assert shown({key: "canary"})[key]["value"] == MASK

    def test_keys_that_the_schema_calls_secret_are_masked(self) -> None:
        found = shown({"word": "canary", "maybe": "canary"})
        assert (found["word"]["value"], found["maybe"]["value"]) == (MASK, MASK)

    def test_numbers_are_not_secret_for_their_name(self) -> None:
        found = shown({"max_tokens": 7, "key_count": 3})
        assert (found["max_tokens"]["value"], found["key_count"]["value"]) == (7, 3)

    def test_harmless_values_are_shown_with_their_source(self) -> None:
        assert shown({"base_url": "http://x"})["base_url"] == {
            "value": "http://x",
            "source": "configuration in code",
        }

    @pytest.mark.parametrize("table", ["env", "headers"])
    def test_tables_that_carry_secrets_are_masked_whatever_the_names(self, table: str) -> None:
        found = shown(
            {"command": "x", table: {"PLAIN": "canary", "B": "${B:-canary}", "C": "x ${D} canary"}}, D="d"
        )
        assert found[f"{table}.PLAIN"]["value"] == MASK
        assert found[f"{table}.B"]["value"] == f"${{B:-{MASK}}}"
        assert found[f"{table}.C"]["value"] == MASK

    @pytest.mark.parametrize(
        "raw", ["${KEY}", "Bearer ${KEY}", "secret://vault/a#b", "secret://file//run/${KEY}"]
    )
    def test_references_are_shown_as_written(self, raw: str) -> None:
        found = shown({"api_key": raw, "other": raw}, KEY="canary")
        assert found["api_key"]["value"] == raw
        assert found["other"]["value"] == raw

    def test_texts_with_variables_are_shown_as_written_whatever_their_key(self) -> None:
        assert shown({"url": "http://${HOST}/x"}, HOST="canary")["url"]["value"] == "http://${HOST}/x"

    def test_values_of_the_environment_are_masked(self) -> None:
        found = shown({}, GLEITZEIT__PROVIDERS__ACME__CREDENTIAL_NAME="canary", ACME_WORD="canary")
        assert found["credential_name"]["value"] == MASK
        assert found["word"] == {"value": MASK, "source": "environment variable ACME_WORD"}

    @pytest.mark.parametrize(
        "url, value",
        [
            ("http://user:canary@h/x", f"http://{MASK}@h/x"),
            ("http://h/x?a=1&api_key=canary&b=2", f"http://h/x?a=1&api_key={MASK}&b=2"),
            ("http://h/?x-token=canary", f"http://h/?x-token={MASK}"),
        ],
    )
    def test_secrets_in_addresses_are_masked(self, url: str, value: str) -> None:
        assert shown({"base_url": url})["base_url"]["value"] == value

    def test_secrets_in_arguments_are_masked(self) -> None:
        args = ["--api-key", "canary", "--token=canary", "--verbose", "x", "--key"]
        found = shown({"command": "x", "args": args}, section="servers")
        assert found["args"]["value"] == ["--api-key", MASK, f"--token={MASK}", "--verbose", "x", "--key"]

    def test_secrets_in_lists_of_tables_are_masked(self) -> None:
        found = shown({"accounts": [{"name": "a", "api_key": "canary"}]})
        assert found["accounts"]["value"] == [{"name": "a", "api_key": MASK}]

    def test_a_proxys_password_is_masked(self) -> None:
        config = load(data={"host": {"http": {"proxy": "http://u:canary@p"}}}, environ={})
        assert config.show()["host"]["http.proxy"]["value"] == f"http://{MASK}@p"

    def test_revealing_shows_values_but_not_what_lies_behind_references(self) -> None:
        found = shown({"api_key": "${KEY}", "word": "secret://env/KEY", "token": "t"}, reveal=True, KEY="k")
        assert [found[key]["value"] for key in ("api_key", "word", "token")] == ["k", "secret://env/KEY", "t"]

    @given(
        st.sampled_from(["api_key", "word", "env", "headers", "auth"]),
        st.recursive(
            st.just("canary"),
            lambda inner: st.one_of(
                st.lists(inner, max_size=2),
                st.dictionaries(st.sampled_from(["a", "token"]), inner, max_size=2),
            ),
        ),
    )
    def test_no_nesting_lets_a_secret_out(self, key: str, value: Any) -> None:
        wrapped = {"token": value} if key in ("auth", "env", "headers") else value
        assert "canary" not in json.dumps(shown({key: wrapped}))


class TestShape:
    def test_says_every_setting_of_the_host(self) -> None:
        host = load(data={"host": {"timeout": 5}}, environ={}).show()["host"]
        assert host["timeout"] == {"value": 5, "source": "configuration in code"}
        assert host["hook_timeout"] == {"value": 10.0, "source": "default"}
        assert host["http.verify_ssl"] == {"value": True, "source": "default"}

    def test_says_routes_aliases_and_models(self) -> None:
        data = {
            "routes": {"r": {"targets": ["a"]}},
            "aliases": {"gpt-4.1": "a"},
            "providers": {"p": {"models": ["m", {"name": "n"}], "local": True}},
        }
        found = load(data=data, environ={}).show()
        assert found["routes"]["r"]["targets"]["value"] == ["a"]
        assert found["routes"]["r"]["strategy"] == {"value": "ordered", "source": "default"}
        assert found["aliases"]["gpt-4.1"]["value"] == "a"
        assert found["providers"]["p"]["models"]["value"] == ["m", "n"]
        assert found["providers"]["p"]["local"]["value"] is True

    def test_says_what_keeps_an_instance_from_working(self) -> None:
        found = shown({"key": "${NO_SUCH}"})
        assert "NO_SUCH is not set" in found["problem"]["value"]

    def test_says_that_nothing_encloses_a_server(self) -> None:
        assert shown({"command": "x"}, section="servers")["sandbox"]["value"] == "none"

    def test_is_json(self) -> None:
        data = {"providers": {"p": {"a": [{"b": None}], "c": {}}}, "servers": {"s": {"command": ["x", "y"]}}}
        json.dumps(load(data=data, environ={}).show())
