"""One timer for many deadlines: nothing early, nothing lost, nothing twice, and few looks."""

import asyncio
import gc
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import DeadlineError
from gleitzeit.resilience import Clock, Deadline, Lease


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


class Note:
    """An entry that writes down when it was rung; `again` adds it anew so many seconds later."""

    def __init__(self, due, clock=None, again=()):
        self.due = due
        self.clock = clock
        self.again = list(again)
        self.rung = []

    def ring(self, now):
        self.rung.append((self.due, now))
        if self.again:
            self.due = now + self.again.pop(0)
            self.clock.add(self)


def pass_until(clock, until):
    """Let the time pass as the timer would see it."""
    while clock.next_at <= until:
        clock.now.seconds = max(clock.now.seconds, clock.next_at)
        clock.fire()
    clock.now.seconds = until


async def test_entries_ring_in_order_and_are_gone():
    clock = Clock(now=Time())
    notes = [Note(100 + seconds) for seconds in (3, 1, 2, 1)]
    for note in notes:
        clock.add(note)
    assert clock.next_at == 101
    pass_until(clock, 102.5)
    assert [note.rung for note in notes] == [[], [(101, 101)], [(102, 102)], [(101, 101)]]
    assert len(clock) == 1
    pass_until(clock, 200)
    assert (len(clock), clock.next_at) == (0, math.inf)


async def test_a_call_that_ends_in_time_costs_no_timer_of_its_own():
    """Later deadlines do not arm, and what was taken back does not disarm."""
    clock = Clock(now=Time())
    for number in range(1000):
        note = Note(160.0 + number / 1000)
        clock.add(note)
        clock.discard(note)
    assert (clock.firings, clock.next_at) == (0, 160.0)
    pass_until(clock, 161)
    assert (clock.firings, clock.next_at) == (1, math.inf)


async def test_the_timer_of_one_that_is_gone_moves_on_to_the_earliest_that_is_left():
    clock = Clock(now=Time())
    gone, stays = Note(101.0), Note(150.0)
    clock.add(gone)
    clock.add(stays)
    clock.discard(gone)
    pass_until(clock, 149)
    assert (clock.firings, clock.next_at, gone.rung) == (1, 150.0, [])
    pass_until(clock, 150)
    assert stays.rung == [(150.0, 150.0)]


async def test_many_that_come_due_one_by_one_are_not_searched_for_one_by_one(monkeypatch):
    clock = Clock(now=Time())
    notes = [Note(101 + number / 1000) for number in range(1000)]
    looks = []
    look = Clock._look
    monkeypatch.setattr(Clock, "_look", lambda self, now: looks.append(now) or look(self, now))
    for note in notes:
        clock.add(note)
    pass_until(clock, 103)
    assert all(len(note.rung) == 1 for note in notes)
    assert len(looks) < 20


async def test_a_timer_that_goes_off_too_early_rings_nothing():
    clock = Clock(now=Time())
    note = Note(101.0)
    clock.add(note)
    clock.now.seconds = 100.999
    clock.fire()
    assert (note.rung, clock.next_at) == ([], 101.0)
    pass_until(clock, 101)
    assert note.rung == [(101.0, 101.0)]


async def test_one_that_fails_does_not_silence_the_others():
    class Bad(Note):
        def ring(self, now):
            raise ValueError("bad")

    clock = Clock(now=Time())
    clock.add(Bad(101.0))
    good = Note(101.5)
    clock.add(good)
    with pytest.raises(ValueError, match="bad"):
        pass_until(clock, 101)
    pass_until(clock, 102)
    assert good.rung


async def test_closing_from_within_a_ring_leaves_nothing_armed():
    clock = Clock(now=Time())

    class Closing(Note):
        def ring(self, now):
            clock.close()

    other = Note(101.0)
    clock.add(Closing(100.5))
    clock.add(other)
    pass_until(clock, 102)
    assert (len(clock), clock.next_at, other.rung) == (0, math.inf, [])


def test_a_closed_clock_serves_the_next_loop():
    clock = Clock()

    async def once():
        rung = asyncio.Event()

        class Ringing(Note):
            def ring(self, now):
                assert now >= self.due
                rung.set()

        clock.add(Ringing(time.monotonic() + 0.001))
        clock.add(Note(time.monotonic() + 1000))
        await rung.wait()
        clock.close()

    asyncio.run(once())
    asyncio.run(once())
    assert len(clock) == 0


