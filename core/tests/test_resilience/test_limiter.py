"""The limiter: what is configured, what the upstream says is left, and its pauses; the longest wait holds."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gleitzeit.config.resilience import RateLimitConfig
from gleitzeit.resilience.limiter import LONGEST, Limiter
from gleitzeit.values.limits import Limit, RateLimits


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter(clock):
    return Limiter(RateLimitConfig(), clock=clock)


def requests(remaining, reset, limit=100):
    return RateLimits(requests=Limit(limit, remaining, reset))


def test_without_any_limit_it_is_idle(limiter):
    assert limiter.idle
    assert not limiter.counts_tokens
    assert [limiter.reserve(10**9) for _ in range(100)] == [0.0] * 100
    limiter.settle(10, 20)
    limiter.refund(10)
    assert limiter.idle


def test_no_limit_in_words_is_no_limit(clock):
    assert Limiter(RateLimitConfig(requests_per_minute=float("inf")), clock=clock).idle


def test_requests_of_a_minute(clock):
    limiter = Limiter(RateLimitConfig(requests_per_minute=60), clock=clock)
    assert not limiter.idle
    assert [limiter.reserve(0) for _ in range(12)] == [0.0] * 10 + [1.0, 2.0]
    limiter.refund(0)
    assert limiter.reserve(0) == 2.0


def test_tokens_of_a_minute_are_settled_by_what_was_used(clock):
    limiter = Limiter(RateLimitConfig(tokens_per_minute=6000), clock=clock)
    assert limiter.counts_tokens
    assert limiter.reserve(6000) == 0.0
    limiter.settle(6000, 1000)
    assert limiter.reserve(5000) == 0.0
    limiter.settle(5000, 5100)  # more than was thought
    assert limiter.reserve(100) == 2.0
    limiter.settle(100, None)  # nobody knows: as reserved
    assert limiter.reserve(100) == 3.0


def test_the_longer_wait_of_two_limits_holds(clock):
    limiter = Limiter(RateLimitConfig(requests_per_minute=6, tokens_per_minute=60), clock=clock)
    assert limiter.reserve(60) == 0.0
    assert limiter.reserve(1) == 10.0
    assert limiter.reserve(59) == 60.0


def test_nothing_left_is_waited_for_until_the_reset(limiter, clock):
    limiter.learn(requests(0, 20.0))
    assert not limiter.idle
    assert limiter.reserve(0) == 20.0
    clock.now += 15
    assert limiter.reserve(0) == 5.0
    clock.now += 5
    assert limiter.reserve(0) == 0.0
    assert limiter.idle


def test_what_is_left_is_counted_down_by_our_own_calls(limiter):
    limiter.learn(requests(3, 20.0))
    assert [limiter.reserve(0) for _ in range(5)] == [0.0, 0.0, 0.0, 20.0, 20.0]


def test_who_did_not_go_leaves_what_was_left(limiter):
    limiter.learn(requests(1, 20.0))
    assert [limiter.reserve(0) for _ in range(2)] == [0.0, 20.0]
    limiter.refund(0)  # the one that waited
    assert limiter.reserve(0) == 20.0
    limiter.refund(0)
    limiter.refund(0)  # the one that went did not go after all
    assert limiter.reserve(0) == 0.0


def test_a_later_word_holds(limiter, clock):
    limiter.learn(requests(0, 60.0))
    clock.now += 1
    limiter.learn(requests(50, 30.0))
    assert limiter.reserve(0) == 0.0
    limiter.learn(requests(0, 2.0))
    assert limiter.reserve(0) == 2.0


def test_silence_changes_nothing(limiter):
    limiter.learn(requests(0, 60.0))
    limiter.learn(RateLimits(tokens=Limit(1000, 900, 6.0)))
    assert limiter.reserve(0) == 60.0


@pytest.mark.parametrize("kind", ["tokens", "input_tokens"])
def test_a_request_larger_than_what_is_left_waits_and_a_smaller_one_goes(limiter, clock, kind):
    limiter.learn(RateLimits(**{kind: Limit(1000, 100, 6.0)}))
    assert limiter.counts_tokens
    assert limiter.reserve(101) == 6.0
    limiter.refund(101)
    assert limiter.reserve(60) == 0.0
    assert limiter.reserve(60) == 6.0
    clock.now += 6
    assert limiter.reserve(10**6) == 0.0  # a limit that it can never keep is the upstream's business
    assert not limiter.counts_tokens


def test_the_scarcer_of_two_words_on_tokens_holds(limiter):
    limiter.learn(RateLimits(tokens=Limit(1000, 500, 6.0), input_tokens=Limit(900, 10, 3.0)))
    assert limiter.reserve(11) == 3.0


def test_plenty_is_not_counted(limiter):
    """The next answer brings the next word long before it is used up, so calls pay nothing for it."""
    limiter.learn(RateLimits(requests=Limit(5000, 4000, 60.0), tokens=Limit(10**6, 900_000, 60.0)))
    assert limiter.idle
    limiter.learn(requests(1000, 60.0, limit=5000))
    assert not limiter.idle
    limiter.learn(requests(4000, 60.0, limit=5000))
    assert limiter.idle


def test_all_of_a_small_limit_is_counted(limiter):
    limiter.learn(requests(3, 20.0, limit=3))
    assert [limiter.reserve(0) for _ in range(4)] == [0.0, 0.0, 0.0, 20.0]


def test_no_tokens_to_write_stop_every_call(limiter):
    limiter.learn(RateLimits(output_tokens=Limit(1000, 0, 6.0)))
    assert limiter.reserve(0) == 6.0


@pytest.mark.parametrize(
    "limit",
    [
        Limit(),
        Limit(100),
        Limit(100, 0),
        Limit(100, None, 5.0),
        Limit(100, 0, 0.0),
        Limit(100, 0, float("nan")),
    ],
)
def test_half_a_word_says_nothing(limiter, limit):
    limiter.learn(RateLimits(requests=limit, tokens=limit, input_tokens=limit, output_tokens=limit))
    assert limiter.idle
    assert limiter.reserve(5) == 0.0


def test_a_pause_holds_for_everybody_and_a_shorter_one_does_not_shorten_it(limiter, clock):
    limiter.cool(30)
    limiter.cool(5)
    assert not limiter.idle
    assert [limiter.reserve(0), limiter.reserve(0), limiter.cooling()] == [30.0] * 3
    clock.now += 29
    assert limiter.cooling() == 1.0
    limiter.cool(5)
    assert limiter.cooling() == 5.0
    clock.now += 5
    assert limiter.cooling() == 0.0
    assert limiter.idle


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_pause_is_none(limiter, seconds):
    limiter.cool(seconds)
    assert limiter.idle


def test_forever_is_a_day(limiter):
    limiter.cool(float("inf"))
    assert limiter.cooling() == LONGEST
    limiter.learn(requests(0, float("inf")))
    assert limiter.reserve(0) == LONGEST


def test_the_operator_lifts_it(limiter):
    limiter.cool(30)
    limiter.learn(requests(0, 60.0))
    limiter.reset()
    assert limiter.idle
    assert limiter.reserve(0) == 0.0


class Limiters(RuleBasedStateMachine):
    """Any order of calls, refunds, words and pauses: no limit is exceeded, and `idle` is never wrong."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.limiter = Limiter(
            RateLimitConfig(requests_per_minute=60, tokens_per_minute=600), clock=self.clock
        )
        self.free = Limiter(RateLimitConfig(), clock=self.clock)
        self.start = self.clock.now
        self.calls = []  # (when it may go, its tokens)
        self.pause = 0.0
        self.nothing_until = 0.0

    @rule(tokens=st.integers(0, 200))
    def call(self, tokens):
        when = self.clock.now + self.limiter.reserve(tokens)
        assert when >= max(self.clock.now, self.pause, self.nothing_until) - 1e-6
        self.calls.append((when, tokens))

    @rule(tokens=st.integers(0, 200))
    def call_without_limits(self, tokens):
        idle = self.free.idle
        wait = self.free.reserve(tokens)
        assert wait == pytest.approx(
            max(0.0, self.pause - self.clock.now, self.nothing_until - self.clock.now)
        )
        assert not (idle and wait)

    @precondition(lambda self: any(when > self.clock.now for when, _ in self.calls))
    @rule(data=st.data())
    def give_up(self, data):
        call = data.draw(st.sampled_from([one for one in self.calls if one[0] > self.clock.now]))
        self.calls.remove(call)
        self.limiter.refund(call[1])

    @rule(seconds=st.floats(0.1, 20))
    def cool(self, seconds):
        self.pause = max(self.pause, self.clock.now + seconds)
        self.limiter.cool(seconds)
        self.free.cool(seconds)

    @rule(seconds=st.floats(0.1, 20), remaining=st.sampled_from([0, 10**6]))
    def learn(self, seconds, remaining):
        # "None left" counts written tokens, which our own calls do not touch.
        word = RateLimits(output_tokens=Limit(10**6, remaining, seconds))
        self.nothing_until = 0.0 if remaining else self.clock.now + seconds
        self.limiter.learn(word)
        self.free.learn(word)

    @rule(seconds=st.floats(0.05, 30))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def no_limit_is_exceeded(self):
        calls = tokens = 0
        for when, size in sorted(self.calls):
            calls, tokens = calls + 1, tokens + size
            assert calls <= 10 + (when - self.start) + 1e-6
            assert tokens <= 600 + 10 * (when - self.start) + 1e-6

    @invariant()
    def a_pause_is_known(self):
        for limiter in (self.limiter, self.free):
            assert limiter.cooling() == pytest.approx(max(0.0, self.pause - self.clock.now))


TestLimiters = Limiters.TestCase
TestLimiters.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
