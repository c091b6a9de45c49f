"""Folds the events of a stream into the reply they amount to."""

from __future__ import annotations

from collections.abc import Iterable

from gleitzeit.values.events import (
    Event,
    Finished,
    PartDone,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageUpdate,
)
from gleitzeit.values.limits import RateLimits
from gleitzeit.values.messages import Part, TextPart, ThinkingPart, ToolCallPart
from gleitzeit.values.reply import Reply, Usage

__all__ = ["events_of", "fold"]


class _Call:
    """A tool call in the making: id and name are set, never appended."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []

    def part(self) -> ToolCallPart:
        return ToolCallPart.parse(self.id, self.name, "".join(self.arguments))


def _close(slot: list[str] | _Call | Part, kind: str) -> Part:
    if isinstance(slot, _Call):
        return slot.part()
    if isinstance(slot, list):
        return TextPart("".join(slot)) if kind == "text" else ThinkingPart("".join(slot))
    return slot


def fold(events: Iterable[Event]) -> Reply:
    """The reply that `events` amount to so far; without `Finished` it has no finish reason."""
    slots: dict[tuple[str, int], list[str] | _Call | Part] = {}
    usage: Usage | None = None
    finished: Finished | None = None
    limits: RateLimits | None = None
    id = model = None
    for event in events:
        if isinstance(event, (TextDelta, ThinkingDelta)):
            slot = slots.setdefault((event.type, event.index), [])
            if isinstance(slot, list):
                slot.append(event.text)
        elif isinstance(event, ToolCallDelta):
            call = slots.setdefault((event.type, event.index), _Call())
            if isinstance(call, _Call):
                call.id, call.name = event.id or call.id, event.name or call.name
                call.arguments.append(event.arguments)
        elif isinstance(event, PartDone):
            index = -1 - len(slots) if event.index is None else event.index
            slots[event.part.type, index] = event.part
        elif isinstance(event, UsageUpdate):
            usage = event.usage
        elif isinstance(event, Started):
            id, model, limits = event.id or id, event.model or model, event.limits or limits
        elif isinstance(event, Finished):
            finished = event
    parts = tuple(_close(slot, kind) for (kind, _), slot in slots.items())
    if finished is None:
        return Reply(parts, usage=usage, id=id, model=model, limits=limits)
    return Reply(
        parts,
        usage=finished.usage or usage,
        id=finished.id or id,
        model=finished.model or model,
        finish_reason=finished.finish_reason,
        raw_finish_reason=finished.raw_finish_reason,
        data=finished.data,
        vectors=finished.vectors,
        labels=finished.labels,
        is_error=finished.is_error,
        limits=limits,
    )


def events_of(reply: Reply) -> list[Event]:
    """A whole reply as the events of a stream; `fold` gives it back."""
    events: list[Event] = [Started(id=reply.id, model=reply.model, limits=reply.limits)]
    for index, part in enumerate(reply.parts):
        if type(part) is TextPart and part.provider_state is None:
            events.append(TextDelta(part.text, index=index))
        else:
            events.append(PartDone(part, index=index))
    events.append(Finished.of(reply))
    return events
