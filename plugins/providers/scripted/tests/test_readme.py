"""What the README shows holds."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from pathlib import Path

import pytest
from gleitzeit_plugin_scripted.config import ERRORS, Fault, Rule
from gleitzeit_plugin_scripted.script import builtin, parse

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_script_is_one() -> None:
    config, script = blocks("toml")
    assert tomllib.loads(config)["providers"]["helper"] == {"plugin": "scripted", "script": "helper.toml"}
    assert len(parse(script, "helper.toml")["weather"].rules) == 6


def test_the_program_prints_what_it_says() -> None:
    (program,) = blocks("python")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
    assert f"It prints `{output.getvalue().strip()}`." in README


@pytest.mark.parametrize("key", sorted(Rule.model_fields))
def test_every_key_of_a_rule_is_explained(key: str) -> None:
    assert f"`{key}`" in README


def test_every_built_in_model_is_named() -> None:
    assert all(f"`{name}`" in README for name in builtin())


def test_every_fault_is_explained() -> None:
    kinds = Fault.model_json_schema()["properties"]["kind"]["enum"]
    assert all(f'"{kind}"' in README for kind in kinds)
    assert set(re.findall(r'code = "(\w+)"', README)) <= set(ERRORS)
