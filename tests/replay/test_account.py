"""The account of all recordings, on made-up ones: what nobody took and nothing explains is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gleitzeit.values import Reply
from tests.replay.account import account
from tests.replay.deciders import OpenAIDecider
from tests.replay.decisions import Judged
from tests.replay.recordings import Interaction, Recordings
from tests.replay.table import errors_console, errors_page
from tests.replay.vendor import Seen, Vendor


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """One that is taken, one with a reason, and one that is forgotten."""
    cassette = """
    interactions:
    - request: {method: post, uri: "https://acme.test/v1/say", body: null}
      response: {status: {code: 200}, headers: {}, parsed_body: {}}
    """
    (tmp_path / "a.yaml").write_text(cassette, encoding="utf-8")
    wheres = [("acme", "say"), ("other:acme.test", "download"), ("acme", "shout")]
    rows = [
        {"file": "a.yaml", "n": 0, "provider": provider, "op": op, "stream": False, "status": 200}
        for provider, op in wheres
    ]
    rows[1]["file"], rows[2]["file"] = "b.yaml", "c.yaml"
    for name in ("b.yaml", "c.yaml"):
        (tmp_path / name).write_text(cassette, encoding="utf-8")
    (tmp_path / "INDEX.json").write_text(json.dumps(rows))
    return Recordings(tmp_path)


class Acme(Vendor):
    """Takes what is said."""

    name = "acme"
    providers = ("acme",)
    ops = ("say",)

    async def ours(self, interaction: Interaction) -> Reply:
        raise NotImplementedError

    async def theirs(self, interaction: Interaction) -> Seen:
        raise NotImplementedError


def test_what_nothing_explains_is_told(recordings: Recordings) -> None:
    counted = account([Acme], recordings)
    assert (counted.total, counted.replayed, counted.explained.total()) == (3, 1, 1)
    assert counted.unexplained == ["c.yaml#0 (acme shout)"]
    assert str(counted) == "3 in the index = 1 replayed + 1 with a reason + 1 with none"
    assert "| other 1 | media fetched" in counted.table()


def test_what_two_rows_take_does_not_add_up(recordings: Recordings) -> None:
    counted = account([Acme, Acme], recordings)
    assert counted.total != counted.replayed + counted.explained.total() + len(counted.unexplained)


def test_errors_are_told_with_their_reasons() -> None:
    known = OpenAIDecider.deviations[0]
    judged = Judged("openai", "openai 1", recorded=2, made=3, equal=4, deviations=Counter({known.name: 1}))
    text = errors_page([OpenAIDecider], [judged])
    assert "| openai | 2 | 3 | 4 | 1 | openai 1 |" in text
    assert f"| {known.name} | {known.reason} | openai 1 |" in text
    judged.failures.append("x: ours")
    assert "FAILED x: ours" in errors_console([judged])
