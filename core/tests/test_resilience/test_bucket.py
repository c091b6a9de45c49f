"""The bucket hands out its rate and its burst, never more, whoever asks and whoever gives back."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gleitzeit.errors import ConfigError
from gleitzeit.resilience.bucket import Bucket


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_burst_goes_at_once_and_the_others_each_at_their_own_time(clock):
    bucket = Bucket(60, burst=3, clock=clock)
    assert [bucket.reserve() for _ in range(6)] == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    clock.now += 2.5
    assert bucket.reserve() == 1.5


def test_a_pause_fills_it_up_to_its_burst_and_no_further(clock):
    bucket = Bucket(60, burst=3, clock=clock)
    clock.now += 1000
    assert [bucket.reserve() for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("per_minute, burst", [(3, 1), (60, 10), (600, 100)])
def test_the_usual_burst_is_ten_seconds_worth(per_minute, burst):
    assert Bucket(per_minute).burst == burst


def test_what_is_given_back_is_there_again(clock):
    bucket = Bucket(60, burst=10, clock=clock)
    assert bucket.reserve(40) == 30.0
    bucket.refund(40)
    assert bucket.reserve(10) == 0.0
    assert bucket.reserve(5) == 5.0
    bucket.refund(2)
    assert bucket.reserve(1) == 4.0


def test_more_than_was_reserved_can_be_taken_afterwards(clock):
    bucket = Bucket(60, burst=10, clock=clock)
    bucket.reserve(10)
    bucket.refund(-5)
    assert bucket.reserve(1) == 6.0


def test_a_thousand_sleepers_do_not_wake_together(clock):
    bucket = Bucket(600, burst=10, clock=clock)
    waits = [bucket.reserve() for _ in range(1000)]
    assert waits == sorted(waits)
    assert len({round(wait, 6) for wait in waits}) == 991


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match="above 0"):
        Bucket(rate)


class Buckets(RuleBasedStateMachine):
    """Whatever is reserved, waited for and given back: never more covered than rate * t + burst."""

    BURST = 7.0
    RATE = 2.0

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.bucket = Bucket(self.RATE * 60, burst=self.BURST, clock=self.clock)
        self.start = self.clock.now
        self.reserved = []  # (when it is covered, how much)

    @rule(amount=st.sampled_from([0.5, 1.0, 1.0, 3.0, 20.0]))
    def reserve(self, amount):
        wait = self.bucket.reserve(amount)
        assert 0.0 <= wait < 1e6
        self.reserved.append((self.clock.now + wait, amount))

    @precondition(lambda self: self.reserved)
    @rule(data=st.data())
    def refund_what_did_not_go(self, data):
        future = [one for one in self.reserved if one[0] > self.clock.now]
        if future:
            one = data.draw(st.sampled_from(future))
            self.reserved.remove(one)
            self.bucket.refund(one[1])

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 10.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def never_more_than_the_rate_and_the_burst(self):
        total = 0.0
        for when, amount in sorted(self.reserved):
            total += amount
            assert total <= self.BURST + self.RATE * (when - self.start) + 1e-6

    @rule()
    def who_gives_back_all_finds_it_as_it_was(self):
        first = self.bucket.reserve(5.0)
        self.bucket.refund(5.0)
        assert self.bucket.reserve(5.0) == pytest.approx(first)
        self.bucket.refund(5.0)


TestBuckets = Buckets.TestCase
TestBuckets.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
