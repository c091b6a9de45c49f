"""Each fault of the wire, in a whole answer and in a stream, is told as what it is and leaves nothing.

Here with retries on; `python noxfile.py reliability` makes each call without them as well.
"""

import pytest

pytest.importorskip("gleitzeit_plugin_openai")

from tests.reliability.cases import CASES
from tests.reliability.matrix import RETRIES, check

PATIENCE = 50  # the session is strict about time, the tests are not


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_fault_is_the_right_error_in_time_after_as_many_tries_as_can_help_and_leaves_nothing(
    case, streamed
):
    assert (await check(case, streamed, RETRIES, patience=PATIENCE)).problems == []


@pytest.mark.parametrize("name", ["503", "reset before the head", "400"])
async def test_without_retries_the_upstream_is_asked_once(name):
    case = next(case for case in CASES if case.name == name)
    cell = await check(case, streamed=False, patience=PATIENCE)
    assert cell.problems == []
    assert cell.asked == 1
