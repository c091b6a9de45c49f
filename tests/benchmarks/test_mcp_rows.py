"""The rows about MCP: clients give the right text, and what cannot be had is a row that says so."""

import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.benchmarks.mcp import ERAS, LOCAL, relay
from tests.benchmarks.mcp.fleet import ALIVE, config
from tests.benchmarks.mcp.gateways import GATEWAYS, Gateway
from tests.benchmarks.mcp.wires import client_of, share
from tests.benchmarks.process import BenchError, Worker
from tests.benchmarks.rows import Group
from tests.benchmarks.table import WIDTH, render

NOWHERE = "http://127.0.0.1:9/mcp"


@pytest.mark.parametrize("client", ["direct", "host"])
def test_a_client_measures_its_calls_in_both_eras_and_says_what_fails(client):
    with Worker("tests.benchmarks.mcp.server", "http") as server:
        entry = {"url": f"http://127.0.0.1:{server.ready['port']}/mcp"}
        with client_of(client, LOCAL) as local, client_of(client, entry) as remote:
            for worker, era in ((local, ERAS[0]), (remote, ERAS[1])):
                answer = worker.ask(era=era, count=8, width=2)
                assert answer["p50"] > 0
                assert answer["rate"] > 0
        with client_of(client, {**entry, "tool": "no_such_tool"}) as wrong:
            for _ in range(2):  # it can be asked again
                with pytest.raises(BenchError):
                    wrong.ask(era=ERAS[0], count=1, width=1)


def _gateway(title: str, code: str, environment: str | None = None) -> Gateway:
    return Gateway(title, "pytest", lambda python, *_: [python, "-c", code], environment)


def test_a_gateway_that_cannot_be_had_is_a_row_that_says_why(monkeypatch):
    gateways = {
        "gleitzeit": _gateway("ours", "raise SystemExit('cannot serve')"),
        "mcp-proxy": _gateway("elsewhere", "", "not-made"),
    }
    monkeypatch.setattr(relay, "GATEWAYS", gateways)
    with ExitStack() as stack:
        there, absent = relay.start(stack, gateways, NOWHERE)
    assert there == {}
    assert absent["gleitzeit"] == "not here: it ended with 1: cannot serve"
    assert "the session bench makes it" in absent["mcp-proxy"]
    group = Group("g", "Title")
    relay._rows(group, there, absent, "a call", {}, "µs", 1)
    relay._share(group, absent, "as a share", {}, (relay.OURS, relay.PROXY), 1)
    assert [row.value for row in group.rows] == [None, None, None]
    table = render(group)
    assert "cannot serve" in table
    assert "without ours" in table
    assert max(map(len, table.splitlines())) <= WIDTH


def test_a_gateway_that_fails_while_it_is_measured_is_absent_from_then_on():
    asked = []

    def broken() -> float:
        asked.append(1)
        raise BenchError("`a worker`:\nMCPError: too many requests")

    absent: dict[str, str] = {}
    subject = relay._guarded(broken, "proxy", absent)
    assert [subject(), subject()] == [0.0, 0.0]
    assert asked == [1]
    assert absent == {"proxy": "not here: MCPError: too many requests"}


def test_an_era_that_a_gateway_lacks_is_not_measured_twice():
    both = relay.Started("new", None, 1.0, {"modern": "2026-07-28", "legacy": "2025-11-25"})
    one = relay.Started("old", None, 1.0, {"modern": "2025-11-25", "legacy": "2025-11-25"})
    itself = relay.Started("server", None, None, {})
    assert (both.eras, one.eras, itself.eras) == (ERAS, ("legacy",), ERAS)


def test_shares_are_taken_round_by_round():
    assert share({"host": [1.0, 20.0, 3.0], "direct": [1.0, 10.0, 1.0]}) == 2.0


def test_the_fleet_has_ten_that_live_and_two_kinds_that_do_not():
    servers = config(90, eager=True)["servers"]
    commands = [entry["command"] for name, entry in servers.items() if name.startswith("slow")]
    assert len(servers) == 90 + ALIVE
    assert commands.count(sys.executable) == 45
    assert all(entry["sandbox"] == "none" and entry["eager"] for entry in servers.values())


def test_every_environment_of_a_gateway_is_pinned_and_used():
    folder = Path(__file__).with_name("environments") / "gateways"
    files = {path.stem: path.read_text() for path in folder.glob("*.txt")}
    assert set(files) == {gateway.environment for gateway in GATEWAYS.values() if gateway.environment}
    for text in files.values():
        pins = [line for line in text.splitlines() if not line.startswith("#")]
        assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[\w.+!]+(?: ; .+)?", line)] == []
