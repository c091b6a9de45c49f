"""The page about providers knows every package, every plugin and every row of the replay."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_reference import table
from tests.replay.table import BEGIN, END
from tests.replay.vendors import found

PAGE = ROOT / "docs" / "reference" / "providers.md"
PROJECTS = [
    tomllib.loads(path.read_text("utf-8"))["project"]
    for path in ROOT.glob("plugins/providers/*/pyproject.toml")
]
PLUGINS = [
    (project["name"], plugin)
    for project in PROJECTS
    for plugin in project["entry-points"]["gleitzeit.providers"]
]
#: They are no vendors: one speaks a protocol whose answers are tools, one follows a script.
APART = {"mcp", "scripted"}


@pytest.mark.parametrize("distribution, plugin", PLUGINS, ids=[plugin for _, plugin in PLUGINS])
def test_every_plugin_has_its_line_and_its_column(distribution: str, plugin: str) -> None:
    rows = {row["package"].partition("]")[0].strip("["): row for row in table(PAGE.name, "package", "plugin")}
    assert plugin in rows[distribution]["plugin"].split(", ")
    if plugin not in APART:
        assert plugin in ", ".join(table(PAGE.name, "")[0]).split(", ")


def test_every_cell_of_the_features_says_something() -> None:
    for row in table(PAGE.name, ""):
        assert all(row.values()), row[""]


@pytest.mark.skipif(find_spec("openai") is None, reason="needs the vendors' SDKs")
def test_every_row_of_the_replay_is_shown_as_passed() -> None:
    text = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    shown = {row[0]: row for row in cells if len(row) == 8}
    for row in found()[0]:
        name, interactions, _, passed, _, apart, _, oracle = shown[row.name]
        assert int(interactions) == int(passed) + int(apart) > 0, name
        assert oracle.split()[0] == (row.oracle or "none").split()[0]
