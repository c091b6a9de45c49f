"""`gleitzeit plugin manifest`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize("name", ["desk", "provider:desk", "gleitzeit-plugin-desk", "gleitzeit_plugin_desk"])
def test_manifest_is_made_from_the_code(desk: Any, run: Run, name: str) -> None:
    found = run("plugin", "manifest", name).json()
    assert (found["name"], found["kind"], found["summary"]) == ("desk", "provider", "Does as it is told.")
    assert [model["name"] for model in found["models"]] == ["echo", "vectors"]
    assert "provide_tools" in found["hooks"]


def test_manifest_that_differs_is_told(desk: Any, run: Run) -> None:
    path = desk.packages / "gleitzeit_plugin_desk" / "gleitzeit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": "Old."}))
    result = run("plugin", "manifest", "desk", "--check")
    assert result.code == 4
    assert 'provider:desk: summary: the file says "Old.", the code "Does as it is told."' in result.err
    assert "--write" in result.err


def test_written_manifest_agrees_with_the_code(desk: Any, run: Run) -> None:
    path = desk.packages / "gleitzeit_plugin_desk" / "gleitzeit.json"
    path.unlink()
    assert run("plugin", "manifest", "desk", "--check").code == 4
    assert run("plugin", "manifest", "desk", "--write").err == f"wrote {path}\n"
    result = run("plugin", "manifest", "desk", "--check")
    assert (result.code, result.err) == (0, "provider:desk: the manifest says what the code says\n")


def test_settings_that_the_host_takes_for_itself_are_told(site: Any, run: Run) -> None:
    code = (
        "from pydantic import BaseModel\n"
        "class Config(BaseModel):\n"
        "    retry: int = 1\n    timeouts: dict = {}\n    models: list = []\n    pace: int = 3\n"
        "class Hasty:\n    'Hurries.'\n    Config = Config\n"
    )
    site.install("hasty", code, "[gleitzeit.providers]\nhasty = gleitzeit_plugin_hasty:Hasty\n")
    result = run("plugin", "manifest", "hasty")
    assert result.code == 0
    warned = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert ["'retry'" in warned[0], "'timeouts'" in warned[1], len(warned)] == [True, True, 2]
    assert "retry" in result.json()["config_schema"]["properties"]


def test_distribution_with_several_plugins_asks_for_one(site: Any, run: Run) -> None:
    lines = "[gleitzeit.providers]\na = gleitzeit_plugin_two:A\nb = gleitzeit_plugin_two:A\n"
    site.install("two", "class A:\n    'An A.'\n", lines)
    result = run("plugin", "manifest", "gleitzeit-plugin-two")
    assert (result.code, result.out) == (2, "")
    assert "choose one of provider:a, provider:b" in result.err
    assert run("plugin", "manifest", "provider:b").json()["name"] == "b"


def test_plugin_that_is_not_installed_is_told(desk: Any, run: Run) -> None:
    result = run("plugin", "manifest", "desc")
    assert result.code == 4
    assert "did you mean 'desk'" in result.err


def test_plugin_that_cannot_be_imported_is_told(site: Any, run: Run) -> None:
    site.plugin("bad")
    result = run("plugin", "manifest", "bad")
    assert result.code == 4
    assert "cannot be imported: SystemExit: imported" in result.err
