"""Whether to ask again, and when: what we decide on an error is what the vendor's SDK decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from gleitzeit.errors import OverloadedError, QuotaExhaustedError
from tests.replay.deciders import DECIDERS, Decider
from tests.replay.decisions import Decision, decided, deviates, judge
from tests.replay.playback import Playback
from tests.replay.recordings import Recordings

EACH = pytest.mark.parametrize("kind", DECIDERS, ids=lambda kind: kind.name)


@EACH
async def test_made_errors(kind: type[Decider]) -> None:
    play = Playback()
    async with play.client:
        judged = await judge(kind(play), ())
    assert judged.failures == []
    assert judged.made == judged.equal + sum(judged.deviations.values())
    assert judged.made > 150
    idle = {one.name for one in kind.deviations} - judged.deviations.keys()
    assert not idle, "a difference that explains nothing"


@pytest.mark.shared
@pytest.mark.feature("S004-42")
@pytest.mark.parametrize("kind", [kind for kind in DECIDERS if kind.providers], ids=lambda kind: kind.name)
async def test_recorded_errors(kind: type[Decider], shared: Path) -> None:
    play = Playback()
    async with play.client:
        judged = await judge(kind(play), Recordings(shared / "recorded").errors(kind.providers), plus=False)
    assert judged.failures == []
    assert judged.recorded > 0


def test_what_our_errors_say() -> None:
    error = OverloadedError("busy", retry_after=7.0)
    assert decided(error) == Decision(family="capacity", retry=True, wait=7.0)
    assert not decided(QuotaExhaustedError("pay")).retry


@pytest.mark.parametrize(
    "theirs, differ",
    [
        (Decision(family="capacity", retry=True, wait=7.0), False),
        (Decision(family=None, retry=True, wait=7.0), False),
        (Decision(family="upstream", retry=True, wait=7.0), True),
        (Decision(family="capacity", retry=False), True),
        (Decision(family="capacity", retry=True), True),
        (Decision(family="capacity", retry=True, wait=7.5), True),
    ],
)
def test_every_difference_is_one(theirs: Decision, differ: bool) -> None:
    assert deviates(Decision(family="capacity", retry=True, wait=7.0), theirs) is differ


def test_of_a_date_both_need_only_have_read_it() -> None:
    ours = Decision(family="capacity", retry=True, wait=109.0)
    assert not deviates(ours, Decision(family="capacity", retry=True, wait=95.5), dated=True)
    assert deviates(ours, Decision(family="capacity", retry=True), dated=True)
