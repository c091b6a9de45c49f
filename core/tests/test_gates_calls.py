"""Gates through the host: breakers, pauses, places and limits of whole calls."""

import asyncio

import pytest

from core.tests.held import Held, at_rest, gate, settled
from core.tests.toys import Good, failing, host, route, running
from gleitzeit import Chat, Finished, Plugin, Reply, Stream, TextDelta
from gleitzeit.errors import (
    AuthenticationError,
    BreakerOpenError,
    DeadlineError,
    InvalidRequestError,
    OverloadedError,
    PluginError,
    QueueFullError,
    QuotaExhaustedError,
    RateLimitedError,
    SecurityDeniedError,
    ServerFaultError,
)
from gleitzeit.plugin import Strategy
from gleitzeit.values import Limit, RateLimits, Started

ONCE = {"retry": {"max_retries": 0}}


class Pick(Strategy):
    """As they are written, but without waiting for any."""


def breaking(**more):
    return {"host": {"circuit_breaker": {"failure_threshold": 3, "recovery_timeout": 0.02, **more}, **ONCE}}


async def opened(h, provider, error=None):
    """Fail until the breaker is open, and wait until it would let calls try."""
    provider.error = error or ServerFaultError("down", sent=True)
    provider.go.set()
    for _ in range(3):
        with pytest.raises(ServerFaultError):
            await h.call(Chat("hi").to("held/m"))
    assert gate(h).breaker.state == "open"


async def recovered(h):
    """The breaker's time is over."""
    while seconds := gate(h).breaker.retry_in():
        await asyncio.sleep(seconds)


