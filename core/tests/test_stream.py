"""Streams: one terminal event, closed inward, interruptible, cheap to wrap."""

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import DeadlineError, TruncatedStreamError
from gleitzeit.values import (
    Finished,
    Label,
    PartDone,
    Reply,
    Started,
    Stream,
    StreamEnd,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
)
from gleitzeit.values.fold import events_of, fold


class Source:
    """Events from a list, noting what happens to it."""

    def __init__(self, *events, stall_after=None):
        self.events = events
        self.stall_after = stall_after
        self.closed = asyncio.Event()
        self.stalled = asyncio.Event()
        self.pulled = 0

    async def __aiter__(self):
        try:
            for number, event in enumerate(self.events):
                if number == self.stall_after:
                    self.stalled.set()
                    await asyncio.Event().wait()
                self.pulled += 1
                yield event
        finally:
            self.closed.set()


async def test_a_stream_ends_after_its_terminal_event():
    stream = Stream(Source(TextDelta("a"), TextDelta("b"), Finished("stop", usage=Usage(output=2))))
    events = [event async for event in stream]
    assert [type(event).__name__ for event in events] == ["TextDelta", "TextDelta", "Finished"]
    assert stream.reply.text == "ab"
    assert stream.reply.usage == Usage(output=2)
    assert [event async for event in stream] == []


async def test_events_after_the_terminal_one_are_never_seen_and_the_source_is_closed():
    source = Source(Finished(), TextDelta("late"))
    assert [event async for event in Stream(source)] == [Finished()]
    assert source.closed.is_set()


async def test_input_that_ends_without_terminal_mark_raises_with_what_came():
    stream = Stream(Source(TextDelta("half"), UsageUpdate(Usage(input=3))))
    with pytest.raises(TruncatedStreamError) as caught:
        await stream.collect()
    assert caught.value.partial.text == "half"
    assert caught.value.partial.usage == Usage(input=3)


async def test_leaving_the_block_early_closes_the_source_in_the_same_task():
    source = Source(TextDelta("a"), TextDelta("b"), Finished())
    async with Stream(source) as stream:
        async for _ in stream:
            break
    assert source.closed.is_set()
    assert source.pulled == 1
    assert stream.done


async def test_closing_twice_is_harmless_and_reading_on_ends():
    stream = Stream(Source(TextDelta("a"), Finished()))
    await stream.aclose()
    await stream.aclose()
    assert [event async for event in stream] == []


@pytest.mark.parametrize("stall", [0, 1])
async def test_cancelling_the_reader_closes_the_source(stall):
    source = Source(TextDelta("a"), Finished(), stall_after=stall)
    ends = []
    stream = Stream(source).tap(on_end=ends.append)
    task = asyncio.create_task(stream.collect())
    await source.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed.is_set()
    assert [end.outcome for end in ends] == ["cancelled"]


async def test_priming_reads_to_the_first_content_and_loses_nothing():
    source = Source(Started(id="1"), UsageUpdate(Usage(input=1)), TextDelta("a"), TextDelta("b"), Finished())
    stream = await Stream(source).prime()
    assert source.pulled == 3
    assert len([event async for event in stream]) == 5


async def test_priming_an_empty_answer_stops_at_its_end():
    stream = await Stream(Source(Started(), Finished("length"))).prime()
    assert [type(event) for event in [event async for event in stream]] == [Started, Finished]
    assert stream.reply.finish_reason == "length"


async def test_map_replaces_and_drops_also_what_was_primed():
    stream = await Stream(Source(Started(), TextDelta("a"), TextDelta("b"), Finished())).prime()
    stream.map(lambda event: None if isinstance(event, Started) else event)
    stream.map(lambda event: TextDelta(event.text.upper()) if isinstance(event, TextDelta) else event)
    assert (await stream.collect()).text == "AB"


async def test_the_end_is_told_once_whenever_one_asks():
    ends = []
    stream = Stream(Source(TextDelta("a"), Finished())).tap(on_end=ends.append)
    await stream.collect()
    stream.tap(on_end=ends.append)
    await stream.aclose()
    assert ends == [StreamEnd("finished"), StreamEnd("finished")]


async def test_a_failing_source_is_raised_and_told():
    async def broken():
        yield TextDelta("a")
        raise ValueError("no")

    ends = []
    with pytest.raises(ValueError, match="no"):
        await Stream(broken()).tap(on_end=ends.append).collect()
    assert ends[0].outcome == "failed"


async def test_an_opened_stream_is_one_layer_and_opens_only_when_read():
    opened = []

    async def open():
        opened.append(True)
        return await Stream(Source(Started(), TextDelta("a"), Finished())).prime()

    ends = []
    stream = Stream.opening(open).tap(on_end=ends.append)
    assert not opened
    assert (await stream.collect()).text == "a"
    assert [end.outcome for end in ends] == ["finished"]


