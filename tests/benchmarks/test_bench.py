"""The benchmark itself: it runs, its tables fit, its peers do the same work."""

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.benchmarks import calls, page, plot
from tests.benchmarks.peers import PEERS, ROOT, About
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
    if (why := PEERS[name].missing()) is not None:
        pytest.skip(why)
    with Worker("tests.benchmarks.upstream") as upstream:
        url = f"http://127.0.0.1:{upstream.ready['port']}/v1"
        with calls.worker(name, url) as worker:  # it checks the texts before it is ready
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


def test_a_peer_that_cannot_be_had_is_a_row_that_says_so(monkeypatch):
    nowhere = About("elsewhere", "elsewhere-sdk", "openai_sdk:OpenAISDK", environment="not-made")
    broken = About("broken", "pytest", "no_such_module:Peer")
    peers = {"gleitzeit": PEERS["gleitzeit"], "elsewhere": nowhere, "broken": broken}
    monkeypatch.setattr(calls, "PEERS", peers)
    with ExitStack() as stack:
        upstream = stack.enter_context(Worker("tests.benchmarks.upstream"))
        url = f"http://127.0.0.1:{upstream.ready['port']}/v1"
        monkeypatch.setattr(
            calls,
            "worker",
            lambda name, url: Worker(
                "tests.benchmarks.worker", "gleitzeit" if name != "broken" else name, url
            ),
        )
        clients, absent = calls.start(stack, url)
    assert list(clients) == ["gleitzeit"]
    assert "the session bench makes it" in absent["elsewhere"]
    assert "KeyError: 'broken'" in absent["broken"]


def test_peers_are_described_without_importing_their_packages():
    code = (
        "import sys; from tests.benchmarks import worker; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    packages = ["gleitzeit", "httpx2", "openai", "litellm", "any_llm", "httptools", "msgspec", "attrs"]
    command = [sys.executable, "-c", code, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_environment_of_a_peer_is_pinned_and_used():
    files = {path.stem: path.read_text() for path in Path(__file__).with_name("environments").glob("*.txt")}
    assert set(files) == {about.environment for about in PEERS.values() if about.environment is not None}
    for text in files.values():
        pins = [line for line in text.splitlines() if not line.startswith("#")]
        assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[\w.+!]+(?: ; .+)?", line)] == []


def test_figures_of_a_client_come_together_in_the_order_of_the_peers():
    first, second = Group("a", "A"), Group("b", "B")
    first.figure("openai", call=2.0)
    first.figure("gleitzeit", call=1.0)
    first.versions["gleitzeit"] = "gleitzeit 7"
    second.figure("gleitzeit", import_cpu=3.0)
    assert plot.figures_of([first, second]) == {
        "gleitzeit": {"title": "gleitzeit 7", "call": 1.0, "import_cpu": 3.0},
        "openai": {"title": "openai SDK", "call": 2.0},
    }


def test_the_page_gets_new_tables_between_its_marks_and_keeps_the_rest():
    before = f"# Title\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n"
    after = page.between(before, "new")
    table = "```text\nnew\n```"
    assert after == f"# Title\n\n{page.BEGIN}\n\n{page.PICTURE}\n\n{table}\n\n{page.END}\n\nAfter.\n"
    assert page.between(after, "new") == after
    with pytest.raises(ValueError, match="has no <!-- bench: begin -->"):
        page.between("# Title\n", "new")


def test_the_documented_page_has_the_marks():
    text = (ROOT / page.FOLDER / "performance.md").read_text(encoding="utf-8")
    assert page.between(text, "new") != text


@pytest.mark.skipif(plot.missing() is not None, reason="matplotlib is not installed")
def test_a_picture_is_drawn_also_where_figures_are_missing_or_no_more_than_nothing(tmp_path):
    figures = {
        "gleitzeit": {"title": "gleitzeit 1", "call": 10.0, "growth": 0.0, "memory": 1.0},
        "openai": {"title": "openai SDK 3", "call": 0.0, "chunk": 3.0},
    }
    code = (
        "import json, sys; from pathlib import Path; from tests.benchmarks import plot; "
        "plot.draw(json.loads(sys.argv[1]), 'here', Path(sys.argv[2]))"
    )
    file = tmp_path / "picture.png"  # in a process of its own: matplotlib warns and leaves caches
    command = [sys.executable, "-c", code, json.dumps(figures), str(file)]
    subprocess.run(command, check=True, cwd=ROOT)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_documentation_is_written_only_from_a_whole_run():
    command = [sys.executable, str(SCRIPT), "--quick", "--write-docs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--write-docs wants a whole run" in done.stderr
