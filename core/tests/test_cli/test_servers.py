"""The command line with a real MCP server that nobody here wrote."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.discovery import scan
from gleitzeit.errors import PluginError

Process = Callable[..., Any]


@pytest.fixture(autouse=True)
def _clock(site: Any) -> None:
    """A configured server `time`."""
    pytest.importorskip("mcp_server_time")
    try:
        scan().find("provider", "mcp")
        scan().find("transport", "stdio")
    except PluginError as error:
        pytest.skip(f"needs installed plugins: {error}")
    site.config(f"[servers.time]\ncommand = {sys.executable!r}\nargs = ['-m', 'mcp_server_time']\n")


def test_tools_of_a_server_are_known_when_it_was_asked(process: Process) -> None:
    quiet = process("tools", "time/*")
    assert [line.split(maxsplit=2) for line in quiet.stdout.splitlines()][1] == [
        *("time/…", "none", "not asked; use --live"),
    ]
    live = process("tools", "time/*", "--live")
    assert [line.split()[:2] for line in live.stdout.splitlines()[1:]] == [
        ["time/convert_time", "none"],
        ["time/get_current_time", "none"],
    ]


def test_tool_of_a_server_is_run_with_typed_arguments(process: Process) -> None:
    words = ["source_timezone=UTC", "time=12:00", "target_timezone=Asia/Tokyo"]
    done = process("tool", "time/convert_time", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"]["datetime"].split("T")[1] == "21:00:00+09:00"


def test_failure_of_a_tool_is_an_exit_code(process: Process) -> None:
    done = process("tool", "time/get_current_time", "timezone=Nowhere/Land")
    assert done.returncode == 8
    assert "Nowhere/Land" in done.stdout


def test_missing_argument_is_told_by_the_schema_of_the_server(process: Process) -> None:
    done = process("tool", "time/get_current_time")
    assert done.returncode == 2
    assert "hint: gleitzeit tool time/get_current_time timezone=<string>" in done.stderr


def test_live_plugins_show_the_server_active_and_its_sandbox(process: Process) -> None:
    done = process("plugins", "--live", "--json")
    [row] = [row for row in json.loads(done.stdout)["plugins"] if row["instance"] == "time"]
    assert (row["state"], row["sandbox"]) == ("active", "none")


def test_server_that_cannot_start_is_told_beside_the_others(site: Any, process: Process) -> None:
    text = (site.work / "gleitzeit.toml").read_text()
    site.config(text + "[servers.gone]\ncommand = 'no-such-program-anywhere'\n")
    done = process("tools", "--live")
    assert "time/convert_time" in done.stdout
    assert "no-such-program-anywhere" in done.stderr
