"""A stream of events: pull-based, closed inward, ended by exactly one `Finished` or a raised error."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError, TruncatedStreamError, UsageError
from gleitzeit.values.events import Event, Finished, Started, UsageUpdate
from gleitzeit.values.fold import events_of, fold
from gleitzeit.values.reply import Attempt, Reply, Usage
from gleitzeit.values.targets import Target
from gleitzeit.values.tasks import running_task

__all__ = ["Stream", "StreamEnd", "StreamWatch"]

_MARKS: Final = frozenset({UsageUpdate, Finished})
Step: TypeAlias = Callable[[Event], Event | None]


@frozen(kw_only=True)
class StreamEnd:
    """How a stream ended: finished well, failed, was cancelled, or was closed by its reader."""

    outcome: Literal["finished", "failed", "cancelled", "closed"] = field(kw_only=False)
    error: BaseException | None = None
    #: What the upstream had reported by then.
    usage: Usage | None = None
    #: It is the whole answer of a tool that reports a failure.
    is_error: bool = False


class StreamWatch(Protocol):
    """Guards the waiting for upstream: timers of the corridor stand behind it."""

    #: The stream to `interrupt`; kept up to date by the stream.
    stream: Stream | None

    def translate(self, error: BaseException) -> BaseException:
        """The error to raise instead of `error`, which came from upstream."""

    def stop(self) -> None:
        """The stream has ended."""


class Stream:
    """The events of one answer, for one reader.

        async with host.stream(request) as stream:
            async for event in stream: ...
        stream.reply

    Nothing is read ahead: a slow reader slows the upstream. Cancelling the reader, `aclose()` and
    leaving the block close the upstream in the same task. Raises `TruncatedStreamError` where
    the source ends without `Finished`.
    """

    __slots__ = (
        "__weakref__",
        "_base",
        "_buffer",
        "_cancelled",
        "_dropped",
        "_end",
        "_ends",
        "_interrupt",
        "_next",
        "_open",
        "_primed",
        "_pump",
        "_seen",
        "_source",
        "_steps",
        "_waiting",
        "_watch",
        "attempts",
        "target",
        "usage",
    )

    def __init__(self, events: AsyncIterable[Event]) -> None:
        self._source: AsyncIterator[Event] = events.__aiter__()
        self._next: Callable[[], Awaitable[Event]] = self._source.__anext__
        self._open: Callable[[], Awaitable[Stream]] | None = None
        self._steps: tuple[Step, ...] = ()
        self._ends: tuple[Callable[[StreamEnd], None], ...] = ()
        self._watch: StreamWatch | None = None
        #: What `prime` has read, after the first `_primed` of the steps.
        self._buffer: deque[Event] = deque()
        self._primed = 0
        self._seen: list[Event] = []
        #: How many events the steps have dropped.
        self._dropped = 0
        #: Who answers, and who failed before; set by the corridor.
        self.target: Target | None = None
        self.attempts: tuple[Attempt, ...] = ()
        #: The newest usage among what was read; None while there is none.
        self.usage: Usage | None = None
        self._pump: AsyncGenerator[Event, None] | None = None
        self._end: StreamEnd | None = None
        self._waiting: asyncio.Task[Any] | None = None
        #: How often the task that reads had been cancelled before it began to.
        self._base = 0
        self._cancelled: tuple[asyncio.Task[Any], int] | None = None
        self._interrupt: GleitzeitError | None = None

    @classmethod
    def opening(cls, open: Callable[[], Awaitable[Stream]]) -> Stream:
        """A stream that `open` supplies when somebody enters or reads it."""
        stream = cls(_nothing())
        stream._open = open
        return stream

    @classmethod
    def of(cls, reply: Reply) -> Stream:
        """A whole reply as a stream."""
        return cls(_each(events_of(reply)))

    def map(self, step: Step) -> Stream:
        """Let `step` replace each event, or drop it by returning None. Returns this stream."""
        self._steps += (step,)
        return self

    def tap(
        self,
        on_event: Callable[[Event], object] | None = None,
        *,
        on_end: Callable[[StreamEnd], None] | None = None,
    ) -> Stream:
        """Watch the events, and the end, which comes exactly once. Returns this stream."""
        if on_event is not None:
            watch = on_event

            def step(event: Event) -> Event:
                watch(event)
                return event

            self.map(step)
        if on_end is not None:
            if self._end is None:
                self._ends += (on_end,)
            else:
                on_end(self._end)
        return self

    def watch(self, watch: StreamWatch) -> Stream:
        """Put the waiting for upstream under `watch`. Returns this stream."""
        self._watch = watch
        watch.stream = self
        if self._end is not None:
            watch.stop()  # it comes too late
        return self

    def interrupt(self, error: GleitzeitError) -> None:
        """End the stream with `error`: now if its reader waits for upstream, else at its next event."""
        if self._interrupt is None and self._end is None:
            self._interrupt = error
            if self._waiting is not None:
                self._cancelled = self._waiting, self._base
                self._waiting.cancel()

    async def prime(self) -> Stream:
        """Read until the first content event, which commits the stream; what was read is kept."""
        while self._open is not None:
            await self._start()
        if self._buffer:
            return self
        await self._put_down()
        delivered = len(self._seen)
        task = self._read_by(asyncio.current_task())
        while not (self._buffer and self._buffer[-1].content):
            try:
                if self._end is not None:
                    raise StopAsyncIteration
                if self._interrupt is not None:
                    raise self._interrupt
                self._waiting = task
                event = _through(await self._next(), self._steps)
                self._waiting = None
            except BaseException as error:
                failure = await self._broken(error)
                if failure is error:
                    raise
                raise failure from error
            if event is None:
                self._dropped += 1
            else:
                self._buffer.append(event)
                self._seen.append(event)  # a failure tells of it
                self._mark(event)
        del self._seen[delivered:]
        self._primed = len(self._steps)
        return self

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._pump is None:
            self._pump = self._events()
        return self._pump

    def __anext__(self) -> Awaitable[Event]:
        return self.__aiter__().__anext__()

    async def _events(self) -> AsyncGenerator[Event, None]:
        """Pull, step and record: a generator, as a coroutine for each event would cost more."""
        while self._open is not None:
            await self._start()
        pull, seen, buffer, loop = self._next, self._seen, self._buffer, asyncio.get_running_loop()
        reader: asyncio.Task[Any] | None = None
        going = self._end is None
        while going:
            try:
                if self._interrupt is not None:
                    raise self._interrupt
                event: Event | None
                if buffer:
                    event = _through(buffer.popleft(), self._steps[self._primed :])
                else:
                    self._waiting = task = running_task(loop)
                    if task is not reader:
                        reader = self._read_by(task)
                    event = await pull()
                    self._waiting = None
                    for step in self._steps:
                        event = step(event)
                        if event is None:
                            break
            except BaseException as error:
                failure = await self._broken(error)
                if failure is error:
                    raise
                raise failure from error
            if event is None:
                self._dropped += 1
            else:
                seen.append(event)
                if type(event) in _MARKS:
                    self._mark(event)
                    if type(event) is Finished:
                        going = False
                        await self._finish(StreamEnd("finished", is_error=event.is_error))
                yield event

    def _mark(self, event: Event) -> None:
        """Remember what an event says of the stream as a whole."""
        if isinstance(event, (UsageUpdate, Finished)):
            self.usage = event.usage or self.usage

    def _read_by(self, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
        """From here on a cancellation of `task` is one of this reading, whoever asks for it."""
        self._base = 0 if task is None else task.cancelling()
        return task

    async def _put_down(self) -> None:
        """Stop reading for now: the source stays open."""
        pump, self._pump = self._pump, None
        if pump is not None:
            await pump.aclose()  # it stands at a yield

    async def collect(self) -> Reply:
        """Read to the end and give the whole reply."""
        async with self:
            async for _ in self:
                pass
        return self.reply

    @property
    def reply(self) -> Reply:
        """What was delivered so far, as a reply."""
        return fold(self._seen).evolve(target=self.target, attempts=self.attempts)

    @property
    def started(self) -> Started | None:
        """How the upstream began, once that has been read; None where it did not say."""
        for event in itertools.chain(self._seen, self._buffer):
            if type(event) is Started:
                return event
            if event.content:
                break
        return None

    @property
    def begun(self) -> bool:
        """Has content come?"""
        return any(event.content for event in itertools.chain(self._seen, self._buffer))

    @property
    def waiting(self) -> bool:
        """Does a reader wait for upstream now?"""
        return self._waiting is not None

    @property
    def progress(self) -> int:
        """A number that changes whenever something has come from upstream, be it only a sign of life.

        A source without events for such signs counts them in a `progress` of its own.
        """
        own: int = getattr(self._source, "progress", 0)
        return len(self._seen) + self._dropped + own

    @property
    def done(self) -> bool:
        """Has the stream ended, well or not?"""
        return self._end is not None

    async def __aenter__(self) -> Self:
        while self._open is not None:
            await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the upstream. Idempotent; to stop a reader in another task, cancel that task."""
        self._open = None
        if self._end is None:
            await self._put_down()
            await self._finish(StreamEnd("closed"))

    async def _start(self) -> None:
        """Open, and take over what `open` gave: one layer, however many hands passed it on."""
        open, self._open = self._open, None
        if open is None:
            raise UsageError("the stream is being opened by another task")
        try:
            inner = await open()
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            await self._finish(StreamEnd("cancelled" if cancelled else "failed", error=error))
            raise
        await inner._put_down()
        steps, ends = self._steps, self._ends
        self._source, self._next = inner._source, inner._next
        self._watch = _both(self._watch, inner._watch)
        self._dropped += inner._dropped
        self._buffer, self._seen, self._primed = inner._buffer, inner._seen, inner._primed
        self._open, self._end = inner._open, inner._end
        self._steps, self._ends = inner._steps + steps, inner._ends
        if self._watch is not None:
            self._watch.stream = self
        self._interrupt = self._interrupt or inner._interrupt
        self.target, self.attempts, self.usage = inner.target, inner.attempts, inner.usage
        inner._end, inner._ends, inner._buffer = StreamEnd("closed"), (), deque()
        for callback in ends:
            self.tap(on_end=callback)

    async def _broken(self, error: BaseException) -> BaseException:
        """Close after `error` and give the error to raise."""
        waiting, self._waiting = self._waiting, None
        ours = self._uncancel()
        cancelled = isinstance(error, asyncio.CancelledError)
        if (
            self._interrupt is not None
            and self._end is None
            and (isinstance(error, Exception) or (cancelled and ours))
        ):
            error = self._interrupt
        elif isinstance(error, StopAsyncIteration):
            error = TruncatedStreamError(
                "the stream ended without its terminal mark",
                hint="the answer is incomplete; ask again",
                sent=True,
            )
        elif self._watch is not None and not (cancelled and waiting is not None and waiting.cancelling()):
            error = self._watch.translate(error)
        if isinstance(error, GleitzeitError) and error.partial is None:
            error.partial = self.reply
        cancelled = isinstance(error, asyncio.CancelledError)
        await self._finish(StreamEnd("cancelled" if cancelled else "failed", error=error))
        return error

    def _uncancel(self) -> bool:
        """Take back the cancellation of an interrupt; False if the task is cancelled by others, too."""
        if self._cancelled is None:
            return False
        (task, before), self._cancelled = self._cancelled, None
        return task.uncancel() <= before

    async def _finish(self, end: StreamEnd) -> None:
        if self._end is not None:
            return
        self._end = end
        self._buffer.clear()
        self._uncancel()  # the source has finished all the same
        if self._watch is not None:
            self._watch.stop()
        try:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the watchers are told of the end
            if end.outcome == "closed":
                raise (self._watch.translate(error) if self._watch is not None else error) from None
            # how the stream ended matters more
            _report("the source of a stream failed when it was closed", error)
        finally:
            self._notify(end)

    def _notify(self, end: StreamEnd) -> None:
        ends, self._ends = self._ends, ()
        if ends:
            end = self._end = StreamEnd(end.outcome, error=end.error, usage=self.usage, is_error=end.is_error)
        for callback in ends:
            try:
                callback(end)
            except Exception as error:  # noqa: BLE001 - the others want to know, too
                _report("a watcher of the end of a stream failed", error)

    def __del__(self) -> None:
        if getattr(self, "_end", self) is None and (self._pump is not None or self._watch is not None):
            self._end = StreamEnd("closed")
            if self._watch is not None:
                self._watch.stop()
            self._notify(self._end)
            warnings.warn(
                "a stream was neither read to its end nor closed", ResourceWarning, source=self, stacklevel=2
            )


class _Both:
    """Two watches of one stream: its own, and that of the stream that it became."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: StreamWatch, inner: StreamWatch) -> None:
        self._outer, self._inner = outer, inner

    @property
    def stream(self) -> Stream | None:
        return self._inner.stream

    @stream.setter
    def stream(self, stream: Stream | None) -> None:
        self._outer.stream = self._inner.stream = stream

    def translate(self, error: BaseException) -> BaseException:
        return self._outer.translate(self._inner.translate(error))

    def stop(self) -> None:
        self._inner.stop()
        self._outer.stop()


def _both(outer: StreamWatch | None, inner: StreamWatch | None) -> StreamWatch | None:
    if outer is None or inner is None:
        return inner if outer is None else outer
    return _Both(outer, inner)


def _through(event: Event, steps: tuple[Step, ...]) -> Event | None:
    """What the steps make of an event; None where one drops it."""
    for step in steps:
        changed = step(event)
        if changed is None:
            return None
        event = changed
    return event


def _report(message: str, error: Exception) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # the interpreter is going down
    loop.call_exception_handler({"message": message, "exception": error})


async def _each(events: list[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


async def _nothing() -> AsyncIterator[Event]:
    return
    yield
