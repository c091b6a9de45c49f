"""docs/reference/cli.md says what the command can do, and nothing else."""

import argparse
import re
from pathlib import Path

import pytest

from gleitzeit import errors
from gleitzeit.cli import failures
from gleitzeit.cli.dialogue import COMMANDS
from gleitzeit.cli.parser import build, commands
from gleitzeit.values import State


@pytest.fixture(scope="module")
def text() -> str:
    return (Path(__file__).parents[3] / "docs/reference/cli.md").read_text(encoding="utf-8")


TREE = commands(build())
LEAVES = {" ".join(path): parser for path, parser in TREE if parser.get_default("run")}
SHARED = ("chat", "call", "tool", "read", "prompt")


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


EVERYWHERE = options(TREE[0][1]) - {"--version"}


def section(text: str, command: str) -> str:
    """What is said of a command: up to the next heading."""
    found = re.search(rf"^### `gleitzeit {re.escape(command)}[` ].*?(?=^#)", text, re.MULTILINE | re.DOTALL)
    assert found, f"`gleitzeit {command}` has no section"
    return found[0]


def named(part: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "\n".join(re.findall(r"`([^`]*)`", part))))


@pytest.mark.parametrize("command", LEAVES)
def test_every_option_of_a_command_is_in_its_section(text: str, command: str) -> None:
    wanted = options(LEAVES[command]) - EVERYWHERE
    shared = text.partition("## Asking")[2].partition("###")[0] if command in SHARED else ""
    assert wanted <= named(section(text, command)) | named(shared)


@pytest.mark.parametrize("command", LEAVES)
def test_every_option_in_the_section_of_a_command_exists(text: str, command: str) -> None:
    assert named(section(text, command).partition("```")[0]) <= options(LEAVES[command])


def test_every_option_that_is_everywhere_is_described(text: str) -> None:
    part = text.partition("## Options everywhere")[2].partition("\n## ")[0]
    assert EVERYWHERE | {"--version"} <= named(part)


def test_every_section_is_about_a_command(text: str) -> None:
    found = re.findall(r"^### `gleitzeit ([a-z ]*[a-z])", text, re.MULTILINE)
    assert sorted(found) == sorted(LEAVES)


def test_every_error_code_stands_beside_its_exit_code(text: str) -> None:
    rows = re.findall(r"^\| (\d+) \| (`[^|]*`) \|", text.partition("## Exit codes")[2], re.MULTILINE)
    said = {code: int(number) for number, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
    classes = [getattr(errors, name) for name in errors.__all__]
    assert said == {cls.code: cls.exit_code for cls in classes}


def test_every_exit_code_of_an_ending_is_described(text: str) -> None:
    part = text.partition("## Exit codes")[2]
    for code in (
        failures.UNHEALTHY,
        failures.HANGUP,
        failures.INTERRUPTED,
        failures.TERMINATED,
        failures.BROKEN_PIPE,
    ):
        assert re.search(rf"^\| [\d, ]*\b{code}\b", part, re.MULTILINE)


def test_every_state_is_described(text: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section(text, "plugins"), re.MULTILINE)
    assert set(rows) == {state.value for state in State}


def test_every_command_of_the_dialogue_is_named(text: str) -> None:
    assert set(COMMANDS) == set(re.findall(r"`(/[a-z]+)`", section(text, "chat")))
