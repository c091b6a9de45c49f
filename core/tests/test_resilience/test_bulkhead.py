"""The bulkhead: no more calls at once than places, in the order they came, and no place is lost."""

import asyncio
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gleitzeit.errors import QueueFullError
from gleitzeit.resilience.bulkhead import Bulkhead


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_places_are_taken_at_once_until_there_are_none():
    bulkhead = Bulkhead(2, 10)
    assert [bulkhead.take() for _ in range(3)] == [True, True, False]
    bulkhead.give()
    assert bulkhead.take()
    assert bulkhead.in_use == 2


async def test_who_comes_first_is_served_first_and_nobody_overtakes():
    bulkhead = Bulkhead(1, 10)
    served = []

    async def call(number):
        await bulkhead.wait(None)
        served.append(number)

    assert bulkhead.take()
    tasks = [asyncio.create_task(call(number)) for number in range(4)]
    await turn()
    assert bulkhead.waiting == 4
    for count in range(1, 5):
        bulkhead.give()
        assert not bulkhead.take()  # the place belongs to the one who waits
        await turn()
        assert served == list(range(count))
    await asyncio.gather(*tasks)
    bulkhead.give()
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


async def test_a_full_queue_refuses_at_once_and_says_what_to_do():
    bulkhead = Bulkhead(1, 1)
    bulkhead.take()
    waiting = asyncio.create_task(bulkhead.wait(None))
    await turn()
    with pytest.raises(QueueFullError, match=r"all 1 places .* 1 calls wait.*raise bulkhead") as full:
        await bulkhead.wait(None)
    assert full.value.sent is False
    bulkhead.give()
    await waiting
    assert bulkhead.in_use == 1


async def test_no_queue_at_all():
    bulkhead = Bulkhead(1, 0)
    await bulkhead.wait(None)
    with pytest.raises(QueueFullError):
        await bulkhead.wait(None)


async def test_who_has_waited_long_enough_leaves_the_queue():
    bulkhead = Bulkhead(1, 10)
    bulkhead.take()
    patient = asyncio.create_task(bulkhead.wait(None))
    await turn()
    with pytest.raises(QueueFullError, match=r"none of 1 places came free within 0\.01 s.*timeouts\.queue"):
        await bulkhead.wait(0.01)
    assert bulkhead.waiting == 1
    with pytest.raises(QueueFullError):
        await bulkhead.wait(0)
    bulkhead.give()
    await patient
    assert bulkhead.in_use == 1


async def test_a_cancelled_waiter_leaves_the_queue():
    bulkhead = Bulkhead(1, 1)
    bulkhead.take()
    waiting = asyncio.create_task(bulkhead.wait(5))
    await turn()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (bulkhead.in_use, bulkhead.waiting, len(bulkhead._queue)) == (1, 0, 0)


async def test_a_place_given_to_one_who_is_cancelled_in_the_same_moment_goes_on():
    bulkhead = Bulkhead(1, 10)
    bulkhead.take()
    first, second = (asyncio.create_task(bulkhead.wait(None)) for _ in range(2))
    await turn()
    bulkhead.give()  # first has it, and does not know yet
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)


async def test_a_place_given_right_after_a_cancellation_skips_the_cancelled():
    bulkhead = Bulkhead(1, 1)
    bulkhead.take()
    first = asyncio.create_task(bulkhead.wait(None))
    await turn()
    first.cancel()
    second = asyncio.create_task(bulkhead.wait(None))  # its place in the queue is free already
    bulkhead.give()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert bulkhead.in_use == 1


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), places=st.integers(1, 4), queue=st.integers(0, 12))
def test_no_place_is_lost_and_none_given_twice_whatever_is_cancelled(seed, places, queue):
    asyncio.run(_storm(random.Random(seed), places, queue))


async def _storm(dice, places, queue):
    bulkhead = Bulkhead(places, queue)
    inside = set()
    queued, served = [], []

    async def call(number):
        waiting = bulkhead.waiting
        if bulkhead.take():
            assert not waiting, "nobody overtakes"
        else:
            queued.append(number)
            await bulkhead.wait(None if dice.random() < 0.7 else dice.choice([0, 0.0005]))
            served.append(number)
        inside.add(number)
        assert len(inside) <= places
        try:
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
        finally:
            inside.discard(number)
            bulkhead.give()

    tasks = []
    for number in range(40):
        tasks.append(asyncio.create_task(call(number)))
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        if dice.random() < 0.4:
            dice.choice(tasks).cancel()
        assert bulkhead.in_use <= places
        assert bulkhead.waiting <= queue
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError, QueueFullError}
    assert (bulkhead.in_use, bulkhead.waiting, len(bulkhead._queue)) == (0, 0, 0)
    assert served == [number for number in queued if number in served], "first come, first served"
