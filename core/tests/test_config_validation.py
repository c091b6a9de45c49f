"""What an instance is given is validated against its plugin, and every fault is told with its place."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gleitzeit.config import InstanceConfig, load, validate
from gleitzeit.errors import ConfigError
from gleitzeit.values import Model


def quoting(value: str) -> str:
    raise ValueError(f"I do not like {value!r}")


class Bearer(BaseModel):
    kind: Literal["bearer"]
    token: SecretStr


class Basic(BaseModel):
    kind: Literal["basic"]
    user: str
    password: SecretStr


class Acme(BaseModel):
    api_key: SecretStr
    max_tokens: int = Field(default=5, ge=1, description="Most tokens.")
    stop: list[str] = []
    headers: dict[str, str] = {}
    auth: Annotated[Bearer | Basic, Field(discriminator="kind")] | None = None
    quoted: Annotated[str, AfterValidator(quoting)] | None = None
    custom: str = ""
    sizes: list[int] = []

    @field_validator("custom")
    @classmethod
    def _custom(cls, value: str) -> str:
        if value:
            raise PydanticCustomError("custom", "the input {value} is odd", {"value": value})
        return value

    @model_validator(mode="after")
    def _whole(self) -> Acme:
        if "impossible" in self.headers:
            raise ValueError(f"these do not go together: {self.headers}")
        return self


def instance(table: dict[str, Any], **environ: str) -> InstanceConfig:
    [found] = load(data={"providers": {"acme": table}}, environ=environ).instances
    return found


def check(table: dict[str, Any], config: Any = Acme, **environ: str) -> Any:
    found = instance(table, **environ)
    return validate(config, found, found.values)


def faults(table: dict[str, Any], config: Any = Acme, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        check(table, config, **environ)
    assert caught.value.__context__ is None, "pydantic's error holds the input"
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    return caught.value.problems


def test_gives_the_plugins_own_object() -> None:
    found = check({"api_key": "k", "max_tokens": "7"})
    assert type(found) is Acme
    assert (found.api_key.get_secret_value(), found.max_tokens) == ("k", 7)


def test_every_fault_is_told_with_place_key_and_next_step(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(
        "[providers.acme]\nmax_tokens = 0\n\nmax_token = 3\n[providers.acme.auth]\nkind = 'bearer'\n"
    )
    [found] = load(path, environ={}).instances
    with pytest.raises(ConfigError) as caught:
        validate(Acme, found, found.values)
    assert sorted(caught.value.problems) == [
        f"{path}:1: providers.acme.api_key: it is missing; write api_key = ... in [providers.acme]",
        f"{path}:1: providers.acme.auth.token: it is missing; write token = ... in [providers.acme]",
        f"{path}:2: providers.acme.max_tokens: input should be greater than or equal to 1; Most tokens.",
        f"{path}:4: providers.acme.max_token: there is no such key; did you mean 'max_tokens'?",
    ]
    assert "providers.acme does not fit its plugin" in str(caught.value)


def test_a_missing_key_names_the_variable_that_may_fill_it() -> None:
    found = dataclasses.replace(instance({}), variables={"api_key": ("ACME_API_KEY", "ACME_KEY")})
    with pytest.raises(ConfigError, match=r"in \[providers\.acme\], or set ACME_API_KEY or ACME_KEY"):
        validate(Acme, found, found.values)


class TestUnknownKeys:
    def test_are_faults_although_the_plugin_ignores_them(self) -> None:
        assert "there is no such key" in faults({"api_key": "k", "zzz": "canary"})[0]

    def test_are_faults_in_tables_too_with_near_names(self) -> None:
        [fault] = faults({"api_key": "k", "auth": {"kind": "bearer", "token": "t", "tokne": "canary"}})
        assert "providers.acme.auth.tokne: there is no such key; did you mean 'token'?" in fault

    def test_are_the_plugins_matter_where_it_allows_them(self) -> None:
        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")

        assert check({"anything": 1}, Open).model_extra == {"anything": 1}

    def test_are_the_plugins_matter_in_a_table_that_allows_them(self) -> None:
        class Inner(BaseModel):
            model_config = ConfigDict(extra="allow")
            size: int = 0

        class Outer(BaseModel):
            inner: Inner = Inner()

        assert check({"inner": {"anything": 1}}, Outer).inner.model_extra == {"anything": 1}
        assert "acme.iner: there is no such key" in faults({"iner": {}, "inner": {"anything": 1}}, Outer)[0]
        assert "acme.inner.size: " in faults({"inner": {"anything": 1, "size": "canary"}}, Outer)[0]


class TestNoValueIsShown:
    @pytest.mark.parametrize(
        "table, said",
        [
            ({"max_tokens": "canary"}, "unable to parse string as an integer"),
            ({"quoted": "canary"}, "I do not like '...'"),
            ({"custom": "canary"}, "the input ... is odd"),
            ({"headers": {"impossible": "canary"}}, "these do not go together"),
            ({"auth": {"kind": "canary"}}, "does not match any of the expected tags"),
            ({"sizes": [1, "canary"]}, "acme.sizes[1]: "),
            ({"stop": "canary"}, "valid list"),
            ({"headers": {"a": 5}}, "valid string"),
        ],
    )
    def test_in_a_fault(self, table: dict[str, Any], said: str) -> None:
        [fault] = faults({"api_key": "k", **table})
        assert said in fault

    def test_of_a_wrong_secret(self) -> None:
        [fault] = faults({"api_key": ["canary"]})
        assert "providers.acme.api_key" in fault


class TestValuesFromOutside:
    def test_lists_and_tables_are_decoded(self) -> None:
        environ = {
            "GLEITZEIT__PROVIDERS__ACME__STOP": '["a", "b"]',
            "GLEITZEIT__PROVIDERS__ACME__HEADERS": '{"a": "b"}',
            "GLEITZEIT__PROVIDERS__ACME__API_KEY": "123456",
        }
        found = check({}, **environ)
        assert (found.stop, found.headers) == (["a", "b"], {"a": "b"})
        assert found.api_key.get_secret_value() == "123456"

    def test_also_from_a_variable_in_the_file(self) -> None:
        assert check({"api_key": "k", "stop": "${STOP}"}, STOP='["a"]').stop == ["a"]

    def test_but_not_from_texts_of_the_file(self) -> None:
        assert "valid list" in faults({"api_key": "k", "stop": '["canary"]'})[0]

    def test_that_do_not_decode_are_faults(self) -> None:
        [fault] = faults({"api_key": "k"}, GLEITZEIT__PROVIDERS__ACME__STOP="canary")
        assert fault.startswith(
            "environment variable GLEITZEIT__PROVIDERS__ACME__STOP: providers.acme.stop: "
        )


class TestOtherConfigs:
    def test_none_takes_nothing(self) -> None:
        assert check({}, None) is None
        assert "the plugin takes no configuration; remove it" in faults({"a": "canary"}, None)[0]

    def test_a_dataclass_will_do(self) -> None:
        @dataclasses.dataclass
        class Small:
            size: int

        assert check({"size": "3"}, Small) == Small(3)
        assert "providers.acme.size: it is missing" in faults({}, Small)[0]

    def test_one_that_has_no_schema_costs_hints_only(self) -> None:
        class Odd(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            size: int
            thing: traceback.TracebackException | None = None

        assert check({"size": 3}, Odd).size == 3
        assert "providers.acme.sise: there is no such key" in faults({"size": 3, "sise": "canary"}, Odd)[0]


class TestKeysOfTheHost:
    class Serving(BaseModel):
        models: list[str | dict[str, Any]] = []
        local: bool = False
        extra: ClassVar[int] = 0

    def test_reach_a_plugin_that_declares_them(self) -> None:
        found = check({"models": ["m", {"name": "n", "capabilities": ["x"]}], "local": True}, self.Serving)
        assert found.models == [{"name": "m"}, {"name": "n", "capabilities": ["x"]}]
        assert found.local is True

    def test_do_not_reach_others(self) -> None:
        table = {"api_key": "k", "models": ["m"], "local": True, "eager": True}
        assert instance(table).models == (Model("m"),)
        assert check(table).max_tokens == 5
