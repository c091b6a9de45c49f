"""The gate before a target: whom it lets in, whom it makes wait, and that everything is given back."""

import asyncio

import pytest

from gleitzeit import Chat
from gleitzeit.config.resilience import settle
from gleitzeit.errors import (
    AuthenticationError,
    BreakerOpenError,
    CapacityError,
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    QueueFullError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFaultError,
    UnknownModelError,
)
from gleitzeit.resilience.gate import QUOTA_PAUSE, Gate, Pass, Shared
from gleitzeit.stats import Statistics
from gleitzeit.values import Limit, RateLimits

REQUEST = Chat("four").to("a/m")


class Time:
    """Seconds that pass when a test says so, and when the gate sleeps."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    sleep = asyncio.sleep

    async def pass_by(seconds, *rest):
        if seconds:
            clock.slept.append(seconds)
            clock.now += seconds
        await sleep(0)

    monkeypatch.setattr("gleitzeit.resilience.gate.asyncio.sleep", pass_by)
    return clock


@pytest.fixture
def make(clock):
    def make(shared=None, **tables):
        whole = Shared("a", settle(shared or {}), clock=clock)
        return Gate("a/m", settle(tables), whole, Statistics().target("a", "m"), clock=clock)

    return make


async def enter(gate, request=REQUEST, *, waits=True, last=True):
    """A pass, by whichever way lets the call in."""
    given = Pass()
    if not gate.try_enter(request, given):
        await gate.enter(request, given, waits=waits, last=last)
    return given


async def fail(gate, error, count=1):
    for _ in range(count):
        gate.leave(await enter(gate), None, error)


def test_nothing_is_in_the_way_of_an_open_gate(make):
    gate, given = make(), Pass()
    assert gate.try_enter(REQUEST, given)
    assert given.permit >= 0
    gate.leave(given, 10, None)
    assert gate.idle


async def test_it_opens_its_breaker_and_says_when_to_come_again(make, clock):
    gate = make(circuit_breaker={"failure_threshold": 3, "recovery_timeout": 30.0})
    await fail(gate, ServerFaultError("down"), 3)
    clock.now += 10
    with pytest.raises(BreakerOpenError) as caught:
        await enter(gate)
    assert (caught.value.retry_after, caught.value.provider, caught.value.sent) == (20.0, "a", False)
    clock.now += 20
    gate.leave(await enter(gate), None, None)
    gate.leave(await enter(gate), None, None)
    assert gate.breaker.state == "closed"


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("no"),
        RateLimitedError("slow"),
        asyncio.CancelledError(),
        ValueError("a middleware's"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_says_nothing_of_the_target_opens_no_breaker(make, error):
    gate = make(circuit_breaker={"failure_threshold": 1})
    await fail(gate, error, 20)
    assert (gate.breaker.state, gate.breaker.failures) == ("closed", 0)


@pytest.mark.parametrize("error", [OverloadedError("full"), DeadlineError("late"), ServerFaultError("down")])
async def test_what_speaks_against_the_target_opens_it(make, error):
    gate = make(circuit_breaker={"failure_threshold": 2})
    await fail(gate, error, 2)
    assert gate.breaker.state == "open"


async def test_while_it_is_tried_the_others_are_refused_before_they_queue(make, clock):
    gate = make(
        shared={"bulkhead": {"max_calls": 2}},
        circuit_breaker={"failure_threshold": 1, "half_open_max_calls": 2},
    )
    await fail(gate, ServerFaultError("down"))
    clock.now += 31
    probes = [await enter(gate), await enter(gate)]
    with pytest.raises(BreakerOpenError, match="being tried"):
        await enter(gate)
    assert gate.shared.queued == 0
    for probe in probes:
        gate.leave(probe, None, None)
    assert (gate.breaker.state, gate.shared.bulkhead.in_use) == ("closed", 0)


@pytest.mark.parametrize(
    "error, seconds",
    [
        (RateLimitedError("slow", retry_after=7.0), 7.0),
        (QuotaExhaustedError("pay"), QUOTA_PAUSE),
        (QuotaExhaustedError("pay", retry_after=600.0), 600.0),
        (RateLimitedError("slow", retry_after=1e9), 3600.0),
    ],
)
async def test_a_pause_refuses_the_next_ones_with_what_caused_it(make, clock, error, seconds):
    gate = make()
    await fail(gate, error)
    assert gate.cooling() == pytest.approx(seconds)
    with pytest.raises(type(error)) as caught:
        await enter(gate)
    assert (caught.value.retry_after, caught.value.sent) == (pytest.approx(seconds), False)
    clock.now += seconds
    gate.leave(await enter(gate), None, None)
    assert gate.idle


async def test_a_shorter_pause_does_not_hide_why_the_longer_one_holds(make, clock):
    gate = make()
    both = [await enter(gate), await enter(gate)]
    gate.leave(both[0], None, QuotaExhaustedError("pay"))
    gate.leave(both[1], None, RateLimitedError("slow", retry_after=1.0))
    with pytest.raises(QuotaExhaustedError):
        await enter(gate)


async def test_a_rate_limit_without_a_time_pauses_nothing(make):
    gate = make()
    await fail(gate, RateLimitedError("slow"))
    assert gate.try_enter(REQUEST, Pass())


@pytest.mark.parametrize("error", [AuthenticationError("bad key"), UnknownModelError("no such")])
async def test_who_refused_a_key_is_the_last_choice_until_it_is_over_or_works(make, clock, error):
    gate = make()
    await fail(gate, error)
    with pytest.raises(CapacityError, match="a moment ago"):
        await enter(gate, last=False)
    gate.leave(await enter(gate, last=True), None, error)
    clock.now += 10
    assert (await enter(gate, last=False)).permit >= 0
    await fail(gate, error)
    gate.leave(await enter(gate, last=True), None, None)
    assert gate.try_enter(REQUEST, Pass())


async def test_a_full_bulkhead_refuses_who_will_not_wait(make):
    gate = make(bulkhead={"max_calls": 1})
    first = await enter(gate)
    with pytest.raises(QueueFullError, match="as many calls as it may"):
        await enter(gate, waits=False)
    gate.leave(first, None, None)
    assert gate.bulkhead.in_use == 0


async def test_who_waits_for_one_target_holds_no_place_of_the_others(clock):
    shared = Shared("a", settle({"bulkhead": {"max_calls": 3}}), clock=clock)
    tables, plain = settle({"bulkhead": {"max_calls": 1}}), settle()
    narrow = Gate("a/narrow", tables, shared, Statistics().target("a", "narrow"), clock=clock)
    wide = Gate("a/wide", plain, shared, Statistics().target("a", "wide"), clock=clock)
    inside = await enter(narrow)
    waiting = [asyncio.create_task(enter(narrow)) for _ in range(5)]
    for _ in range(3):
        await asyncio.sleep(0)
    others = [await enter(wide, waits=False), await enter(wide, waits=False)]
    for gate, given in ((narrow, inside), *((wide, other) for other in others)):
        gate.leave(given, None, None)
    for task in waiting:
        narrow.leave(await task, None, None)
    assert (shared.bulkhead.in_use, narrow.bulkhead.in_use) == (0, 0)


async def test_what_happened_while_a_call_queued_is_heard(make):
    gate = make(shared={"bulkhead": {"max_calls": 1}})
    first = await enter(gate)
    second = asyncio.create_task(enter(gate))
    await asyncio.sleep(0)
    gate.leave(first, None, QuotaExhaustedError("pay"))
    with pytest.raises(QuotaExhaustedError):
        await second
    assert gate.shared.bulkhead.in_use == 0


async def test_a_queue_has_an_end_and_a_longest_wait(make):
    tables = {"bulkhead": {"max_calls": 1, "max_queue": 1}, "timeouts": {"queue": 0.01}}
    for gate in (make(**tables), make(shared=tables, timeouts={"queue": 0.01})):
        first = await enter(gate)
        second = asyncio.create_task(enter(gate))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="wait already"):
            await enter(gate)
        with pytest.raises(QueueFullError, match=r"within 0.01 s") as caught:
            await second
        assert str(caught.value).startswith("a/m: ")
        gate.leave(first, None, None)
        assert gate.try_enter(REQUEST, Pass())


async def test_requests_of_a_minute_are_spread(make, clock):
    gate = make(rate_limit={"requests_per_minute": 60.0})
    for _ in range(15):
        gate.leave(await enter(gate), None, None)
    assert clock.slept == pytest.approx([1.0] * 5)  # ten at once, then one a second


async def test_a_turn_that_is_too_far_off_is_refused_and_costs_nothing(make, clock):
    gate = make(rate_limit={"requests_per_minute": 6.0}, timeouts={"queue": 5.0})
    gate.leave(await enter(gate), None, None)
    for _ in range(9):  # were each one's share kept, the last one would hear of 100 s
        with pytest.raises(RateLimitedError) as caught:
            await enter(gate)
    assert caught.value.retry_after == pytest.approx(10.0)
    clock.now += 6
    gate.leave(await enter(gate), None, None)
    assert clock.slept == pytest.approx([4.0])


async def test_a_turn_after_the_deadline_is_not_waited_for(make, clock):
    gate = make(rate_limit={"requests_per_minute": 6.0})
    gate.leave(await enter(gate), None, None)
    with pytest.raises(RateLimitedError):
        await enter(gate, Chat("hi").to("a/m", timeout=3.0))
    assert clock.slept == []


@pytest.mark.parametrize("where", ["target", "instance"])
async def test_tokens_are_settled_by_what_the_vendor_counted(make, clock, where):
    table = {"rate_limit": {"tokens_per_minute": 1000.0}}
    gate = make(**table) if where == "target" else make(shared=table)
    request = Chat("hi", max_tokens=900).to("a/m")
    gate.leave(await enter(gate, request), 10, None)  # 901 were reserved, 10 used
    gate.leave(await enter(gate, request), 10, None)
    assert clock.slept == []
    gate.leave(await enter(gate, request), None, None)  # nobody counted: what was reserved stays taken
    with pytest.raises(RateLimitedError):
        await enter(gate, request)


async def test_what_the_upstream_says_is_left_is_kept_to(make, clock):
    gate = make()
    gate.learn(RateLimits(requests=Limit(60, 2, 5.0)))
    for _ in range(2):
        gate.leave(await enter(gate), None, None)
    assert clock.slept == []
    with pytest.raises(RateLimitedError) as caught:
        await enter(gate, waits=False)
    assert caught.value.retry_after == pytest.approx(5.0)
    gate.leave(await enter(gate), None, None)
    assert clock.slept == pytest.approx([5.0])


async def test_an_error_tells_of_limits_too(make):
    gate = make()
    error = RateLimitedError("slow")
    error.limits = RateLimits(requests=Limit(60, 0, 8.0))
    await fail(gate, error)
    with pytest.raises(RateLimitedError) as caught:
        await enter(gate, waits=False)
    assert caught.value.retry_after == pytest.approx(8.0)


async def test_a_pause_that_began_while_a_call_waited_for_its_turn_holds(make, clock, monkeypatch):
    gate = make(rate_limit={"requests_per_minute": 60.0})
    for _ in range(10):
        gate.leave(await enter(gate), None, None)

    async def meanwhile(seconds):
        clock.now += seconds
        gate.limiter.cool(30.0)

    monkeypatch.setattr("gleitzeit.resilience.gate.asyncio.sleep", meanwhile)
    with pytest.raises(RateLimitedError, match="left alone"):
        await enter(gate)
    assert gate.limiter.reserve(0) == pytest.approx(30.0)


@pytest.mark.parametrize("phase", ["own queue", "instance's queue", "turn"])
async def test_a_cancelled_wait_gives_everything_back(make, clock, monkeypatch, phase):
    places = {"bulkhead": {"max_calls": 1}}
    gate = {
        "own queue": lambda: make(shared={"bulkhead": {"max_calls": 5}}, **places),
        "instance's queue": lambda: make(shared=places, bulkhead={"max_calls": 5}),
        "turn": lambda: make(shared={"bulkhead": {"max_calls": 5}}, rate_limit={"requests_per_minute": 6.0}),
    }[phase]()
    first = await enter(gate)
    if phase == "turn":
        monkeypatch.setattr("gleitzeit.resilience.gate.asyncio.sleep", lambda seconds: asyncio.Event().wait())
    waiting = [asyncio.create_task(enter(gate)) for _ in range(1 if phase == "turn" else 4)]
    for _ in range(3):
        await asyncio.sleep(0) if phase != "turn" else await turn()
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(task.cancelled() for task in waiting)
    gate.leave(first, None, None)
    assert gate.queued == gate.shared.queued == 0
    assert [each.in_use for each in (gate.bulkhead, gate.shared.bulkhead) if each is not None] in (
        [0],
        [0, 0],
    )
    if phase == "turn":
        assert gate.limiter.reserve(0) == pytest.approx(10.0)  # only the first one's share is gone


async def turn():
    """One turn of the loop, with whatever `asyncio.sleep` is."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


async def test_it_is_remembered_while_there_is_something_to_remember(make, clock):
    gate = make()
    assert gate.idle
    await fail(gate, ServerFaultError("down"))
    assert not gate.idle
    await fail(gate, None)
    assert gate.idle
    gate.shun()
    assert not gate.idle
    assert not make(rate_limit={"requests_per_minute": 1.0}).idle
