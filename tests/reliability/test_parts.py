"""The short forms of what `python noxfile.py reliability` runs: every limit that they measure holds."""

import json

import pytest

pytest.importorskip("gleitzeit_plugin_openai")
pytest.importorskip("gleitzeit_plugin_mcp_stdio")

from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress, render
from tests.reliability import balance, endurance, reader, servers, session, storm, sweep

PARTS = {
    "endurance": endurance,
    "storm": storm,
    "balance": balance,
    "sweep": sweep,
    "reader": reader,
    "servers": servers,
}
MARKS = {"storm": pytest.mark.feature("S001-16"), "servers": pytest.mark.feature("S004-43")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in PARTS], ids=list(PARTS)
)
async def test_every_limit_of_the_short_form_holds(name):
    group = await PARTS[name].measure(Progress(), True)
    assert [row.name for row in group.rows if row.mark == "over"] == [], render(group)


def test_the_page_gets_what_was_measured_and_keeps_the_rest(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{session.BEGIN}\n\nold\n\n{session.END}\n\nafter\n")
    session.write_page(page, "new")
    session.write_page(page, "newer")
    assert page.read_text() == (f"before\n\n{session.BEGIN}\n\nnewer\n\n{session.END}\n\nafter\n")


def test_the_page_of_the_repository_has_its_marks():
    text = session.PAGE.read_text(encoding="utf-8")
    assert 0 < text.index(session.BEGIN) < text.index(session.END)


def test_what_is_not_met_ends_the_session_with_one(monkeypatch, tmp_path, capsys):
    async def part(progress, quick):
        group = Group("broken", "Broken")
        group.add("faults", 2, "", limit=1)
        return group

    monkeypatch.setattr(session, "PARTS", {"broken": part})
    assert session.main(["--quick", "--json", str(tmp_path / "all.json")]) == 1
    assert "over: broken: faults" in capsys.readouterr().out
    assert json.loads((tmp_path / "all.json").read_text())["groups"][0]["rows"][0]["mark"] == "over"
