"""`gleitzeit tools lock`, `diff` and `approve`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def locked(desk: Any, run: Run) -> Path:
    """A lock file of what the desk offers, which the configuration enforces."""
    desk.config('[host]\ntools_lock = "tools.lock"\n')
    done = run("tools", "lock")
    assert done.code == 0, done.err
    assert "tools.lock: " in done.out
    path: Path = desk.work / "tools.lock"
    return path


def change(path: Path, name: str, **contract: Any) -> None:
    """Have another contract approved than that of the tool: as if the tool had changed since."""
    from gleitzeit.contracts import digest

    data = json.loads(path.read_text())
    pin = data["tools"][name]
    pin["contract"].update(contract)
    pin["sha256"] = digest(pin["contract"])
    path.write_text(json.dumps(data))


def test_nothing_differs_right_after_a_lock(locked: Path, run: Run) -> None:
    done = run("tools", "diff")
    assert (done.code, done.out) == (0, "")
    assert run("tool", "desk/add", "a=1", "b=2").out.strip() == "3"


def test_a_difference_is_shown_and_the_tool_denied_until_it_is_approved(locked: Path, run: Run) -> None:
    change(locked, "desk/add", description="adds up")
    done = run("tools", "diff")
    assert done.code == 1
    assert "desk/add: changed (tools)" in done.out
    assert '-  "description": "adds up"' in done.out
    assert '+  "description": "adds two numbers"' in done.out
    denied = run("tool", "desk/add", "a=1", "b=2")
    assert denied.code == 6
    assert "gleitzeit tools approve 'desk/add'" in denied.err
    [row] = [row for row in run("tools", "--live", "--json").json()["tools"] if row["name"] == "desk/add"]
    assert row["note"].startswith("quarantined: it has changed")
    assert "did you mean desk/add?" in run("tools", "approve", "add").err
    approved = run("tools", "approve", "desk/a*")
    assert "desk/add: approved (changed)" in approved.out
    # What is approved is what is there now, which may not be what a diff has shown.
    assert '+  "description": "adds two numbers"' in approved.out
    assert run("tool", "desk/add", "a=1", "b=2").out.strip() == "3"


def test_tools_that_came_and_went_are_told_and_approved(locked: Path, run: Run) -> None:
    data = json.loads(locked.read_text())
    data["tools"]["desk/old"] = data["tools"].pop("desk/fail")
    locked.write_text(json.dumps(data))
    found = run("tools", "diff", "--json")
    assert found.code == 1
    assert [(each["name"], each["what"]) for each in found.json()["changes"]] == [
        ("desk/fail", "new"),
        ("desk/old", "gone"),
    ]
    assert run("tools", "approve", "desk/fail", "desk/old", "--json").json()["approved"] == [
        "desk/fail",
        "desk/old",
    ]
    assert run("tools", "diff").code == 0


def test_a_lock_that_is_written_anew_tells_what_it_approves(locked: Path, run: Run) -> None:
    change(locked, "desk/add", description="adds up")
    done = run("tools", "lock")
    assert "desk/add: approved (changed)" in done.out
    assert '-  "description": "adds up"' in done.out
    assert run("tools", "lock", "--json").json()["approved"] == []


def test_approving_what_has_not_changed_is_told(locked: Path, run: Run) -> None:
    done = run("tools", "approve", "desk/add")
    assert done.code == 2
    assert "gleitzeit tools diff" in done.err


def test_without_a_lock_file_the_next_step_is_told(desk: Any, run: Run) -> None:
    for words in (("diff",), ("approve", "x")):
        done = run("tools", *words)
        assert done.code == 3
        assert "gleitzeit tools lock" in done.err


def test_a_search_without_its_plugin_says_what_to_install(desk: Any, run: Run) -> None:
    desk.config('[host]\ndeny = ["gleitzeit-plugin-tool-search"]\n')
    done = run("tools", "search", "add", "numbers")
    assert done.code == 4
    assert "pip install gleitzeit-plugin-tool-search" in done.err


def test_a_narrow_terminal_is_told_the_names(desk: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gleitzeit.cli.output import Output

    monkeypatch.setattr(Output, "cells", 30)
    assert "desk/add" in run("tools", "--live").out


@pytest.mark.parametrize("words", [(), ("desk/*",), ("list", "desk/*"), ("--quiet",)])
def test_list_may_be_left_out(desk: Any, run: Run, words: tuple[str, ...]) -> None:
    rows = run("tools", *words, "--json").json()["tools"]
    assert "desk" in [row["instance"] for row in rows]
