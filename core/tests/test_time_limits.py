"""Time limits of attempts and of silence: they move a call on, or end it, and leave nothing behind."""

import asyncio
from collections import Counter

import pytest

from core.tests.held import Mute, at_rest, gate
from core.tests.toys import host, route, running
from gleitzeit import Chat, ToolCall
from gleitzeit.errors import DeadlineError


def silent(name, *, timeouts):
    return {"providers": {name: {"timeouts": timeouts}}, "host": {"retry": {"base_delay": 0.001}}}


async def test_an_attempt_that_takes_too_long_moves_on_or_is_repeated():
    config = {**silent("good", timeouts={"attempt": 0.01}), **route("good/slow", "good/m")}
    async with host(config) as h:
        reply = await h.call(Chat("hi").to("r"))
        assert (str(reply.target), type(reply.attempts[0].error)) == ("good/m", DeadlineError)
        with pytest.raises(DeadlineError, match="attempt at good/slow") as caught:
            await h.call(Chat("hi").to("good/slow"))
        names = Counter(request.name for request in running(h).requests)
    assert (names["slow"], caught.value.retryable, caught.value.provider) == (1 + 3, True, "good")
    at_rest(h)


@pytest.mark.parametrize("where", ["first", "head"])
async def test_silence_before_the_first_event_moves_on(where):
    class Silent(Mute):
        pass

    Silent.where = where
    config = {**silent("mute", timeouts={"first_event": 0.02}), **route("mute/m", "good/m")}
    async with host(config, mute=Silent) as h:
        reply = await h.stream(Chat("hi").to("r", timeout=20)).collect()
        assert (str(reply.target), type(reply.attempts[0].error)) == ("good/m", DeadlineError)
    at_rest(h)


async def test_silence_after_an_event_ends_the_stream_and_repeats_nothing():
    class Idle(Mute):
        where = "after"

    config = {**silent("mute", timeouts={"idle": 0.02}), **route("mute/m", "good/m")}
    async with host(config, mute=Idle) as h:
        with pytest.raises(DeadlineError, match=r"silent for 0.02 s after") as caught:
            await h.stream(Chat("hi").to("r", timeout=20)).collect()
        assert caught.value.partial.text == "go"
        assert len(running(h, "mute").requests) == 1
        await running(h, "mute").closed.wait()
    at_rest(h)


@pytest.mark.parametrize(
    "config, limits",
    [
        ({"host": {"timeouts": {"first_event": 1.0, "idle": 2.0, "attempt": 3.0}}}, (0.0, 0.0, 3.0)),
        ({"providers": {"mute": {"timeouts": {"attempt": 3.0}}}}, (0.0, 0.0, 3.0)),
        ({"providers": {"mute": {"timeouts": {"idle": 2.0}}}}, (0.0, 2.0, 0.0)),
        ({"providers": {"mute": {"targets": {"t*": {"timeouts": {"first_event": 4.0}}}}}}, (4.0, 0.0, 0.0)),
        ({"providers": {"mute": {"targets": {"x*": {"timeouts": {"first_event": 4.0}}}}}}, (0.0, 0.0, 0.0)),
    ],
)
async def test_a_tool_may_be_silent_unless_the_operator_says_otherwise(config, limits):
    async with host(config, mute=Mute) as h:
        await h.hooks.provide_tools()
        task = asyncio.create_task(h.call(ToolCall({}).to("mute/t", timeout=0.02)))
        with pytest.raises(DeadlineError):
            await task
        found = h._pipeline._gates.timeouts(gate(h, "mute", "t"), ToolCall)
    assert (found.first_event, found.idle, found.attempt) == limits


async def test_a_tools_silence_ends_where_the_operator_bounds_it():
    config = silent("mute", timeouts={"first_event": 0.02})
    async with host(config, mute=Mute) as h:
        with pytest.raises(DeadlineError, match=r"silent for 0.02 s before"):
            await h.call(ToolCall({}).to("mute/t", timeout=20))
        assert len(running(h, "mute").requests) == 1  # it may have acted