async def test_failing_to_open_is_raised_and_told():
    async def open():
        raise DeadlineError("late")

    ends = []
    stream = Stream.opening(open).tap(on_end=ends.append)
    with pytest.raises(DeadlineError):
        await stream.collect()
    assert ends[0].outcome == "failed"


async def test_interrupting_a_waiting_reader_raises_the_error_and_leaves_the_task_usable():
    source = Source(TextDelta("a"), Finished(), stall_after=1)

    async def read():
        stream = Stream(source)
        asyncio.get_running_loop().call_later(0.01, stream.interrupt, DeadlineError("over"))
        with pytest.raises(DeadlineError):
            await stream.collect()
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)
        return "alive"

    assert await asyncio.create_task(read()) == "alive"
    assert source.closed.is_set()


async def test_interrupting_spares_a_reader_that_is_busy_elsewhere():
    stream = Stream(Source(TextDelta("a"), TextDelta("b"), Finished()))
    await anext(stream)
    stream.interrupt(DeadlineError("over"))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineError):
        await anext(stream)


async def test_a_cancellation_from_outside_is_not_mistaken_for_an_interruption():
    source = Source(TextDelta("a"), Finished(), stall_after=0)
    stream = Stream(source)
    task = asyncio.create_task(stream.collect())
    await source.stalled.wait()
    task.cancel()
    stream.interrupt(DeadlineError("over"))
    with pytest.raises((asyncio.CancelledError, DeadlineError)):
        await task
    assert source.closed.is_set()


async def test_a_stream_may_be_read_by_another_task_than_the_one_that_primed_it():
    stream = await Stream(Source(TextDelta("a"), TextDelta("b"), Finished())).prime()
    assert (await asyncio.create_task(stream.collect())).text == "ab"


async def test_an_abandoned_stream_warns_and_tells_its_end():
    ends = []

    async def abandon():
        stream = Stream(Source(TextDelta("a"), TextDelta("b"), Finished())).tap(on_end=ends.append)
        await anext(stream)

    async def abandon_and_collect():
        await abandon()
        gc.collect()
        await asyncio.sleep(0)

    with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
        await abandon_and_collect()
    assert [end.outcome for end in ends] == ["closed"]


async def test_a_whole_reply_as_a_stream_gives_itself_back():
    reply = Reply(
        [TextPart("hi")],
        finish_reason="length",
        raw_finish_reason="max",
        usage=Usage(input=1),
        id="i",
        model="m",
    )
    assert await Stream.of(reply).collect() == reply


async def test_vectors_and_labels_survive_a_stream():
    reply = Reply(vectors=((0.5, 1.0),), labels=((Label("good", score=0.9),),), finish_reason="stop")
    assert await Stream.of(reply).collect() == reply


def test_fold_sets_ids_and_names_and_appends_arguments():
    reply = fold(
        [
            ToolCallDelta(0, id="c", name="f", arguments='{"a"'),
            ToolCallDelta(1, id="d", name="g"),
            ToolCallDelta(0, id="c", name="f", arguments=": 1}"),
            Finished("tool_calls"),
        ]
    )
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [
        ("c", "f", {"a": 1}),
        ("d", "g", {}),
    ]


def test_fold_keeps_broken_arguments_as_they_came():
    (call,) = fold([ToolCallDelta(0, id="c", name="f", arguments='{"a": '), Finished()]).tool_calls
    assert call.arguments is None
    assert call.raw == '{"a": '


def test_a_whole_part_replaces_its_deltas():
    whole = TextPart("ab")
    assert fold([TextDelta("a"), TextDelta("b"), PartDone(whole, index=0), Finished()]).parts == (whole,)


@given(st.lists(st.tuples(st.sampled_from(["text", "thinking"]), st.text(), st.integers(0, 2)), max_size=20))
def test_folding_deltas_joins_each_part_in_order(pieces):
    kinds = {"text": TextDelta, "thinking": ThinkingDelta}
    reply = fold([*(kinds[kind](text, index=index) for kind, text, index in pieces), Finished()])
    for kind, joined in (("text", reply.text), ("thinking", reply.thinking)):
        order = list(dict.fromkeys(index for k, _, index in pieces if k == kind))
        assert joined == "".join(t for wanted in order for k, t, i in pieces if k == kind and i == wanted)


@given(st.lists(st.text(min_size=1), max_size=5), st.sampled_from(["stop", "length"]))
def test_events_of_a_reply_fold_back_to_it(texts, reason):
    reply = Reply([TextPart(text) for text in texts], finish_reason=reason)
    assert fold(events_of(reply)) == reply
