"""Whatever is done to a stream in whatever order: each event once and in order, one end, nothing after it."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gleitzeit import Finished, Stream, TextDelta
from gleitzeit.errors import DeadlineError, GleitzeitError, ResetError, TruncatedStreamError
from gleitzeit.values import Started


class Source:
    """Gives its events one by one, as they are fed, and knows whether it was closed."""

    def __init__(self, events, error):
        self.events = events
        self.error = error
        self.fed = asyncio.Semaphore(0)
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        assert not self.closed, "read after it was closed"
        await self.fed.acquire()
        if self.events:
            return self.events.pop(0)
        raise self.error or StopAsyncIteration

    async def aclose(self):
        self.closed += 1


class Step:
    """Changes texts visibly; drops or refuses the event of one number; notes what it was shown."""

    def __init__(self, kind, number, mark):
        self.kind = kind
        self.about = TextDelta(str(number)).text if number < 5 else None
        self.mark = mark
        self.shown = []

    def __call__(self, event):
        self.shown.append(event)
        return self.change(event)

    def change(self, event):
        if self.kind == "mark":
            return TextDelta(event.text + self.mark) if isinstance(event, TextDelta) else event
        about = None if not isinstance(event, TextDelta) else event.text.partition("+")[0]
        if about == self.about and (about is not None or isinstance(event, Finished)):
            if self.kind == "raise":
                raise ValueError(self.mark)
            return None
        return event


class StreamMachine(RuleBasedStateMachine):
    """One stream and its one reader; each action runs until nothing moves any more."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.task = None
        self.primed = self.interrupted = self.cancelled = False
        self.end = None
        self.steps = []
        self.delivered = []
        self.watchers = []

    @initialize(
        texts=st.integers(0, 4),
        ending=st.sampled_from(["finished", "cut", "reset", "more"]),
        layers=st.integers(0, 2),
        fed=st.integers(0, 8),
    )
    def begin(self, texts, ending, layers, fed):
        events = [Started(), *(TextDelta(str(number)) for number in range(texts))]
        events += [Finished()] if ending in ("finished", "more") else []
        events += [TextDelta("too late")] if ending == "more" else []
        self.coming = list(events)
        self.run(self.make(Source(events, ResetError("reset") if ending == "reset" else None), layers))
        for _ in range(fed):
            self.source.fed.release()

    async def make(self, source, layers):
        self.source = source
        self.layers = layers
        self.stream = Stream(source)
        for _ in range(layers):
            self.stream = self.opening(self.stream)

    def opening(self, inner):
        """A stream that takes a while to open, and then is `inner`."""

        async def open():
            await self.source.fed.acquire()
            self.layers -= 1
            return inner

        return Stream.opening(open)

    @rule(count=st.integers(1, 3))
    def feed(self, count):
        for _ in range(count):
            self.source.fed.release()
        self.settle()

    @precondition(lambda self: self.task is None)
    @rule()
    def read(self):
        self.start(self.stream.__anext__, "read")

    @precondition(lambda self: self.task is None and not self.delivered)
    @rule()
    def prime(self):
        self.start(self.stream.prime, "prime")

    @precondition(lambda self: self.task is None)
    @rule()
    def close(self):
        self.run(self.stream.aclose())
        self.end = self.end or "closed"

    @precondition(lambda self: self.task is not None)
    @rule()
    def cancel(self):
        self.cancelled = True
        self.task.cancel()
        self.settle()

    @rule()
    def interrupt(self):
        self.interrupted = self.interrupted or self.end is None
        self.run(self.call(lambda: self.stream.interrupt(DeadlineError("time is over"))))
        self.settle()

    @precondition(lambda self: self.end is None)
    @rule(kind=st.sampled_from(["mark", "mark", "drop", "raise"]), number=st.integers(0, 5))
    def map(self, kind, number):
        step = Step(kind, number, f"+{len(self.steps)}")
        self.steps.append(step)
        self.run(self.call(lambda: self.stream.map(step)))

    @rule()
    def watch_the_end(self):
        ends = []
        self.watchers.append(ends)
        self.run(self.call(lambda: self.stream.tap(on_end=ends.append)))

    def start(self, act, kind):
        self.was_ended = self.end is not None

        async def guarded():
            try:
                return kind, await act()
            except (StopAsyncIteration, GleitzeitError, ValueError) as error:
                assert asyncio.current_task().cancelling() == 0
                return kind, error

        self.task = self.run(self.call(lambda: asyncio.create_task(guarded())))
        self.settle()

    def settle(self):
        self.run(turns())
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            if task.cancelled():
                assert self.cancelled, "cancelled, but not by the reader"
                self.end = self.end or "cancelled"
            else:
                self.came(*task.result())

    def came(self, kind, result):
        if self.primed and kind == "prime" and not self.was_ended:
            assert result is self.stream
        elif self.was_ended:
            assert isinstance(result, TruncatedStreamError if kind == "prime" else StopAsyncIteration)
        elif self.interrupted:
            assert isinstance(result, DeadlineError)
            self.end = "failed"
        elif isinstance(expected := self.next_of(kind), Exception):
            assert type(result) is type(expected)
            assert str(result).startswith(str(expected))
            self.end = "failed"
        elif kind == "prime":
            assert result is self.stream
            self.primed = True
        else:
            assert result == expected
            self.delivered.append(result)
            if isinstance(result, Finished):
                self.end = "finished"

    def next_of(self, kind):
        """What the source's next event amounts to after all steps, or how the stream must fail."""
        position = 0
        while position < len(self.coming):
            event = self.coming[position]
            try:
                for step in self.steps:
                    event = step.change(event)
                    if event is None:
                        break
            except ValueError as error:
                return error
            position += 1
            if event is not None and (kind == "read" or event.content):
                if kind == "read":
                    del self.coming[:position]
                return event
        return self.source.error or TruncatedStreamError("the stream ended without its terminal mark")

    @invariant()
    def there_is_one_end_and_everybody_hears_of_it(self):
        if hasattr(self, "stream"):
            assert self.stream.done == (self.end is not None)
            for ends in self.watchers:
                assert [end.outcome for end in ends] == ([self.end] if self.end is not None else [])

    @invariant()
    def the_source_is_closed_with_the_end_and_only_then(self):
        if hasattr(self, "stream"):
            opened = self.layers == 0
            assert self.source.closed == (opened and self.end is not None)

    @invariant()
    def no_step_sees_an_event_twice(self):
        for step in self.steps:
            assert len(step.shown) == len({id(event) for event in step.shown})

    @invariant()
    def the_reply_is_made_of_what_was_delivered(self):
        if hasattr(self, "stream") and self.end != "failed":
            texts = [event.text for event in self.delivered if isinstance(event, TextDelta)]
            assert self.stream.reply.text == "".join(texts)

    def teardown(self):
        if hasattr(self, "stream"):
            if self.task is not None:
                self.cancel()
            self.run(self.stream.aclose())
        self.loop.close()

    async def call(self, act):
        return act()

    def run(self, work):
        return self.loop.run_until_complete(work)


async def turns():
    for _ in range(12):
        await asyncio.sleep(0)


StreamMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=25, deadline=None)
TestStream = StreamMachine.TestCase


async def test_a_step_that_comes_after_priming_changes_what_was_read_already():
    async def events():
        yield TextDelta("one")
        yield TextDelta("two")
        yield Finished()

    stream = await Stream(events()).prime()
    stream.map(lambda event: TextDelta(event.text.upper()) if isinstance(event, TextDelta) else event)
    assert (await stream.collect()).text == "ONETWO"
