"""The breaker opens after failures in a row, lets few calls try, and believes no permit of another state."""

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gleitzeit.config.resilience import BreakerConfig
from gleitzeit.resilience.breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def breaker(clock, changes):
    return Breaker(BreakerConfig(), on_change=lambda old, new: changes.append((old, new)), clock=clock)


def fail(breaker, times=5):
    for _ in range(times):
        breaker.settle(breaker.acquire(), False)


def test_it_opens_tries_and_closes(breaker, clock, changes):
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert (breaker.state, breaker.acquire(), breaker.retry_in()) == ("open", -1, 30.0)
    clock.now += 29
    assert (breaker.acquire(), breaker.retry_in()) == (-1, 1.0)
    clock.now += 1
    probes = [breaker.acquire() for _ in range(3)]
    assert breaker.state == "half_open"
    assert [probe >= 0 for probe in probes] == [True, True, False]
    for probe in probes[:2]:
        breaker.settle(probe, True)
    assert breaker.state == "closed"
    assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_a_success_ends_the_row(breaker):
    for _ in range(3):
        fail(breaker, 4)
        breaker.settle(breaker.acquire(), True)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_what_says_nothing_of_the_target_counts_nothing(breaker):
    fail(breaker, 4)
    for _ in range(20):
        breaker.settle(breaker.acquire(), None)
    assert (breaker.state, breaker.failures) == ("closed", 4)


def test_a_failed_probe_opens_it_again_for_the_whole_time(breaker, clock):
    fail(breaker)
    clock.now += 40
    breaker.settle(breaker.acquire(), False)
    assert (breaker.state, breaker.retry_in()) == ("open", 30.0)


def test_a_cancelled_probe_gives_its_place_back(breaker, clock):
    fail(breaker)
    clock.now += 30
    probes = [breaker.acquire() for _ in range(2)]
    assert breaker.acquire() == -1
    assert breaker.retry_in() == 30.0
    breaker.settle(probes[0], None)
    assert breaker.retry_in() == 0.0
    assert breaker.acquire() >= 0
    assert breaker.acquire() == -1


def test_a_call_that_began_while_it_was_closed_is_late_afterwards(breaker, clock):
    late = breaker.acquire()
    fail(breaker)
    clock.now += 30
    probe = breaker.acquire()
    breaker.settle(late, True)
    breaker.settle(late, False)
    assert breaker.state == "half_open"
    breaker.settle(probe, False)
    assert breaker.state == "open"


@pytest.mark.parametrize("end", [True, None, False])
def test_a_probe_of_an_earlier_half_open_time_frees_no_place(breaker, clock, end):
    fail(breaker)
    clock.now += 30
    late, failed = breaker.acquire(), breaker.acquire()
    breaker.settle(failed, False)
    clock.now += 30
    now = [breaker.acquire(), breaker.acquire()]
    breaker.settle(late, end)
    assert (breaker.state, breaker.acquire()) == ("half_open", -1)
    breaker.settle(now[0], True)
    assert (breaker.state, breaker.acquire()) == ("half_open", -1)
    breaker.settle(now[1], True)
    assert breaker.state == "closed"


def test_a_lost_probe_loses_its_place_after_another_recovery(breaker, clock):
    fail(breaker)
    clock.now += 30
    lost = [breaker.acquire(), breaker.acquire()]
    clock.now += 29
    assert (breaker.acquire(), breaker.retry_in()) == (-1, 1.0)
    clock.now += 1
    assert breaker.retry_in() == 0.0
    found = [breaker.acquire(), breaker.acquire()]
    assert min(found) >= 0
    assert breaker.acquire() == -1
    assert not set(found) & set(lost)


def test_calls_longer_than_the_recovery_can_still_close_it(breaker, clock):
    fail(breaker)
    clock.now += 30
    slow = [breaker.acquire(), breaker.acquire()]
    clock.now += 31
    breaker.acquire()  # somebody takes a place whose lease is over
    breaker.settle(slow[0], True)
    breaker.settle(slow[0], True)  # a permit counts once
    assert breaker.state == "half_open"
    breaker.settle(slow[1], True)
    assert breaker.state == "closed"


def test_a_probe_that_ends_after_its_lease_gives_no_second_place_back(breaker, clock):
    fail(breaker)
    clock.now += 30
    slow = [breaker.acquire(), breaker.acquire()]
    clock.now += 31
    assert min(breaker.acquire(), breaker.acquire()) >= 0
    for permit in slow:
        breaker.settle(permit, None)
    assert breaker.acquire() == -1


def test_what_has_succeeded_keeps_its_place_among_the_trials(breaker, clock):
    fail(breaker)
    clock.now += 30
    probes = [breaker.acquire(), breaker.acquire()]
    breaker.settle(probes[0], True)
    assert breaker.acquire() == -1


