"""Streams that are dropped, ended before their time or disturbed by middlewares leave nothing behind."""

import asyncio
import gc

import pytest

from gleitzeit import Chat, Finished, Host, Model, Plugin, Provider, Reply, Stream, TextDelta
from gleitzeit.discovery import Index
from gleitzeit.errors import DeadlineError, GleitzeitError, PluginError, TruncatedStreamError

LEFT = "neither read to its end nor closed"


class Streaming(Provider):
    """Streams two words and waits in between, if it is told to."""

    closed = 0

    def provide_models(self):
        yield Model("m", operations={Chat})
        yield Model("stall", operations={Chat})

    async def call(self, request):
        return Stream(self.events(request))

    async def events(self, request):
        try:
            yield TextDelta("one ")
            if request.name == "stall":
                await asyncio.Event().wait()
            yield TextDelta("two")
            yield Finished("stop")
        finally:
            self.closed += 1


def around(change):
    """A plugin whose middleware gives `change(answer)`."""

    class Around(Plugin):
        def wrap_call(self, route):
            async def around(request, call_next):
                return change(await call_next(request))

            return around

    return {"around": Around}


def host(**plugins):
    return Host({}, plugins={"streaming": Streaming, **plugins}, environ={}, index=Index())


def drop(held):
    """Forget what is held, as a caller does that loses interest."""
    held.clear()
    gc.collect()


async def failure_of(call):
    """What the `PluginError` of a call says; the error itself, which holds frames, is forgotten."""
    try:
        await call
    except PluginError as error:
        said = str(error)
    gc.collect()
    return said


async def nothing_is_left(host):
    """Collect what was dropped, and let its source close."""
    instance = host._registry.find("provider", "streaming")
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    return not instance.leases and instance.object.closed > 0


async def test_a_stream_that_was_entered_and_dropped_is_closed_and_reported():
    async with host() as h:
        held = [await h.stream(Chat("hi").to("streaming/m")).__aenter__()]
        with pytest.warns(ResourceWarning, match=LEFT):
            drop(held)
        assert await nothing_is_left(h)


async def test_a_stream_that_was_read_in_part_and_dropped_is_closed_and_reported():
    async with host() as h:
        held = [h.stream(Chat("hi").to("streaming/m"))]
        assert (await anext(held[0])).text == "one "
        with pytest.warns(ResourceWarning, match=LEFT):
            drop(held)
        assert await nothing_is_left(h)


async def test_a_stream_that_was_never_entered_asks_nobody():
    async with host() as h:
        stream = h.stream(Chat("hi").to("streaming/m"))
        del stream
        assert h._registry.find("provider", "streaming").object is None


async def test_a_middleware_that_drops_a_stream_for_a_reply_is_answered_and_reported():
    async with host(**around(lambda stream: Reply("cached"))) as h:
        with pytest.warns(ResourceWarning, match=LEFT):
            reply = await h.call(Chat("hi").to("streaming/m"))
        assert reply.text == "cached"
        assert await nothing_is_left(h)


async def test_a_middleware_that_raises_is_a_typed_error_and_drops_its_stream():
    def fail(answer):
        raise ZeroDivisionError("in the middleware")

    async with host(**around(fail)) as h:
        with pytest.warns(ResourceWarning, match=LEFT):
            assert "in the middleware" in await failure_of(h.call(Chat("hi").to("streaming/m")))
        assert await nothing_is_left(h)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tap_that_raises_on_the_first_event_ends_the_stream_with_a_typed_error(streamed):
    def tapped(stream):
        return stream.tap(lambda event: event.missing)

    async with host(**around(tapped)) as h:
        request = Chat("hi").to("streaming/m")
        with pytest.raises(GleitzeitError):
            await (h.stream(request).collect() if streamed else h.call(request))
        assert await nothing_is_left(h)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_provider_that_gives_an_ended_stream_gives_a_truncated_one(streamed):
    class Ended(Streaming):
        async def call(self, request):
            stream = Stream(self.events(request))
            await stream.collect()
            return stream

    async with host(streaming=Ended) as h:
        request = Chat("hi").to("streaming/m")
        with pytest.raises(TruncatedStreamError):
            await (h.stream(request).collect() if streamed else h.call(request))
        assert await nothing_is_left(h)


@pytest.mark.parametrize("last", [TextDelta("two"), Finished("stop")], ids=["goes on", "finishes"])
async def test_a_deadline_leaves_no_cancellation_behind_where_the_source_swallows_it(last):
    class Stubborn(Streaming):
        async def events(self, request):
            yield TextDelta("one")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            yield last
            yield Finished("stop")

    async with host(streaming=Stubborn) as h:
        stream = h.stream(Chat("hi").to("streaming/m", timeout=0.02))
        try:
            await stream.collect()
        except DeadlineError:
            assert last != Finished("stop")
        assert stream.done
        assert asyncio.current_task().cancelling() == 0


async def test_one_failing_watcher_of_the_end_does_not_keep_the_others_from_knowing():
    ends = []
    failures = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: failures.append(context["exception"])
    )

    def tapped(stream):
        return stream.tap(on_end=lambda end: end.missing).tap(on_end=ends.append)

    async with host(**around(tapped)) as h:
        assert (await h.call(Chat("hi").to("streaming/m"))).text == "one two"
        assert await nothing_is_left(h)
    assert [end.outcome for end in ends] == ["finished"]
    assert [type(failure) for failure in failures] == [AttributeError]
