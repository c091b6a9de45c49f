"""What the session makes of the suite's words, and how it says that a part is missing."""

import json
import re
import sys
from pathlib import Path

import pytest
from attrs import evolve

from tests.conformance import page, parts, servers, session, suite, upstreams
from tests.conformance.upstreams import Call

SAID = """
=== Running scenario: ping ===
✗ noise: 0 passed, 1 failed

=== SUMMARY ===
✓ ping: 2 passed, 0 failed
✗ tools-list: 1 passed, 2 failed
✓ auth/basic-cimd: 0 passed, 0 failed
✗ tasks-lifecycle: 1 passed, 8 failed

Total: 4 passed, 10 failed

Not scored for 2026-07-28: 1 scenario(s) run, 1 failing. These do not affect conformance.
  ✗ tasks-lifecycle (extension)
"""


def test_the_outcome_is_read_from_the_summary_alone() -> None:
    leg = suite.read("direct", "2026-07-28", SAID)
    assert leg.scored == {"ping": (2, 0), "tools-list": (1, 2), "auth/basic-cimd": (0, 0)}
    assert leg.unscored == {"tasks-lifecycle": (1, 8)}
    assert leg.failed == ("tools-list", "auth/basic-cimd")  # where nothing was checked, nothing holds
    assert (leg.passed, leg.checks) == (1, 3)
    assert "1 of 3" in page.suite_table([leg])
    assert "FAILED tools-list" in page.told(leg)


@pytest.mark.parametrize(
    "folder, name",
    [
        ("server-tools-list-2026-11-21T17-08-56-703Z", "tools-list"),
        ("server-server-initialize-2026-11-21T17-08-56-703Z", "server-initialize"),
        ("auth/basic-cimd-2026-11-21T17-08-56-703Z", "auth/basic-cimd"),
    ],
)
def test_failed_checks_are_found_in_the_folder_of_results(tmp_path: Path, folder: str, name: str) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    checks = [
        {"id": "good", "status": "SUCCESS"},
        {"id": "bad", "status": "FAILURE", "errorMessage": "it is missing"},
    ]
    (place / "checks.json").write_text(json.dumps(checks), encoding="utf-8")
    assert suite.faults(tmp_path) == {name: ["bad: it is missing"]}


@pytest.mark.parametrize("part", session.PARTS)
def test_a_part_that_is_not_installed_is_skipped_with_its_reason(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CONFORMANCE_NODE", raising=False)
    monkeypatch.setattr(session, "_rows", _missing)
    assert session.main(["--only", part]) == 0
    out = capsys.readouterr().out
    assert f"{part}: SKIPPED" in out
    assert "could not be installed" in out


def _missing(name: str) -> list[dict[str, str]]:
    raise parts.Missing(f"{name} could not be installed")


def test_a_table_replaces_what_stood_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    marks = [f"<!-- clients: {word} -->" for word in (f"what `{page.COMMAND}` wrote", "until here")]
    file.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n", encoding="utf-8")
    rows = [{"client": "a", "from": "b", "wire": "c", "fault": "1 | 2\n3"}]
    page.write(file, "clients", page.ROWS["clients"](rows))
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "**failed**: 1 \\| 2 3" in text
    with pytest.raises(SystemExit, match="suite"):
        page.write(file, "suite", "")


def test_a_server_that_does_not_start_is_told_with_its_words() -> None:
    with (
        pytest.raises(RuntimeError, match="no such thing"),
        parts.serving([sys.executable, "-c", "print('no such thing')"]),
    ):
        raise AssertionError("it serves")


def test_a_server_that_ends_before_its_port_answers_is_told_with_its_words() -> None:
    command = [sys.executable, "-c", "import os; print('no such ' + os.environ['THING'])"]
    with (
        pytest.raises(RuntimeError, match="no such thing"),
        parts.reserved_port() as port,
        parts.listening(command, port, {"THING": "thing"}),
    ):
        raise AssertionError("it serves")


[SDK] = [peer for peer in upstreams.SERVERS if peer.name == "a server on the SDK for Python"]


async def test_a_server_is_asked_everything_over_a_wire() -> None:
    [way] = [way for way in SDK.ways if (way.wire, way.protocol) == ("HTTP", "2026-07-28")]
    assert await servers.examine(SDK, way) == {
        "server": "a server on the SDK for Python",
        "from": "PyPI",
        "wire": "HTTP",
        "protocol": "2026-07-28",
        "offers": "8 tools, 2 resources, 1 prompt",
        "exercised": "5 tools called (2 that asked back, one with progress, one that failed), "
        "16 calls at once, one cancelled, a new tool heard of, 2 resources read, 1 prompt rendered",
    }


async def test_a_server_that_says_something_else_is_a_fault() -> None:
    [way] = [way for way in SDK.ways if (way.wire, way.protocol) == ("stdio", "2025-11-25")]
    wrong = evolve(SDK, calls=(Call("add", {"a": 2, "b": 2}, said="five"),))
    row = await servers.examine(wrong, way)
    assert row["fault"] == "AssertionError: add said '4', without 'five'"
    assert "exercised" not in row


def test_an_environment_that_nobody_wrote_down_is_no_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFORMANCE_OLD", raising=False)
    with pytest.raises(parts.Missing, match="conformance-old"):
        parts.programs("old")
    with pytest.raises(LookupError, match=r"odl\.txt"):  # else its rows would be left out for ever
        parts.programs("odl")


def test_the_tests_of_the_fault_table_exist() -> None:
    text = session.PAGE.read_text(encoding="utf-8").partition("## Faults")[2]
    named = re.findall(r"`(test_\w+)` \|$", text, re.MULTILINE)
    folders = [
        parts.ROOT / "plugins" / "providers" / "mcp",
        *(parts.ROOT / "plugins" / "transports").iterdir(),
    ]
    found = "\n".join(
        file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("tests/test_*.py")
    )
    assert named
    assert [name for name in named if f"def {name}(" not in found] == []