def test_a_breaker_that_is_off_stays_closed(clock):
    breaker = Breaker(BreakerConfig(enabled=False, failure_threshold=1), clock=clock)
    fail(breaker, 100)
    assert breaker.state == "closed"


@pytest.mark.parametrize("failures", [3, 5])
def test_the_operator_closes_it(breaker, failures):
    under_way = breaker.acquire()
    fail(breaker, failures)
    breaker.reset()
    breaker.settle(under_way, False)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_lost_probes_are_not_kept_for_ever(breaker, clock):
    fail(breaker)
    for _ in range(1000):
        clock.now += 30
        assert breaker.acquire() >= 0
        assert breaker.acquire() >= 0
    assert len(breaker._probes) < 100


async def test_of_a_thousand_calls_at_once_two_go(clock):
    breaker = Breaker(BreakerConfig(failure_threshold=5, half_open_max_calls=2), clock=clock)
    fail(breaker)
    clock.now += 30
    recovered = asyncio.Event()
    asked = 0

    async def call():
        nonlocal asked
        permit = breaker.acquire()
        if permit < 0:
            return False
        asked += 1
        await recovered.wait()
        breaker.settle(permit, True)
        return True

    calls = [asyncio.create_task(call()) for _ in range(1000)]
    while not all(task.done() for task in calls[2:]):
        await asyncio.sleep(0)
    assert asked == 2
    recovered.set()
    assert sum(await asyncio.gather(*calls)) == 2
    assert breaker.state == "closed"


class Breakers(RuleBasedStateMachine):
    """Any order of calls, ends, cancellations and lost probes, against what a patient observer knows."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.changes = []
        self.config = BreakerConfig(failure_threshold=2, recovery_timeout=10.0, half_open_max_calls=2)
        self.breaker = Breaker(
            self.config, on_change=lambda old, new: self.changes.append(new), clock=self.clock
        )
        self.out = {}  # permit -> the state it was taken in, as a number of changes, and when
        self.row = 0
        self.good = 0
        self.given = set()

    @property
    def period(self):
        return len(self.changes)

    def leased(self):
        return [
            permit
            for permit, (period, taken) in self.out.items()
            if period == self.period and self.clock.now - taken < 10
        ]

    @rule()
    def acquire(self):
        was = self.breaker.state
        wait = self.breaker.retry_in()
        permit = self.breaker.acquire()
        assert (permit >= 0) == (wait == 0)
        if permit < 0:
            assert was != "closed"
            return
        if was == "open":
            assert self.breaker.state == "half_open"
            self.good = 0
        if self.breaker.state == "half_open":
            assert permit not in self.given
        self.given.add(permit)
        self.out[permit] = (self.period, self.clock.now)
        if self.breaker.state == "half_open":
            assert len(self.leased()) + self.good <= 2

    @precondition(lambda self: self.out)
    @rule(data=st.data(), ok=st.sampled_from([False, True, None, False]))
    def settle(self, data, ok):
        permit = data.draw(st.sampled_from(sorted(self.out)))
        period, _ = self.out[permit]
        if self.breaker.state != "closed":
            del self.out[permit]  # while closed a permit stands for many calls
        before = self.breaker.state
        current = period == self.period
        self.breaker.settle(permit, ok)
        after = self.breaker.state
        if not current or ok is None:
            assert after == before
        elif before == "closed":
            self.row = 0 if ok else self.row + 1
            assert after == ("open" if self.row >= 2 else "closed")
        elif ok:
            self.good += 1
            assert after == ("closed" if self.good >= 2 else "half_open")
        else:
            assert after == "open"
        if after != before:
            self.row = self.good = 0

    @rule(seconds=st.sampled_from([10.0, 4.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def lose(self, data):
        """A probe whose end nobody hears of: its place comes back with its lease, not before."""
        permit = data.draw(st.sampled_from(sorted(self.out)))
        if self.clock.now - self.out[permit][1] >= 10:
            del self.out[permit]

    @rule()
    def reset(self):
        self.breaker.reset()
        self.row = self.good = 0
        self.out = {permit: (-1, taken) for permit, (_, taken) in self.out.items()}

    @invariant()
    def never_more_at_once_than_allowed(self):
        if self.breaker.state == "half_open":
            assert len(self.leased()) <= 2

    @invariant()
    def never_wedged(self):
        if self.breaker.state != "closed":
            assert self.breaker.retry_in() <= 10.0

    @invariant()
    def the_row_is_right(self):
        assert self.breaker.failures == self.row


TestBreakers = Breakers.TestCase
TestBreakers.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
