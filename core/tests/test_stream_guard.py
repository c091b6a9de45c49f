"""A stream is ended when upstream is silent for too long, and only then."""

import asyncio
import gc
import math
import time
import weakref

import pytest

from gleitzeit.errors import DeadlineError, PluginError, ResetError
from gleitzeit.resilience import Clock, StreamGuard
from gleitzeit.values import Finished, Started, Stream, TextDelta, Usage, UsageUpdate

FIRST, IDLE = 8.0, 3.0


class Time:
    """Seconds that pass when a test says so."""

    seconds = 100.0

    def __call__(self):
        return self.seconds


class Source:
    """Gives its events when they are fed; `progress` counts signs of life."""

    def __init__(self, *events):
        self.events = list(events)
        self.fed = asyncio.Semaphore(0)
        self.reading = asyncio.Event()
        self.closed = False
        self.progress = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.reading.set()
        await self.fed.acquire()
        self.reading.clear()
        return self.events.pop(0)

    async def aclose(self):
        self.closed = True


def typed(error):
    error.provider = "p"
    return error


class Case:
    """A stream under guard, in a time of its own."""

    def __init__(self, *events, deadline=None, first_event=FIRST, idle=IDLE, steps=()):
        self.clock = Clock(now=Time())
        self.source = Source(*events)
        self.stream = Stream(self.source)
        for step in steps:
            self.stream.map(step)
        self.guard = StreamGuard(deadline, "the stream from p/m", typed, self.clock, first_event, idle)
        self.stream.watch(self.guard)

    def read(self, act=None):
        """A task that reads one event."""
        return asyncio.create_task(act() if act else anext_of(self.stream))

    async def waits(self):
        """Let the reader come to where it waits for upstream."""
        await self.source.reading.wait()

    async def feed(self, task):
        self.source.fed.release()
        return await task

    async def passes(self, seconds, task=None):
        """Let the time pass as the clock sees it; gives when `task` was done."""
        end = self.clock.now.seconds + seconds
        while self.clock.next_at <= end:
            self.clock.now.seconds = max(self.clock.now.seconds, self.clock.next_at)
            self.clock.fire()
            for _ in range(6):
                await asyncio.sleep(0)
            if task is not None and task.done():
                return self.clock.now.seconds
        self.clock.now.seconds = end
        return None


async def anext_of(stream):
    return await stream.__anext__()


def drop(held):
    """Forget what is held, as a caller does that loses interest."""
    held.clear()
    gc.collect()


def within(since, limit, at):
    """Is the silence noticed at the limit or up to half a second later?"""
    return at is not None and since + limit <= at <= since + limit + 0.5


async def test_silence_before_the_first_event_ends_the_stream():
    case = Case()
    case.clock.now.seconds = 100.3
    task = case.read()
    await case.waits()
    at = await case.passes(60, task)
    assert within(100.3, FIRST, at)
    with pytest.raises(
        DeadlineError, match=r"the stream from p/m was silent for 8 s before its first"
    ) as caught:
        await task
    error = caught.value
    assert (error.retryable, error.sent, error.fallback, error.provider) == (True, True, True, "p")
    assert "first_event" in str(error)
    assert case.source.closed
    assert len(case.clock) == 0


async def test_silence_between_events_ends_the_stream_and_keeps_what_came():
    case = Case(TextDelta("half"))
    task = case.read()
    await case.feed(task)
    await case.passes(0.7)
    task = case.read()
    await case.waits()
    assert within(100.7, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError, match="silent for 3 s after an event") as caught:
        await task
    assert caught.value.partial.text == "half"


async def test_an_event_without_content_is_no_first_event():
    """Some servers say at once that they have begun, and think for a minute then."""
    case = Case(Started())
    await case.feed(case.read())
    task = case.read()
    await case.waits()
    assert within(100.0, FIRST, await case.passes(60, task))
    with pytest.raises(DeadlineError, match="before its first event"):
        await task


