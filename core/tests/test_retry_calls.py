"""Retries through the host: how often, after how long, and what is never repeated."""

import asyncio

import pytest

from core.tests.toys import Good, failing, host, route
from gleitzeit import Chat, Plugin, Provider, Reply, Stream, TextDelta, ToolCall
from gleitzeit.errors import (
    BreakerOpenError,
    CannotConnectError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TooLongError,
)
from gleitzeit.values import Model, Retry, Tool

SOON = {"host": {"retry": {"base_delay": 0.001}}}


def flaky(*errors, tools=False):
    """A provider whose first calls raise these errors; the next one answers."""

    class Flaky(Provider):
        asked = 0

        def provide_models(self):
            return () if tools else [Model("m")]

        def provide_tools(self):
            return [Tool("t")] if tools else ()

        async def call(self, request):
            number, type(self).asked = type(self).asked, type(self).asked + 1
            if number < len(errors):
                raise errors[number]
            return Reply("at last")

    return Flaky


@pytest.fixture
def waits(monkeypatch):
    """The seconds that retries wait, which pass at once."""
    seen = []
    sleep = asyncio.sleep

    async def at_once(seconds, *rest):
        if seconds:
            seen.append(seconds)
        await sleep(0)

    monkeypatch.setattr("gleitzeit.pipeline.recovery.asyncio.sleep", at_once)
    return seen


async def test_a_target_is_asked_again_after_a_passing_failure(waits):
    bad = flaky(OverloadedError("busy", sent=True), ResetError("gone", sent=True))
    async with host(bad=bad) as h:
        reply = await h.call(Chat("hi").to("bad/m"))
    assert (reply.text, bad.asked) == ("at last", 3)
    assert [type(attempt.error) for attempt in reply.attempts] == [OverloadedError, ResetError]
    assert [round(wait, 1) for wait in waits] == pytest.approx([0.5, 1.0], rel=0.21)


async def test_an_upstream_that_stays_down_sees_one_call_and_the_retries():
    bad = failing(ServerFaultError("down", sent=True))
    async with host({"host": {"retry": {"max_retries": 4, "base_delay": 0.001}}}, bad=bad) as h:
        with pytest.raises(ServerFaultError) as caught:
            await h.call(Chat("hi").to("bad/m"))
    assert bad.asked == 5
    assert len(caught.value.attempts) == 4


@pytest.mark.feature("S001-17")
async def test_the_wait_grows_up_to_its_ceiling_and_jitters(waits):
    retry = {"max_retries": 5, "base_delay": 1.0, "max_delay": 5.0, "jitter_factor": 0.2}
    async with host({"host": {"retry": retry}}, bad=failing(OverloadedError("busy"))) as h:
        with pytest.raises(OverloadedError):
            await h.call(Chat("hi").to("bad/m", timeout=600))
    for wait, plain in zip(waits, [1, 2, 4, 5, 5], strict=True):
        assert 0.8 * plain <= wait <= 1.2 * plain


async def test_what_the_upstream_says_goes_before_the_curve():
    config = {"host": {"retry": {"base_delay": 500.0, "max_delay": 500.0}}}
    async with host(config, bad=flaky(RateLimitedError("slow down", retry_after=0.01, sent=True))) as h:
        assert (await h.call(Chat("hi").to("bad/m", timeout=100))).text == "at last"


async def test_a_wait_beyond_the_deadline_is_not_begun(waits):
    bad = flaky(RateLimitedError("slow down", retry_after=60.0, sent=True))
    async with host(bad=bad) as h:
        with pytest.raises(RateLimitedError, match="slow down"):
            await h.call(Chat("hi").to("bad/m", timeout=30))
    assert (bad.asked, waits) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("no", sent=True),
        QuotaExhaustedError("pay", sent=True),
        TooLongError("long", sent=True),
        ServerFaultError("final", sent=True, retryable=False),
    ],
    ids=lambda error: error.code,
)
async def test_a_lasting_failure_is_not_repeated(error, waits):
    bad = failing(error)
    async with host(bad=bad) as h:
        with pytest.raises(type(error)):
            await h.call(Chat("hi").to("bad/m"))
    assert bad.asked == 1


async def test_a_tool_that_may_have_acted_is_not_called_again(waits):
    bad = flaky(ResetError("gone", sent=True), tools=True)
    async with host(bad=bad) as h:
        with pytest.raises(ResetError):
            await h.call(ToolCall().to("bad/t"))
    assert bad.asked == 1


async def test_a_tool_that_was_surely_not_reached_is_called_again(waits):
    bad = flaky(CannotConnectError("refused"), tools=True)
    async with host(bad=bad) as h:
        assert (await h.call(ToolCall().to("bad/t"))).text == "at last"
    assert bad.asked == 2


class Breaking(Good):
    """Streams one piece of content and then breaks; or breaks before it."""

    early = False
    asked = 0

    async def events(self, request):
        type(self).asked += 1
        if not self.early:
            yield TextDelta("go")
        raise ResetError("gone", sent=True)
        yield


async def test_a_stream_that_has_committed_is_not_repeated(waits):
    class Late(Breaking):
        pass

    async with host(late=Late) as h:
        with pytest.raises(ResetError) as caught:
            await h.stream(Chat("hi").to("late/m")).collect()
    assert (Late.asked, caught.value.partial.text) == (1, "go")


async def test_a_stream_that_breaks_before_its_first_content_is_asked_for_again(waits):
    class Early(Breaking):
        early = True

    async with host(early=Early) as h:
        with pytest.raises(ResetError):
            await h.stream(Chat("hi").to("early/m")).collect()
    assert Early.asked == 3


