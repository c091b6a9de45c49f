"""`gleitzeit completion`, in real shells where they are installed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.cli.completion import script
from gleitzeit.cli.options import SHELLS
from gleitzeit.cli.parser import build, commands

Run = Callable[..., Any]


@pytest.fixture
def bash(desk: Any, tmp_path: Any) -> Callable[..., list[str]]:
    """What bash offers for the last of the words."""
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("bash is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "gleitzeit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gleitzeit.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "complete").write_text(script("bash"))

    def bash(*words: str) -> list[str]:
        code = (
            f'source "{tmp_path}/complete"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _gleitzeit;'
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        environ = desk.environ
        environ["PATH"] = f"{programs}:{environ['PATH']}"
        done = subprocess.run(
            [shell, "--norc", "-c", code, "bash", "gleitzeit", *words],
            env=environ,
            cwd=desk.work,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return bash


@pytest.mark.parametrize(
    "words, offered",
    [
        (["pl"], ["plugins", "plugin"]),
        (["config", ""], ["show", "schema"]),
        (["--json", "config", "s"], ["show", "schema"]),
        (["chat", "--max-to"], ["--max-tokens"]),
        (["chat", "--approve", ""], ["ask", "always", "never"]),
        (["completion", "z"], ["zsh"]),
        (["health", "--d"], ["--debug", "--deep"]),
    ],
    ids=" ".join,
)
def test_bash_offers_what_may_come_next(
    bash: Callable[..., list[str]], words: list[str], offered: list[str]
) -> None:
    assert [word for word in bash(*words) if not word.startswith("-") or words[-1].startswith("-")] == offered


def test_bash_offers_models_and_aliases_without_importing_a_plugin(
    desk: Any, bash: Callable[..., list[str]]
) -> None:
    desk.plugin("bad", models=["one"])
    desk.config('[aliases]\ndefault = "desk/echo"\n')
    assert bash("chat", "-m", "de") == ["default", "desk/echo", "desk/vectors"]
    assert bash("chat", "-m", "bad/") == ["bad/one"]


def test_bash_offers_files(desk: Any, bash: Callable[..., list[str]]) -> None:
    (desk.work / "other.toml").touch()
    assert bash("plugins", "--config", "oth") == ["other.toml"]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_knows_every_command_and_option(run: Run, shell: str) -> None:
    text = run("completion", shell).out
    for path, parser in commands(build()):
        assert not path or path[-1] in text
        for action in parser._actions:
            for option in action.option_strings:
                assert (
                    f"-l {option[2:]}" if shell == "fish" and option.startswith("--") else option[1:]
                ) in text


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_one_that_its_shell_reads(tmp_path: Any, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script(shell))
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True)
