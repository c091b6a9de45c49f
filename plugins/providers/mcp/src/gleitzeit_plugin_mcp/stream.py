"""A tool's progress and result as the events of a stream."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.values import (
    Event,
    Finished,
    PartDone,
    Progress,
    Reply,
    Started,
    TextDelta,
    TextPart,
    UsageUpdate,
)
from gleitzeit.values.fold import events_of

__all__ = ["events"]

#: Events that wait for a slow reader before neighbours are joined.
AHEAD: Final = 256

#: Makes the call, given what takes its progress notifications.
Open: TypeAlias = "Callable[[Callable[[Mapping[str, Any]], None]], Awaitable[dict[str, Any]]]"


async def events(
    open: Open, answer: Callable[[dict[str, Any]], Reply], *, deltas: bool
) -> AsyncIterator[Event]:
    """The events of one call: progress (as pieces of text with `deltas`), the rest of its answer, the end.

    Closing it cancels the call at the server.
    """
    queue = _Queue(deltas)
    call = asyncio.ensure_future(open(queue.put))
    call.add_done_callback(lambda _: queue.wake.set())
    started = False
    try:
        while True:
            await queue.wake.wait()
            queue.wake.clear()
            ended = call.done()
            event = queue.take()
            if not started and (
                event is not None or (ended and not call.cancelled() and call.exception() is None)
            ):
                started = True
                yield Started()
            while event is not None:
                yield event
                event = queue.take()
            if ended:
                break
        for left in _rest(answer(await call), "".join(queue.said)):
            yield left
    finally:
        if not call.done():
            call.cancel()
        await asyncio.wait({call})
        if not call.cancelled():
            call.exception()  # seen: whoever stopped reading does not care


class _Queue:
    """What came and was not read yet: bounded, without losing any text."""

    def __init__(self, deltas: bool) -> None:
        self.wake = asyncio.Event()
        self._events: deque[Event] = deque()
        #: What came when those were too many.
        self._latest: Event | None = None
        self._text: list[str] = []
        #: All text given so far.
        self.said: list[str] = []
        self._deltas = deltas

    def put(self, params: Mapping[str, Any]) -> None:
        event = self._event(params)
        if event is None:
            return
        if isinstance(event, TextDelta):
            self.said.append(event.text)
        if len(self._events) < AHEAD and not self._text and self._latest is None:
            self._events.append(event)
        elif isinstance(event, TextDelta):
            self._text.append(event.text)
        else:
            self._latest = event  # only the newest counts
        self.wake.set()

    def take(self) -> Event | None:
        """The next event; None where there is none so far."""
        if self._events:
            return self._events.popleft()
        if (event := self._latest) is not None:
            self._latest = None
            return event
        if self._text:
            text, self._text = "".join(self._text), []
            return TextDelta(text)
        return None

    def _event(self, params: Mapping[str, Any]) -> Event | None:
        message, progress, total = params.get("message"), params.get("progress"), params.get("total")
        if (status := params.get("statusMessage")) is not None:  # of a task: never a piece of the text
            return Progress(_number(progress) or 0.0, message=str(status))
        if self._deltas and isinstance(message, str):
            return TextDelta(message) if message else None
        if (found := _number(progress)) is None:
            return None
        return Progress(
            found,
            total=_number(total),
            message=message if isinstance(message, str) else None,
        )


def _number(value: Any) -> float | None:
    """What of JSON's numbers is one that can be counted with."""
    try:
        found = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _rest(reply: Reply, said: str) -> list[Event]:
    """What is left to say after the deltas, so that all events together amount to `reply`."""
    found: list[Event] = []
    if said:
        text = reply.text
        if text.startswith(said):
            found += [TextDelta(text[len(said) :])] if text != said else []
        elif text:  # what counts is the result: it replaces what was given piece by piece
            found.append(PartDone(TextPart(text), index=0))
        rest = [part for part in reply.parts if not isinstance(part, TextPart)]
        found += [PartDone(part, index=number) for number, part in enumerate(rest, 1)]
    else:
        found += events_of(reply)[1:-1]
    if reply.usage is not None:
        found.append(UsageUpdate(reply.usage))
    found.append(Finished.of(reply))
    return found