async def test_an_open_breaker_refuses_without_asking():
    async with host(breaking(recovery_timeout=60.0), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        await opened(h, held)
        assert await settled([h.call(Chat("hi").to("held/m")) for _ in range(50)]) == {"BreakerOpenError": 50}
        assert held.asked == 3
        (target,) = h.snapshot().targets
    assert (dict(target.attempts), target.refused, target.breaker) == ({"server_fault": 3}, 50, "open")
    at_rest(h)


@pytest.mark.parametrize("places", [1, 2, 5])
async def test_of_a_thousand_calls_at_once_only_the_trials_go(places):
    async with host(breaking(half_open_max_calls=places), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        await opened(h, held)
        await recovered(h)
        held.error, held.asked = None, 0
        held.go.clear()
        tasks = [asyncio.create_task(h.call(Chat("hi").to("held/m"))) for _ in range(1000)]
        await held.until(places)
        held.go.set()
        assert await settled(tasks) == {"Reply": places, "BreakerOpenError": 1000 - places}
        assert (held.asked, gate(h).breaker.state) == (places, "closed")
    at_rest(h)


async def test_a_trial_that_fails_opens_it_again_and_one_that_comes_late_counts_nothing():
    async with host(breaking(), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        await opened(h, held)
        await recovered(h)
        held.go.clear()
        early, late = (asyncio.create_task(h.call(Chat("hi").to("held/m"))) for _ in range(2))
        await held.until(2)
        gate(h).breaker._become("open")  # as another trial that failed
        held.error = None
        held.go.set()
        assert await settled([early, late]) == {"Reply": 2}
        assert gate(h).breaker.state == "open"
    at_rest(h)


async def test_trials_that_are_cancelled_give_their_places_to_others():
    async with host(breaking(), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        await opened(h, held)
        await recovered(h)
        held.error = None
        held.go.clear()
        for _ in range(5):
            trials = [asyncio.create_task(h.call(Chat("hi").to("held/m"))) for _ in range(2)]
            await held.until(2)
            for trial in trials:
                trial.cancel()
            assert await settled(trials) == {"CancelledError": 2}
        assert gate(h).breaker.state == "half_open"
        held.go.set()
        await asyncio.gather(*(h.call(Chat("hi").to("held/m")) for _ in range(2)))
        assert gate(h).breaker.state == "closed"
    at_rest(h)


async def test_cancelled_calls_open_no_breaker_but_calls_past_their_deadline_do():
    async with host(breaking(recovery_timeout=60.0), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        for _ in range(10):
            task = asyncio.create_task(h.call(Chat("hi").to("held/m")))
            await held.until(1)
            task.cancel()
            await asyncio.wait([task])
        assert gate(h).breaker.failures == 0
        for _ in range(3):
            with pytest.raises(DeadlineError):
                await h.call(Chat("hi").to("held/m", timeout=0.005))
        assert gate(h).breaker.state == "open"
        assert dict(h.snapshot().total("held").attempts) == {"cancelled": 10, "deadline": 3}
        assert dict(h.snapshot().total_calls().outcomes) == {"cancelled": 10, "deadline": 3}
        assert h.snapshot().total_calls().timed_out == 3
    at_rest(h)


async def test_the_callers_own_mistakes_open_no_breaker():
    async with host(breaking(), bad=failing(InvalidRequestError("no", sent=True))) as h:
        assert await settled([h.call(Chat("hi").to("bad/m")) for _ in range(20)]) == {
            "InvalidRequestError": 20
        }
        assert gate(h, "bad").breaker.failures == 0


async def test_one_models_breaker_is_not_the_others():
    async with host(breaking(recovery_timeout=60.0), held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        await opened(h, held)
        held.error = None
        assert (await h.call(Chat("hi").to("held/n"))).text == "good"
        with pytest.raises(BreakerOpenError):
            await h.call(Chat("hi").to("held/m"))


async def test_a_target_that_asks_for_a_pause_is_skipped_by_all():
    limited = failing(RateLimitedError("slow", retry_after=60.0, sent=True))
    async with host(route("limited/m", "good/m"), limited=limited) as h:
        replies = [await h.call(Chat("hi").to("r")) for _ in range(20)]
        replies += await asyncio.gather(*(h.call(Chat("hi").to("r")) for _ in range(20)))
    assert {str(reply.target) for reply in replies} == {"good/m"}
    assert limited.asked == 1


async def test_who_has_no_other_target_waits_for_the_pause_within_its_deadline():
    class Limited(Good):
        async def call(self, request):
            if not self.requests:
                self.requests.append(request)
                raise RateLimitedError("slow", retry_after=0.03, sent=True)
            return await super().call(request)

    async with host(limited=Limited) as h:
        await h.hooks.provide_models()
        replies = await asyncio.gather(*(h.call(Chat("hi").to("limited/m")) for _ in range(10)))
        assert {reply.text for reply in replies} == {"good"}
        assert len(running(h, "limited").requests) == 11
        gate(h, "limited").limiter.cool(50.0)
        with pytest.raises(RateLimitedError, match="left alone"):
            await h.call(Chat("hi").to("limited/m", timeout=20))
        assert len(running(h, "limited").requests) == 11


async def test_a_used_up_quota_is_asked_once():
    broke = failing(QuotaExhaustedError("pay", sent=True))
    async with host(broke=broke) as h:
        assert await settled([h.call(Chat("hi").to("broke/m"))]) == {"QuotaExhaustedError": 1}
        assert await settled([h.call(Chat("hi").to("broke/m")) for _ in range(9)]) == {
            "QuotaExhaustedError": 9
        }
    assert broke.asked == 1


async def test_a_refused_key_makes_a_target_the_last_choice():
    keyless = failing(AuthenticationError("bad key", sent=True))
    async with host({**route("keyless/m", "good/m"), "host": ONCE}, keyless=keyless) as h:
        for _ in range(10):
            assert str((await h.call(Chat("hi").to("r"))).target) == "good/m"
        assert keyless.asked == 1
        gate(h, "good").limiter.cool(60.0)
        with pytest.raises(AuthenticationError):
            await h.call(Chat("hi").to("r"))
        assert keyless.asked == 2


@pytest.mark.parametrize(
    "tables",
    [{"bulkhead": {"max_calls": 3}}, {"targets": {"*": {"bulkhead": {"max_calls": 3}}}}],
    ids=["instance", "targets"],
)
async def test_so_many_calls_are_inside_at_once(tables):
    names = ["held/m", "held/n"]
    config = {"providers": {"held": tables}}
    async with host(config, held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        tasks = [asyncio.create_task(h.call(Chat("hi").to(names[n % 2]))) for n in range(100)]
        most = 3 if "bulkhead" in tables else 6
        await held.until(most)
        assert h.snapshot().total("held").in_flight == 100
        held.go.set()
        assert await settled(tasks) == {"Reply": 100}
    assert (held.most, held.asked) == (most, 100)
    at_rest(h)


async def test_who_waited_too_long_for_a_place_is_told():
    config = {"providers": {"held": {"bulkhead": {"max_calls": 1}, "timeouts": {"queue": 0.01}}}}
    async with host(config, held=Held) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        first = asyncio.create_task(h.call(Chat("hi").to("held/m")))
        await held.until(1)
        with pytest.raises(QueueFullError, match=r"none of 1 places came free within 0.01 s"):
            await h.call(Chat("hi").to("held/m"))
        held.go.set()
        await first
    assert (held.asked, h.snapshot().total("held").refused) == (1, 1)
    at_rest(h)


async def test_an_ordered_route_waits_for_its_first_target_and_others_take_the_next():
    config = {
        "providers": {"held": {"bulkhead": {"max_calls": 1}}},
        "routes": {
            "ordered": {"targets": ["held/m", "good/m"]},
            "picked": {"targets": ["held/m", "good/m"], "strategy": "pick"},
            "only": {"targets": ["held/m"], "strategy": "pick"},
        },
    }
    async with host(config, held=Held, pick=Pick) as h:
        await h.hooks.provide_models()
        held = running(h, "held")
        first = asyncio.create_task(h.call(Chat("hi").to("ordered")))
        await held.until(1)
        assert str((await h.call(Chat("hi").to("picked"))).target) == "good/m"
        patient = [asyncio.create_task(h.call(Chat("hi").to(name))) for name in ("ordered", "only")]
        while gate(h).shared.queued < 2:
            await asyncio.sleep(0)
        held.go.set()
        assert [str((await task).target) for task in (first, *patient)] == ["held/m"] * 3
    at_rest(h)


async def test_when_all_targets_are_busy_one_is_waited_for():
    config = {
        "providers": {name: {"bulkhead": {"max_calls": 1}} for name in ("held", "also")},
        "routes": {"r": {"targets": ["held/m", "also/m"], "strategy": "pick"}},
    }
    async with host(config, held=Held, also=Held, pick=Pick) as h:
        await h.hooks.provide_models()
        held, also = running(h, "held"), running(h, "also")
        tasks = [asyncio.create_task(h.call(Chat("hi").to("r"))) for _ in range(3)]
        await held.until(1)
        await also.until(1)
        while not gate(h).shared.queued:
            await asyncio.sleep(0)
        held.go.set()
        also.go.set()
        assert await settled(tasks) == {"Reply": 3}
    assert (held.asked, also.asked) == (2, 1)
    at_rest(h)


async def test_tokens_are_reserved_and_settled_from_the_usage():
    config = {"providers": {"good": {"rate_limit": {"tokens_per_minute": 1000}}}, "host": ONCE}
    async with host(config) as h:
        for _ in range(20):
            await h.call(Chat("hi", max_tokens=900).to("good/m"))
        await h.stream(Chat("hi", max_tokens=900).to("good/m")).collect()
        with pytest.raises(RateLimitedError, match="as often as its limit allows"):
            await h.call(Chat("hi", max_tokens=90_000).to("good/m"))
        assert len(running(h).requests) == 21


@pytest.mark.parametrize("told_by", ["reply", "stream", "error"])
async def test_what_the_upstream_says_of_its_limits_is_kept_to(told_by):
    limits = RateLimits(requests=Limit(60, 0, 60.0))

    class Telling(Good):
        async def call(self, request):
            self.requests.append(request)
            if told_by == "error":
                error = InvalidRequestError("no", sent=True)
                error.limits = limits
                raise error
            return Stream(self.events(request)) if request.stream else Reply("good", limits=limits)

        async def events(self, request):
            yield Started(limits=limits)
            yield TextDelta("good")
            yield Finished("stop")

    async with host({**route("telling/m", "good/m"), "host": ONCE}, telling=Telling) as h:
        request = Chat("hi").to("r")
        if told_by == "error":
            with pytest.raises(InvalidRequestError):
                await h.call(request)
        elif told_by == "stream":
            assert (await h.stream(request).collect()).text == "good"
        else:
            assert (await h.call(request)).text == "good"
        assert str((await h.call(request)).target) == "good/m"
        assert len(running(h, "telling").requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_private_data_stays_here_in_every_round(stream):
    class Local(failing(OverloadedError("busy"))):
        local = True

    away = failing(Reply("away"))
    config = {**route("near/m", "away/m"), "host": {"retry": {"base_delay": 0.001, "max_retries": 3}}}
    async with host(config, near=Local, away=away) as h:
        request = Chat("hi").to("r", data_class="private")
        with pytest.raises((OverloadedError, SecurityDeniedError)):
            await (h.stream(request).collect() if stream else h.call(request))
    assert (Local.asked, away.asked) == (4, 0)


async def test_a_middleware_that_raises_leaves_nothing_behind():
    class Faulty(Plugin):
        def wrap_attempt(self, target):
            async def middleware(request, call_next):
                await call_next(request)
                raise ValueError("of my own")

            return middleware

    config = {"providers": {"good": {"bulkhead": {"max_calls": 1}}}, "host": ONCE}
    async with host(config, faulty=Faulty) as h:
        for _ in range(6):
            with pytest.raises(PluginError, match="raised ValueError: of my own"):
                await h.call(Chat("hi").to("good/m"))
        assert dict(h.snapshot().total("good").attempts) == {"plugin": 6}
        assert gate(h, "good").breaker.state == "closed"  # the provider did nothing wrong
    at_rest(h)
