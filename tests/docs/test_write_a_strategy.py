"""The strategy of its page is a whole package: built, installed, named by a route, and asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.test_write_a_provider import link_dependencies, pip, run

PAGE = ROOT / "docs/how-to/write-a-strategy.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files; in `env` the core, the plugin `scripted` and the strategy."""
    place = tmp_path_factory.mktemp("strategy")
    for block in blocks(PAGE):
        if "file" in block.notes:
            path = place / block.notes["file"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    package, wheels, env = place / "gleitzeit-plugin-forgiving", place / "wheels", place / "env"
    for source in (ROOT / "core", ROOT / "plugins/providers/scripted", package):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source))
    run(sys.executable, "-m", "venv", "--without-pip", str(env))
    link_dependencies(env)
    names = ("gleitzeit-plugin-scripted", "gleitzeit-plugin-forgiving")
    pip(env, "install", "--no-index", "--find-links", str(wheels), *names)
    return place


def test_it_is_short() -> None:
    (code,) = (b.text for b in blocks(PAGE) if b.notes.get("file", "").endswith("forgiving.py"))
    assert len([line for line in code.splitlines() if line.strip()]) <= 25


def test_it_is_listed_without_being_imported(place: Path) -> None:
    listed = run(str(place / "env/bin/gleitzeit"), "plugins", cwd=place)
    [row] = [line.split() for line in listed.splitlines() if "forgiving" in line]
    assert row == ["forgiving", "strategy", "discovered", "gleitzeit-plugin-forgiving", "0.1.0"]


def test_a_route_that_names_it_goes_elsewhere_after_a_failure(place: Path) -> None:
    printed = run(str(place / "env/bin/python"), "twice.py", cwd=place)
    (shown,) = (block.text for block in blocks(PAGE) if block.language == "text")
    assert printed == shown


def test_uninstalled_it_is_a_clear_error(place: Path) -> None:
    """Runs last: it takes the strategy out of the environment."""
    pip(place / "env", "uninstall", "--yes", "gleitzeit-plugin-forgiving")
    with pytest.raises(AssertionError, match="forgiving") as caught:
        run(str(place / "env/bin/gleitzeit"), "chat", "-m", "team", "--no-stream", "hi", cwd=place)
    assert "pip install gleitzeit-plugin-forgiving" in str(caught.value)
