"""Who is asked again and when, by kind of error; and how much of that a target may get."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gleitzeit import errors
from gleitzeit.config.resilience import RetryConfig
from gleitzeit.errors import (
    CannotConnectError,
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFaultError,
)
from gleitzeit.resilience.retry import LONGEST_HINT, RetryBudget, RetryPolicy


def policy(**settings):
    return RetryPolicy(RetryConfig(**{"jitter_factor": 0.0, **settings}))


def delays(policy, error, most=20):
    """The delays that one call would see."""
    found = []
    while len(found) < most and (delay := policy.delay(error, len(found) + 1)) is not None:
        found.append(delay)
    return found


def test_the_backoff_doubles_up_to_its_ceiling():
    plain = policy(max_retries=7, base_delay=0.5, max_delay=10.0)
    assert delays(plain, OverloadedError("x")) == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_the_number_of_retries_is_kept(retries):
    assert len(delays(policy(max_retries=retries), OverloadedError("x"))) == retries


@given(
    base=st.just(0.0) | st.floats(0.001, 100),
    most=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    tries=st.integers(1, 5000),
)
def test_the_jitter_stays_within_its_bounds(base, most, jitter, tries):
    config = RetryConfig(max_retries=10**6, base_delay=base, max_delay=most, jitter_factor=jitter)
    delay = RetryPolicy(config).delay(OverloadedError("x"), tries)
    plain = min(most, base * 2.0 ** min(tries - 1, 500))
    assert plain * (1 - jitter) * 0.999999 <= delay <= plain * (1 + jitter) * 1.000001


@given(hint=st.floats(0, LONGEST_HINT), jitter=st.floats(0, 1))
def test_what_the_upstream_asks_for_is_a_least(hint, jitter):
    config = RetryConfig(base_delay=1000, max_delay=1000, jitter_factor=jitter)
    delay = RetryPolicy(config).delay(RateLimitedError("x", retry_after=hint), 1)
    assert hint <= delay <= hint * 1.05 * 1.000001


def test_the_jitter_is_spread_over_all_of_its_range():
    spread = RetryPolicy(RetryConfig(base_delay=1.0, jitter_factor=0.2))
    seen = [spread.delay(OverloadedError("x"), 1) for _ in range(500)]
    assert min(seen) < 0.85
    assert max(seen) > 1.15


@pytest.mark.parametrize("hint", [121.0, 1e9, float("inf")])
def test_too_long_a_hint_is_not_waited_for(hint):
    assert policy().delay(RateLimitedError("x", retry_after=hint), 1) is None


@pytest.mark.parametrize("hint", [-1.0, float("nan")])
def test_a_hint_that_means_nothing_is_none(hint):
    assert policy(base_delay=3.0).delay(RateLimitedError("x", retry_after=hint), 1) == 3.0


def test_without_codes_the_error_says_so_itself():
    plain = policy()
    for name in errors.__all__:
        error = getattr(errors, name)("x")
        assert (plain.delay(error, 1) is not None) == error.retryable, name
    assert plain.delay(OverloadedError("x", retryable=False), 1) is None
    assert plain.delay(InvalidRequestError("x", retryable=True), 1) is not None


def test_a_spent_quota_is_never_asked_again():
    error = QuotaExhaustedError("x", retryable=True, retry_after=1.0)
    assert policy().delay(error, 1) is None
    assert policy(retry_codes=("quota_exhausted",)).delay(error, 1) is None


@pytest.mark.parametrize(
    "names, retried",
    [
        ((), set()),
        (("rate_limited",), {RateLimitedError}),
        (("RATE_LIMIT_EXCEEDED", "SERVICE_UNAVAILABLE"), {RateLimitedError, OverloadedError}),
        (("server_error", "connect"), {ServerFaultError, CannotConnectError}),
        (("deadline",), {DeadlineError}),
        (("capacity",), {RateLimitedError, OverloadedError}),
        (("acme_own",), set()),
    ],
)
def test_only_named_kinds_are_retried(names, retried):
    kinds = [RateLimitedError, OverloadedError, ServerFaultError, CannotConnectError, DeadlineError]
    named = policy(retry_codes=names)
    assert {
        kind for kind in [*kinds, InvalidRequestError] if named.delay(kind("x"), 1) is not None
    } == retried


def test_an_upstream_that_forbids_it_is_heard_even_where_its_kind_is_named():
    named = policy(retry_codes=("overloaded",))
    assert named.delay(OverloadedError("x", retryable=False), 1) is None


def test_a_plugins_own_error_belongs_to_the_kind_above_it():
    class AcmeBusyError(OverloadedError):
        code = "acme_busy"

    assert policy(retry_codes=("overloaded",)).delay(AcmeBusyError("x"), 1) is not None
    assert policy(retry_codes=("acme_busy",)).delay(AcmeBusyError("x"), 1) is not None
    assert policy(retry_codes=("acme_busy",)).delay(OverloadedError("x"), 1) is None
    assert len(delays(policy(by_code={"overloaded": {"max_retries": 4}}), AcmeBusyError("x"))) == 4


def test_single_kinds_have_values_of_their_own():
    several = policy(
        max_retries=1,
        base_delay=1.0,
        by_code={
            "rate_limited": {"max_retries": 3, "base_delay": 2.0},
            "capacity": {"max_retries": 2},
            "wire": {"max_retries": 0},
        },
    )
    assert delays(several, RateLimitedError("x")) == [2.0, 4.0, 8.0]
    assert delays(several, OverloadedError("x")) == [1.0, 2.0]
    assert delays(several, CannotConnectError("x")) == []
    assert delays(several, ServerFaultError("x")) == [1.0]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def withdrawals(budget, most=1000):
    return next(count for count in range(most + 1) if not budget.withdraw())


def test_a_budget_starts_full_and_flows_in():
    clock = Clock()
    budget = RetryBudget(clock=clock)
    assert withdrawals(budget) == 30
    clock.now += 2
    assert withdrawals(budget) == 6
    clock.now += 1000
    assert withdrawals(budget) == 30


def test_a_share_of_the_calls_may_be_retried():
    budget = RetryBudget(clock=Clock())
    assert withdrawals(budget) == 30
    for _ in range(100):
        budget.deposit()
    assert withdrawals(budget) == pytest.approx(15, abs=1)


def test_a_storm_stays_within_its_share_of_what_is_offered():
    """An upstream is down for a minute: 100 calls a second, each of which would be retried five times."""
    clock = Clock()
    budget = RetryBudget(clock=clock)
    offered = retried = 0
    for _ in range(6000):
        clock.now += 0.01
        offered += 1
        budget.deposit()
        for _ in range(5):
            retried += budget.withdraw()
    assert retried <= 0.15 * offered + 3 * 60 + 30
    assert retried >= 0.15 * offered


class Budgets(RuleBasedStateMachine):
    """Whatever comes: no more retries than deposits, inflow and the start allow."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.budget = RetryBudget(clock=self.clock)
        self.start = self.clock.now
        self.deposits = self.retries = 0

    @rule(times=st.integers(1, 50))
    def deposit(self, times):
        self.deposits += times
        for _ in range(times):
            self.budget.deposit()

    @rule(times=st.integers(1, 50))
    def withdraw(self, times):
        got = sum(self.budget.withdraw() for _ in range(times))
        assert got <= 30
        self.retries += got

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def never_more_than_came_in(self):
        assert self.retries <= 30 + 0.15 * self.deposits + 3 * (self.clock.now - self.start) + 1e-6


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=50, deadline=None)
