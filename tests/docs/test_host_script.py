"""The host script of the README runs as it stands, in a process of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks


@pytest.fixture(scope="module")
def script() -> Block:
    (found,) = (block for block in blocks(ROOT / "README.md") if block.notes.get("file") == "ask.py")
    return found


@pytest.fixture(scope="module")
def printed(script: Block, vendor: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Its lines of output."""
    folder = tmp_path_factory.mktemp("script")
    path = folder / "ask.py"
    path.write_text(script.text, encoding="utf-8")
    env = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        # Installed and without configuration, the OpenAI plugin would ask the vendor for its models.
        "GLEITZEIT__PROVIDERS__OPENAI__BASE_URL": vendor,
    }
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    command = [sys.executable, str(path)]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_it_uses_what_a_host_application_needs(script: Block) -> None:
    used = {ast.unparse(node.func) for node in ast.walk(ast.parse(script.text)) if isinstance(node, ast.Call)}
    assert {
        "Host",
        "host.hooks.provide_models",
        "host.hooks.health",
        "host.hooks.security_check",
        "host.call",
        "host.stream",
        "host.converse",
    } <= used


def test_it_lists_the_models_of_every_plugin(printed: list[str]) -> None:
    listed = dict(line.split(" ", 1) for line in reversed(printed) if " [" in line)
    assert "'hello'" in listed["scripted"]
    assert listed["time"] == "[]"


def test_it_gets_an_answer_and_streams_one(printed: list[str]) -> None:
    assert any(line.startswith("Hello! I am a scripted model") and "Usage(" in line for line in printed)
    assert "and |now |in |pieces|stop" in printed


def test_it_calls_a_tool_and_lets_a_model_call_one(printed: list[str]) -> None:
    text = "\n".join(printed)
    assert '"timezone": "Asia/Tokyo"' in text
    assert "2 The tool said: {" in text


def test_it_shows_the_vote_and_the_health(printed: list[str]) -> None:
    (vote,) = (line for line in printed if line.startswith("limits Verdict("))
    assert "allowed=False" in vote
    assert "deny_tools" in vote
    (health,) = (line for line in printed if line.startswith("scripted Health("))
    assert "status='ok'" in health