async def test_other_targets_come_before_waiting(waits):
    bad = flaky(OverloadedError("busy"))
    async with host(route("bad/m", "good/m"), bad=bad) as h:
        reply = await h.call(Chat("hi").to("r"))
    assert (str(reply.target), bad.asked, waits) == ("good/m", 1, [])


async def test_when_all_have_failed_the_one_that_is_ready_first_is_asked_again():
    first = flaky(RateLimitedError("slow", retry_after=90.0, sent=True))
    second = flaky(RateLimitedError("slow", retry_after=0.01, sent=True))
    async with host(route("first/m", "second/m"), first=first, second=second) as h:
        reply = await h.call(Chat("hi").to("r"))
    assert (str(reply.target), first.asked, second.asked) == ("second/m", 1, 2)


async def test_retries_are_counted_for_the_call_not_for_each_target():
    bad, worse = failing(OverloadedError("busy")), failing(OverloadedError("busy"))
    async with host({**SOON, **route("bad/m", "worse/m")}, bad=bad, worse=worse) as h:
        with pytest.raises(OverloadedError):
            await h.call(Chat("hi").to("r"))
    assert bad.asked + worse.asked == 2 + 2


@pytest.mark.feature("S001-18")
async def test_the_codes_to_retry_are_the_operators_choice(waits):
    config = {"host": {"retry": {"retry_codes": ["SERVICE_UNAVAILABLE"]}}}
    limited, busy = flaky(RateLimitedError("slow", sent=True)), flaky(OverloadedError("busy", sent=True))
    async with host(config, limited=limited, busy=busy) as h:
        with pytest.raises(RateLimitedError):
            await h.call(Chat("hi").to("limited/m"))
        assert (await h.call(Chat("hi").to("busy/m"))).text == "at last"


@pytest.mark.feature("S001-18")
async def test_a_plugin_decides_on_retries(waits):
    class Policy(Plugin):
        def retry_policy(self, request, error, tries):
            if error.vendor_code == "warming_up":
                return Retry.after(0.25)
            return Retry.never() if isinstance(error, ServerFaultError) else None

    warming = flaky(*[InvalidRequestError("not yet", vendor_code="warming_up", sent=True)] * 3)
    broken = flaky(ServerFaultError("down", sent=True))
    async with host(policy=Policy, warming=warming, broken=broken) as h:
        assert (await h.call(Chat("hi").to("warming/m"))).text == "at last"
        with pytest.raises(ServerFaultError):
            await h.call(Chat("hi").to("broken/m"))
    assert (waits, broken.asked) == ([pytest.approx(0.25, abs=0.05)] * 3, 1)


async def test_a_policy_that_raises_is_as_one_that_says_nothing(waits, caplog):
    class Policy(Plugin):
        def retry_policy(self, request, error, tries):
            raise RuntimeError("no")

    bad = flaky(OverloadedError("busy"))
    async with host(policy=Policy, bad=bad) as h:
        assert (await h.call(Chat("hi").to("bad/m"))).text == "at last"
    assert "'policy' raised RuntimeError" in caplog.text


async def test_an_open_breaker_hides_not_what_has_opened_it(caplog):
    config = {"host": {"retry": {"max_retries": 9, "base_delay": 0.001}}}
    bad = failing(ServerFaultError("down", sent=True))
    async with host(config, bad=bad) as h:
        with pytest.raises(ServerFaultError):
            await h.call(Chat("hi").to("bad/m"))
        with pytest.raises(BreakerOpenError) as caught:
            await h.call(Chat("hi").to("bad/m"))
    assert bad.asked == 5
    assert "bad/m: the circuit breaker is open, it was closed" in caplog.text
    assert 0 < caught.value.retry_after <= 30


async def test_cancelling_a_call_that_waits_ends_it():
    waiting = asyncio.Event()

    class Policy(Plugin):
        def retry_policy(self, request, error, tries):
            waiting.set()
            return Retry.after(100.0)

    async with host(policy=Policy, bad=failing(OverloadedError("busy"))) as h:
        task = asyncio.create_task(h.call(Chat("hi").to("bad/m")))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bad_in_flight(h) == 0


def bad_in_flight(h):
    return sum(series.in_flight for series in h.snapshot().targets)


async def test_a_retry_budget_keeps_a_storm_from_growing():
    config = {
        "host": {"retry": {"base_delay": 0.0001, "max_delay": 0.0002}, "circuit_breaker": {"enabled": False}}
    }
    bad = failing(ServerFaultError("down", sent=True))
    async with host(config, bad=bad) as h:

        async def one():
            with pytest.raises(ServerFaultError):
                await h.call(Chat("hi").to("bad/m"))

        for _ in range(50):
            await asyncio.gather(*(one() for _ in range(40)))
    retries = bad.asked - 2000
    assert retries <= 0.15 * 2000 + 30 + 3 * 10  # the share, what is saved up, and what flows in
    assert h.snapshot().total().retries == retries


async def test_a_stream_given_instead_of_a_reply_counts_once():
    async with host() as h:
        await h.stream(Chat("hi").to("good/m")).collect()
        await h.call(Chat("hi").to("good/m"))
    (target,) = h.snapshot().targets
    assert dict(target.attempts) == {"ok": 2}
    assert (target.input_tokens, target.in_flight) == (2, 0)


async def test_a_stream_that_is_left_is_neither_good_nor_bad():
    async with host() as h, h.stream(Chat("hi").to("good/m")) as stream:
        async for _ in stream:
            break
    (target,) = h.snapshot().targets
    assert dict(target.attempts) == {"cancelled": 1}
    assert isinstance(stream, Stream)
