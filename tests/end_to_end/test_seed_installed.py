"""What is there and what works where only some of the packages are installed, and what the rest is called."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.discovery import SECTIONS, Index
from gleitzeit.errors import PluginNotFoundError
from tests.end_to_end.fresh import Environment
from tests.end_to_end.test_seed_mcp_manager import scripted
from tests.harness import ROOT

CORE = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = CORE["optional-dependencies"]
#: The extras that bring plugins, each for itself.
PARTS = sorted(set(EXTRAS) - {"all", "testing"})

ASKED = """
import json, sys
from gleitzeit.discovery import scan
print(json.dumps([scan().has("provider", "mcp"), sorted({"asyncio", "mcp"} & sys.modules.keys())]))
"""
CALLED = """
import asyncio, json, os
from gleitzeit import Chat, GleitzeitError, Host, ToolCall

async def main():
    entry = json.loads(os.environ["ENTRY"])
    config = {"host": {"timeout": 120, "hook_timeout": 120}, "servers": {"up": entry}}
    said = {}
    async with Host(config, environ={}) as host:
        said["native"] = (await host.call(Chat("hi").to("scripted/echo"))).text
        try:
            said["mcp"] = (await host.call(ToolCall({"text": "hi"}).to("up/echo"))).text
        except GleitzeitError as error:
            said["mcp"] = f"{type(error).__name__}: {error}"
    print(json.dumps(said))

asyncio.run(main())
"""
LOADED = """
import json
from gleitzeit.discovery import scan
for entry in scan().entries:
    entry.load()
print(json.dumps(sorted([entry.kind, entry.name] for entry in scan().entries)))
"""


def called(environment: Environment) -> dict[str, str]:
    """What a native provider and an MCP server answer in this environment."""
    said: dict[str, str] = json.loads(environment.run(CALLED, ENTRY=json.dumps(scripted())))
    return said


def offered() -> dict[str, list[tuple[str, str]]]:
    """(kind, name) of the plugins of each distribution of the project."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(ROOT.glob("plugins/*/*/pyproject.toml")):
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        found[project["name"]] = [
            (SECTIONS[group.partition(".")[2]], name)
            for group, names in project["entry-points"].items()
            if group != "gleitzeit.manifest"
            for name in names
        ]
    return found


def distributions(extra: str) -> set[str]:
    """The distributions that an extra brings."""
    return {re.match(r"[\w-]+", line)[0] for line in EXTRAS[extra]}  # type: ignore[index]  # each begins so


@pytest.mark.feature("S000-02", "S000-03")
def test_without_mcp_support_that_is_told_and_native_providers_work(tmp_path: Path) -> None:
    core = ("gleitzeit", "gleitzeit-plugin-scripted")
    without = Environment(tmp_path / "without", *core)
    half = Environment(tmp_path / "half", *core, "gleitzeit-plugin-mcp")
    whole = Environment(tmp_path / "whole", *core, "gleitzeit-plugin-mcp", "gleitzeit-plugin-mcp-stdio")
    assert json.loads(without.run(ASKED)) == [False, []]
    assert json.loads(whole.run(ASKED)) == [True, []]
    said = called(without)
    assert said["native"] == "hi"
    assert said["mcp"].startswith("PluginNotFoundError: no provider plugin 'mcp' is installed")
    assert "pip install gleitzeit-plugin-mcp" in said["mcp"]
    assert "pip install gleitzeit-plugin-mcp-stdio" in called(half)["mcp"]
    assert called(whole) == {"native": "hi", "mcp": "hi"}


@pytest.mark.feature("S001-31")
def test_each_extra_brings_just_what_it_promises(tmp_path: Path) -> None:
    plugins = offered()
    assert set().union(*(distributions(each) for each in PARTS)) == set(plugins)
    [every] = EXTRAS["all"]
    assert every == f"gleitzeit[{','.join(PARTS)}]"
    for extra in PARTS:
        environment = Environment(tmp_path / extra, "gleitzeit", *distributions(extra))
        assert distributions(extra) <= environment.names
        loaded = [tuple(each) for each in json.loads(environment.run(LOADED))]
        needed = plugins.keys() & environment.names  # one of ours may stand on another
        assert loaded == sorted(plugin for name in needed for plugin in plugins[name]), extra


@pytest.mark.feature("S001-31")
def test_a_part_that_is_missing_is_told_by_the_name_of_its_distribution() -> None:
    for distribution, plugins in offered().items():
        for kind, name in plugins:
            with pytest.raises(PluginNotFoundError) as missing:
                Index().find(kind, name)
            assert missing.value.hint == f"pip install {distribution}"
