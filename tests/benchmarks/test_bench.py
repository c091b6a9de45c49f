"""The benchmark itself: it runs, its tables fit, its peers do the same work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.peers import PEERS, version_of
from tests.benchmarks.process import Worker
from tests.benchmarks.rows import Group
from tests.benchmarks.synthetic import make
from tests.benchmarks.table import WIDTH, render, summary

SCRIPT = Path(__file__).with_name("bench.py")


def test_a_run_prints_a_table_that_fits_and_writes_the_same_as_json(tmp_path):
    file = tmp_path / "bench.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--only", "idle", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= WIDTH
    report = json.loads(file.read_text())
    (group,) = report["groups"]
    assert report["quick"] is True
    assert {row["mark"] for row in group["rows"] if row["limit"] is not None} <= {"ok", "over"}
    for row in group["rows"]:
        assert row["name"] in done.stdout
    assert [row["value"] for row in group["rows"] if row["name"] == "plugins imported"] == [0]


def test_an_unknown_group_is_named_with_those_there_are():
    command = [sys.executable, str(SCRIPT), "--only", "weather"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "weather" in done.stderr
    assert "imports" in done.stderr


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_gets_the_right_text_from_the_upstream_whole_and_streamed(name):
    if version_of(PEERS[name]) is None:
        pytest.skip(f"{PEERS[name].distribution} is not installed")
    with Worker("tests.benchmarks.upstream") as upstream:
        url = f"http://127.0.0.1:{upstream.ready['port']}/v1"
        with Worker("tests.benchmarks.worker", name, url) as worker:  # it checks the texts before it is ready
            for ask in ("call", "stream"):
                answer = worker.ask(ask=ask, count=4, width=2)
                assert answer["cpu"] > 0
                assert answer["rate"] > 0


def test_rows_are_marked_by_their_budgets_and_compared_with_their_peers():
    group = Group("g", "Title")
    group.add("fast", 9.0, "µs", limit=10)
    group.add("slow", 11.0, "µs", limit=10, note="word " * 40)
    group.add("many", 2.0, "×", limit=1, at_least=True)
    group.peer("other", 4.5, "µs", ours=9.0)
    group.absent("missing", "peer is not installed", "µs", limit=10)
    assert [row.mark for row in group.rows] == ["ok", "over", "ok", "", ""]
    assert group.rows[3].ratio == 2
    table = render(group)
    assert max(map(len, table.splitlines())) <= WIDTH
    assert "2.00×" in table
    assert "peer is not installed" in table
    assert summary([group], quick=False).splitlines() == [
        "2 of 4 budgets hold, 1 not measured.",
        "  over: g: slow",
    ]


def test_synthetic_plugins_are_as_many_as_asked_for(tmp_path):
    assert len(list(make(tmp_path / "plugins", 7).glob("*.dist-info"))) == 7