async def test_freeing_entries_while_the_clock_looks_does_no_harm():
    """What the garbage collector frees takes itself out, at any moment."""
    clock = Clock(now=Time())

    class Freeing(Note):
        def ring(self, now):
            super().ring(now)
            for other in others:
                clock.discard(other)
            gc.collect()

    others = [Note(101.0 + number / 100) for number in range(20)]
    clock.add(Freeing(100.9))
    for other in others:
        clock.add(other)
    pass_until(clock, 102)
    assert not any(other.rung for other in others)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.floats(0, 3), st.lists(st.floats(0.01, 1), max_size=2)),
        st.tuples(st.just("discard"), st.integers(0, 50)),
        st.tuples(st.just("pass"), st.floats(0, 2)),
        st.tuples(st.just("late"), st.floats(0, 2)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_happens_each_rings_once_and_never_early(steps):
    async def run():
        clock = Clock(now=Time())
        notes, expected = [], []
        for step, *values in steps:
            if step == "add":
                note = Note(clock.now.seconds + values[0], clock, values[1])
                notes.append(note)
                expected.append(1 + len(values[1]))
                clock.add(note)
            elif step == "discard" and notes:
                index = values[0] % len(notes)
                clock.discard(notes[index])
                expected[index] = len(notes[index].rung)
            elif step == "pass":
                pass_until(clock, clock.now.seconds + values[0])
                assert all(due == now for note in notes for due, now in note.rung[-1:] if not late)
            elif step == "late":  # the loop was busy
                late.append(True)
                clock.now.seconds += values[0]
            alive = [note.due for note, count in zip(notes, expected, strict=True) if len(note.rung) < count]
            assert len(clock) == len(alive)
            assert clock.next_at <= min(alive, default=math.inf)
        pass_until(clock, clock.now.seconds + 10)
        assert [len(note.rung) for note in notes] == expected
        assert all(due <= now for note in notes for due, now in note.rung)
        assert (len(clock), clock.next_at) == (0, math.inf)
        assert clock.firings <= 2 * sum(expected) + len(notes) + 1

    late = []
    asyncio.run(run())


@pytest.fixture
def clock():
    return Clock()


async def test_a_deadline_cancels_what_is_inside_and_says_so(clock):
    limit = Deadline(time.monotonic() + 0.01, "the call", clock)
    with pytest.raises(DeadlineError, match="the call did not end"), limit:
        await asyncio.Event().wait()
    assert limit.expired
    assert asyncio.current_task().cancelling() == 0


async def test_a_deadline_that_has_passed_lets_nothing_begin(clock):
    limit = Deadline(time.monotonic() - 1, "the call", clock)
    with pytest.raises(DeadlineError), limit:
        raise AssertionError("not reached")
    assert limit.expired
    assert len(clock) == 0


async def test_a_block_that_ends_in_time_leaves_nothing_behind(clock):
    limit = Deadline(time.monotonic() + 100, "the call", clock)
    with limit:
        assert len(clock) == 1
    assert not limit.expired
    assert len(clock) == 0


async def test_a_leased_call_that_somebody_else_ends_raises_their_error(clock):
    async def call():
        lease = Lease(clock)
        asyncio.get_running_loop().call_soon(lambda: lease.fail(DeadlineError("the host closes")))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise lease.settle(error) from None

    with pytest.raises(DeadlineError, match="the host closes"):
        await call()
    assert asyncio.current_task().cancelling() == 0


async def test_a_leased_call_that_is_cancelled_as_well_stays_cancelled(clock):
    lease = Lease(clock)
    lease.fail(DeadlineError("the host closes"))
    asyncio.current_task().cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await asyncio.Event().wait()
    assert lease.settle(caught.value) is None
    assert asyncio.current_task().uncancel() == 0


async def test_a_cancellation_from_outside_in_the_same_tick_wins(clock):
    limit = Deadline(time.monotonic() + 100, "the call", clock)

    async def block():
        with limit:
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    limit.ring(limit.due)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not limit.expired


async def test_a_block_without_deadline_needs_no_time(clock):
    with Deadline(None, "the call", clock):
        assert len(clock) == 0
