"""A tool's progress and result as the events of a stream."""

from __future__ import annotations

import asyncio
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
            if not started and (
                queue.events or (ended and not call.cancelled() and call.exception() is None)
            ):
                started = True
                yield Started()
            while queue.events:
                yield queue.events.popleft()
            if ended:
                break
        for event in _rest(answer(await call), "".join(queue.said)):
            yield event
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
        self.events: deque[Event] = deque()
        #: All text given so far.
        self.said: list[str] = []
        self._deltas = deltas

    def put(self, params: Mapping[str, Any]) -> None:
        event = self._event(params)
        if event is None:
            return
        if isinstance(event, TextDelta):
            self.said.append(event.text)
        if len(self.events) >= AHEAD:
            last = self.events[-1]
            if isinstance(event, Progress) and isinstance(last, Progress):
                self.events.pop()  # only the newest counts
            elif isinstance(event, TextDelta) and isinstance(last, TextDelta):
                self.events.pop()
                event = TextDelta(last.text + event.text)
        self.events.append(event)
        self.wake.set()

    def _event(self, params: Mapping[str, Any]) -> Event | None:
        message, progress, total = params.get("message"), params.get("progress"), params.get("total")
        if self._deltas and isinstance(message, str):
            return TextDelta(message) if message else None
        if not isinstance(progress, (int, float)):
            return None
        return Progress(
            float(progress),
            total=float(total) if isinstance(total, (int, float)) else None,
            message=message if isinstance(message, str) else None,
        )


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
