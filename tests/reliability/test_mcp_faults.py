"""The short form of the faults of MCP servers, and the page that tells of all of them."""

import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gleitzeit_plugin_mcp_stdio")
pytest.importorskip("gleitzeit_plugin_mcp_http")
pytest.importorskip("gleitzeit_plugin_mcp_grpc")

from gleitzeit.errors import DeadlineError, ProcessDiedError
from tests.benchmarks.process import ROOT
from tests.benchmarks.table import Progress
from tests.reliability import session
from tests.reliability.mcp_faults import part
from tests.reliability.mcp_faults.cases import FAULTS, Fault
from tests.reliability.mcp_faults.scene import Asked, Scene, Seen, stdio

QUICK = [fault for fault in FAULTS if fault.quick]


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    """gRPC has one engine a process, which it ends at leisure once nothing uses it: keep it for all tests."""
    import grpc

    with grpc.insecure_channel("127.0.0.1:1"):
        yield


@pytest.fixture(autouse=True)
def _poller(_engine: None) -> Iterator[None]:
    """gRPC's thread ends when the last channel is collected."""
    yield
    gc.collect()


@pytest.mark.feature("S004-43")
@pytest.mark.parametrize("fault", QUICK, ids=[f"{fault.wire}: {fault.name}" for fault in QUICK])
async def test_a_fault_is_told_rightly_and_leaves_nothing_and_no_sibling_notices(fault: Fault) -> None:
    async with part.engine():
        seen = await part.provoked(fault, Progress(), True)
    assert seen.problems == []
    assert seen.healed is not None or fault.heals is None


async def test_a_frozen_server_is_replaced_without_waiting_for_its_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Progress(), quick=True)
    entry = stdio(scene.log("victim"), hang_timeout=0.2) | {"options": {"grace": 120}}
    async with scene.open(entry):
        call = await scene.flying(timeout=0.5)
        os.kill(await scene.pid(), signal.SIGSTOP)
        assert isinstance((await call).error, DeadlineError)
        await scene.heals()  # else it raises, long before that end


def table(fault: Fault, seen: Seen) -> part.Faults:
    seen.left = {"processes": 0, "tasks": 0, "descriptors": 0} | seen.left
    group = part.Faults("mcp", "faults", seen=[(fault, [seen])])
    part.judge(fault, seen, False)
    part.summarize(group, False)
    return group


def good() -> Seen:
    met = Asked(1.0, 0.0, 1.0, error=DeadlineError("late"))
    return Seen(met, late=0.002, by_deadline=True, asked=30, answered=30, healed=0.01)


async def nothing(scene: object) -> None:
    """The way of a fault that is only talked about."""


FROZEN = Fault("frozen", "stdio", nothing, DeadlineError, None, 0.05, test="test_it")


def test_a_row_says_how_the_call_ended_when_and_what_became_of_the_rest() -> None:
    group = table(FROZEN, good())
    assert not [row.name for row in group.rows if row.mark == "over"]
    assert group.markdown().splitlines()[-1] == (
        "| frozen | stdio | `DeadlineError`, perhaps sent | 2 ms after its deadline | 30 of 30 answered "
        "| 10 ms | nothing | `test_it` |"
    )
    assert "perhaps sent" in group.text()
    assert group.to_dict()["faults"][0]["runs"][0]["met"] == "`DeadlineError`, perhaps sent"


@pytest.mark.parametrize(
    "change",
    [
        {"met": Asked(1.0, error=ProcessDiedError("dead"))},
        {"met": Asked(1.0, text="answered")},
        {"met": Asked(1.0, error=DeadlineError("late", sent=False))},
        {"late": 0.2},
        {"answered": 29},
        {"healed": 0.06},
        {"healed": None},
        {"left": {"processes": 1}},
        {"problems": ["the sibling was touched"]},
    ],
)
def test_what_is_not_as_it_must_be_is_over(change: dict[str, object]) -> None:
    seen = good()
    for name, value in change.items():
        setattr(seen, name, value)
    assert [row.name for row in table(FROZEN, seen).rows if row.mark == "over"]


def test_the_page_has_a_row_for_each_fault_in_this_order() -> None:
    text = session.FAULTS.read_text(encoding="utf-8")
    written = text.partition(session.FIRST)[2].partition(session.LAST)[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|.*\| (\S+?(?: in core)?) \|$", written, re.MULTILINE)[2:]
    assert rows == [(fault.name, fault.wire, part.shown_by(fault)) for fault in FAULTS]


def test_the_tests_that_the_table_names_exist() -> None:
    files = [*ROOT.glob("plugins/*/*/tests/test_*.py")]
    there = "\n".join(file.read_text(encoding="utf-8") for file in files)
    core = "\n".join(file.read_text(encoding="utf-8") for file in ROOT.glob("core/tests/**/test_*.py"))
    named = [fault for fault in FAULTS if fault.test]
    assert [
        fault.test for fault in named if f"def {fault.test}(" not in (core if fault.core else there)
    ] == []


def test_a_part_alone_writes_its_table_and_leaves_the_page_of_all(monkeypatch, tmp_path) -> None:
    async def measured(progress: Progress, quick: bool) -> part.Faults:
        return table(FROZEN, good())

    page, all = tmp_path / "mcp.md", tmp_path / "reliability.md"
    page.write_text(f"before\n\n{session.FIRST}\n\nold\n\n{session.LAST}\n\nafter\n")
    all.write_text("untouched")
    monkeypatch.setattr(session, "PARTS", {"mcp": measured})
    monkeypatch.setattr(session, "FAULTS", page)
    monkeypatch.setattr(session, "PAGE", all)
    assert session.main(["--only", "mcp", "--write-docs"]) == 0
    assert all.read_text() == "untouched"
    text = page.read_text()
    assert text.startswith(f"before\n\n{session.FIRST}\n\n")
    assert text.endswith(f"\n\n{table(FROZEN, good()).markdown()}\n\n{session.LAST}\n\nafter\n")
    assert "old" not in text
