"""Scripts are read from files, and a broken one says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted, ScriptedConfig
from gleitzeit_plugin_scripted.script import builtin, parse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gleitzeit.errors import ConfigError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.manifest import build
from gleitzeit.values import Chat, Reply

Make = Callable[..., Scripted]


@pytest.mark.parametrize("name", ["script.toml", "script.json"])
async def test_a_script_file_is_followed(make: Make, tmp_path: Path, name: str) -> None:
    texts = {
        "script.toml": '[models.m]\n[[models.m.rules]]\ntext = "from a file"\n',
        "script.json": '{"models": {"m": {"rules": [{"text": "from a file"}]}}}',
    }
    file = tmp_path / name
    file.write_text(texts[name])
    reply = await make({"script": str(file)}).call(Chat("x").to("m"))
    assert isinstance(reply, Reply)
    assert reply.text == "from a file"


@pytest.mark.parametrize(
    "text, says",
    [
        ("[models.m]\nx =", r"s\.toml:2: not TOML"),
        ("models = 3", r"s\.toml:1: models: "),
        ("", r"s\.toml: models: Field required"),
        ("[models.m]\n\nzork = 1", r"s\.toml:3: models\.m\.zork: "),
        (
            "[[models.m.rules]]\ntext='a'\n[[models.m.rules]]\nregex='('\ntext='b'",
            r"s\.toml:4: models\.m\.rules\[2\]\.regex",
        ),
        ("[[models.m.rules]]\ntext='{who}'", r"s\.toml:1: models\.m\.rules\[1\]: nothing is called \{who\}"),
        (
            "[[models.m.rules]]\n[models.m.rules.error]\ncode='nope'",
            r"s\.toml:3: .*error\.code: no error has this code",
        ),
        ("[[models.m.rules]]\ncontains='x'", r"s\.toml:1: .*answers nothing"),
        ("[[models.m.rules]]\ntext='x'\non_call='3-1'", r"s\.toml:3: .*on_call: count calls from 1"),
        ("[[models.m.rules]]\ntext='x'\nerror='overloaded'", r"s\.toml:1: .*`error\.after`"),
        ("[[models.m.rules]]\nfault={kind='hang', after=1}", r"s\.toml:2: .*takes no `after`"),
        ("[[models.m.rules]]\ntext='{prompt:zork}'", r"s\.toml:1: .*conversions are"),
    ],
)
def test_a_broken_script_names_line_and_key(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(text, "s.toml")
    assert caught.value.hint


def test_all_faults_of_a_script_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[models.a]\nx=1\n[models.b]\ny=1", "s.toml")
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["s.toml:2", "s.toml:4"]


def test_broken_json_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"s\.json:2: not JSON"):
        parse('{"models":\n nope}', "s.json")


@given(
    st.text() | st.binary().map(lambda data: data.decode("latin-1")), st.sampled_from(["s.toml", "s.json"])
)
def test_any_text_is_a_script_or_a_config_error(text: str, where: str) -> None:
    complaint = ""
    try:
        assert parse(text, where)
    except ConfigError as error:
        complaint = str(error)
    assert not complaint or where in complaint


def test_a_missing_file_a_folder_and_bytes_that_are_no_text_are_config_errors(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no such script"):
        make({"script": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigError, match="no such script"):
        make({"script": str(tmp_path)})
    (tmp_path / "bad.toml").write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(ConfigError, match=r"bad\.toml:2: the script is not UTF-8"):
        make({"script": str(tmp_path / "bad.toml")})


def test_a_script_and_answers_in_place_are_one_too_many() -> None:
    with pytest.raises(ValidationError, match="either `script` or `answers`"):
        ScriptedConfig.model_validate({"script": "a.toml", "answers": {"m": {"rules": [{"text": "a"}]}}})


def test_every_model_says_that_it_is_no_language_model(make: Make) -> None:
    models = [*make().provide_models(), *make(m={"description": "very clever", "rules": []}).provide_models()]
    assert all("not a language model" in model.description for model in models)


def test_capabilities_follow_the_rules(make: Make) -> None:
    rules: list[Any] = [{"calls": [{"name": "t"}]}, {"pieces": [{"thinking": "hm"}]}]
    (model,) = make(m={"capabilities": ["vision"], "rules": rules}).provide_models()
    assert model.capabilities == {"tools", "thinking", "vision"}
    assert model.operations == {"chat", "completion"}


async def test_an_instance_is_local_healthy_and_fits_the_contract(make: Make) -> None:
    provider = make()
    assert provider.local is True
    assert check_hooks(provider, "scripted") == ("provide_models", "call", "health")
    health = await provider.health()
    assert health.status == "ok"
    assert "built-in script" in health.detail


def test_the_manifest_is_what_the_code_says() -> None:
    shipped = Path(__file__).parent.parent / "src/gleitzeit_plugin_scripted/gleitzeit.json"
    assert json.loads(shipped.read_text("utf-8")) == build(Scripted, "scripted", "provider")


def test_the_manifest_lists_the_models_of_the_built_in_script() -> None:
    assert [model["name"] for model in build(Scripted, "scripted", "provider")["models"]] == list(builtin())