async def test_each_event_begins_the_waiting_anew():
    case = Case(*[TextDelta("x")] * 6)
    await case.feed(case.read())
    for _ in range(5):
        task = case.read()
        await case.waits()
        assert await case.passes(IDLE - 0.6, task) is None
        await case.feed(task)
    task = case.read()
    await case.waits()
    assert within(case.clock.now.seconds, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task


async def test_an_event_that_a_step_drops_is_a_sign_of_life():
    case = Case(
        TextDelta("x"),
        *[TextDelta("drop")] * 3,
        steps=[lambda event: None if event == TextDelta("drop") else event],
    )
    await case.feed(case.read())
    task = case.read()
    for count in range(3):
        await case.waits()
        assert await case.passes(IDLE - 0.6, task) is None
        case.source.fed.release()
        while len(case.source.events) == 3 - count:
            await asyncio.sleep(0)
    await case.waits()
    assert within(case.clock.now.seconds, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task


async def test_bytes_without_an_event_are_a_sign_of_life():
    case = Case(TextDelta("x"))
    await case.feed(case.read())
    task = case.read()
    await case.waits()
    for _ in range(3):
        assert await case.passes(IDLE - 0.6, task) is None
        case.source.progress += 1
    assert within(case.clock.now.seconds, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task


async def test_a_reader_who_takes_his_time_is_no_silence():
    case = Case(TextDelta("a"), TextDelta("b"), Finished())
    for event in (TextDelta("a"), TextDelta("b"), Finished()):
        await case.passes(20 * FIRST)
        assert await case.feed(case.read()) == event
    assert len(case.clock) == 0


async def test_only_the_waiting_of_the_reader_counts_after_a_pause():
    case = Case(TextDelta("a"))
    await case.feed(case.read())
    await case.passes(100)
    task = case.read()
    await case.waits()
    assert within(200.0, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task


async def test_silence_while_priming_counts_and_what_was_primed_does_not():
    case = Case(UsageUpdate(Usage(input=3)), TextDelta("a"))
    task = case.read(case.stream.prime)
    await case.waits()
    assert await case.passes(FIRST - 0.6, task) is None
    case.source.fed.release()
    await case.waits()
    assert await case.passes(FIRST - 0.6, task) is None
    await case.feed(task)
    await case.passes(100)
    assert await anext_of(case.stream) == UsageUpdate(Usage(input=3))
    await case.passes(100)
    assert await anext_of(case.stream) == TextDelta("a")
    task = case.read()
    await case.waits()
    assert within(case.clock.now.seconds, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError) as caught:
        await task
    assert caught.value.partial.usage == Usage(input=3)


async def test_silence_while_priming_ends_it():
    case = Case()
    task = case.read(case.stream.prime)
    await case.waits()
    assert within(100.0, FIRST, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task
    assert case.source.closed


@pytest.mark.parametrize("first", ["reader", "guard"])
@pytest.mark.parametrize("reads", [0, 1, 2])
async def test_a_cancellation_from_outside_in_the_same_tick_wins(first, reads):
    case = Case(TextDelta("a"), TextDelta("b"))
    for _ in range(reads):
        await case.feed(case.read())
    task = case.read()
    await case.waits()
    if first == "reader":
        task.cancel()
        case.guard.fail(DeadlineError("silent"))
    else:
        case.guard.fail(DeadlineError("silent"))
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert case.source.closed
    assert len(case.clock) == 0


async def test_a_reader_who_goes_leaves_no_entry():
    case = Case()
    task = case.read()
    await case.waits()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(case.clock) == 0


async def test_a_stream_that_another_task_reads_is_guarded_as_well():
    case = Case(TextDelta("a"), TextDelta("b"))
    await case.feed(case.read())
    await case.feed(asyncio.create_task(anext_of(case.stream)))
    task = case.read()
    await case.waits()
    assert within(100.0, IDLE, await case.passes(60, task))
    with pytest.raises(DeadlineError):
        await task
    assert task.cancelling() == 0


async def test_an_abandoned_stream_is_freed_with_its_entry():
    case = Case(TextDelta("a"))
    await case.feed(case.read())
    clock, freed = case.clock, weakref.ref(case.stream)
    held = [case]
    del case
    with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
        drop(held)
    assert freed() is None
    assert len(clock) == 0


@pytest.mark.parametrize("limits", [(0.0, 0.0), (FIRST, IDLE)])
async def test_the_deadline_holds_whatever_else_does(limits):
    case = Case(TextDelta("a"), deadline=102.0, first_event=limits[0], idle=limits[1])
    await case.feed(case.read())
    task = case.read()
    await case.waits()
    assert await case.passes(60, task) == 102.0
    with pytest.raises(DeadlineError, match="did not end within its deadline"):
        await task


async def test_without_limits_nothing_is_in_the_clock():
    case = Case(first_event=0.0, idle=0.0)
    assert (len(case.clock), case.guard.due) == (0, math.inf)
    await case.stream.aclose()


async def test_one_limit_may_stand_alone():
    case = Case(TextDelta("a"), idle=0.0)
    await case.passes(1)
    await case.feed(case.read())
    task = case.read()
    await case.waits()
    assert await case.passes(1000, task) is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_streams_are_looked_at_together():
    clock = Clock(now=Time())
    streams = []
    for number in range(200):
        clock.now.seconds = 100 + number / 37
        stream = Stream(Source())
        stream.watch(StreamGuard(None, "the stream", typed, clock, 120.0, 60.0))
        streams.append(stream)
    begun = clock.firings
    while clock.next_at <= 115:
        clock.now.seconds = clock.next_at
        clock.fire()
    assert clock.firings - begun <= 31
    for stream in streams:
        await stream.aclose()
    assert len(clock) == 0


async def test_a_stream_that_opens_late_keeps_its_guard_and_that_of_what_it_becomes():
    outer, inner = Clock(now=Time()), Case(TextDelta("a"))

    async def open():
        return inner.stream

    def wrapped(error):
        return PluginError(f"seen: {error}")

    stream = Stream.opening(open)
    stream.watch(StreamGuard(None, "the outer stream", wrapped, outer, FIRST, IDLE))
    inner.source.fed.release()
    assert await anext_of(stream) == TextDelta("a")
    task = asyncio.create_task(anext_of(stream))
    await inner.waits()
    assert (len(outer), len(inner.clock)) == (1, 1)
    assert within(100.0, IDLE, await inner.passes(60, task))
    with pytest.raises(DeadlineError, match="the stream from p/m was silent"):
        await task
    assert (len(outer), len(inner.clock)) == (0, 0)


async def test_what_upstream_raises_passes_both_guards():
    inner = Case()

    async def breaking():
        raise ResetError("broken")
        yield

    async def open():
        return Stream(breaking()).watch(inner.guard)

    stream = Stream.opening(open)
    stream.watch(StreamGuard(None, "the outer stream", lambda error: PluginError(f"seen: {error.provider}")))
    with pytest.raises(PluginError, match="seen: p"):
        await anext_of(stream)
    await inner.stream.aclose()


@pytest.mark.parametrize("shared", [True, False])
async def test_in_real_time_too(shared):
    clock = Clock() if shared else None
    source = Source()
    guard = StreamGuard(time.monotonic() + 60, "the stream", typed, clock, first_event=0.02)
    stream = Stream(source).watch(guard)
    with pytest.raises(DeadlineError, match="was silent"):
        await stream.collect()
    assert clock is None or len(clock) == 0


async def test_started_is_known_once_it_was_read():
    begun = Started(id="1")
    case = Case(begun, TextDelta("a"), Finished())
    assert case.stream.started is None
    task = case.read(case.stream.prime)
    case.source.fed.release()
    await case.feed(task)
    assert case.stream.started is begun
    case.source.fed.release()
    await case.stream.collect()
    assert case.stream.started is begun


async def test_a_stream_that_begins_with_content_has_no_started():
    case = Case(TextDelta("a"), Finished(usage=Usage(output=2)))
    await case.feed(case.read())
    assert (case.stream.started, case.stream.usage) == (None, None)
    await case.feed(case.read())
    assert (case.stream.started, case.stream.usage) == (None, Usage(output=2))


async def test_the_newest_usage_counts():
    case = Case(UsageUpdate(Usage(input=1)), UsageUpdate(Usage(input=1, output=5)), Finished())
    for usage in (Usage(input=1), Usage(input=1, output=5), Usage(input=1, output=5)):
        await case.feed(case.read())
        assert case.stream.usage == usage
