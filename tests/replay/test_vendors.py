"""Every recorded interaction of every vendor: what we make of it is what the vendor's SDK makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replay.account import REASONS, account
from tests.replay.recordings import Recordings
from tests.replay.runner import chosen, run
from tests.replay.vendor import Vendor
from tests.replay.vendors import found

ROWS, ABSENT = found()


@pytest.fixture(scope="module")
def recordings(shared: Path) -> Recordings:
    """All recordings; files are parsed once for all vendors."""
    return Recordings(shared / "recorded")


def test_every_vendors_module_can_be_loaded() -> None:
    assert ABSENT == {}
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.shared
@pytest.mark.feature("S004-03", "S004-04", "S004-05")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_recordings(row: type[Vendor], recordings: Recordings) -> None:
    tally = await run(row, chosen(row, recordings), nth=4)  # the session takes all
    assert tally.failures == []
    assert tally.interactions > 0
    assert tally.passed + len(tally.listed) == tally.interactions


@pytest.mark.shared
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_what_is_listed_is_there(row: type[Vendor], recordings: Recordings) -> None:
    """A list that grew stale would hide what comes next."""
    there = {name for one in chosen(row, recordings) for name in (one.name, one.file)}
    assert {*row.listed, *row.excused} <= there


@pytest.mark.shared
def test_every_recording_has_a_row_or_a_reason(recordings: Recordings) -> None:
    counted = account(ROWS, recordings)
    assert counted.unexplained == []
    assert counted.total == counted.replayed + counted.explained.total()


@pytest.mark.shared
def test_every_reason_is_one(recordings: Recordings) -> None:
    counted = account(ROWS, recordings)
    assert {reason for _, reason in counted.explained} == {reason for *_, reason in REASONS}
