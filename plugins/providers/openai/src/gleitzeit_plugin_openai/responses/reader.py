"""One response, put together from the events of a stream or from its whole."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from typing import Any, Final

from gleitzeit.values import (
    Event,
    Finished,
    ImagePart,
    Part,
    PartDone,
    ProviderState,
    RateLimits,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    UsageUpdate,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_openai.calls import as_text, new_call_id
from gleitzeit_plugin_openai.responses.shapes import Frame, Item, Whole, decode_item
from gleitzeit_plugin_openai.usage import finish_reason, usage_of

__all__ = ["CALLS", "ResponseReader"]

#: Items that ask the caller for something, with the field of what they ask.
CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_TEXT: Final = ("response.output_text.delta", "response.refusal.delta")
_THOUGHT: Final = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_ARGUMENTS: Final = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")


class ResponseReader:
    """Turns items and events into our events.

    Every item becomes one part, in its place, with the item itself as its opaque state. Items that
    have no part of their own, such as searches of the vendor, become empty thinking.
    """

    def __init__(self, names: WireNames, owner: str) -> None:
        #: Has a terminal event come?
        self.finished = False
        #: What the answer's headers say of rate limits.
        self.limits: RateLimits | None = None
        self._names = names
        self._owner = owner
        self._started = False
        #: Items by their place: the bytes of each that is done.
        self._items: dict[int, bytes] = {}
        self._ids: dict[str, int] = {}
        #: Items that have begun, but have no event yet: their place in the order of parts is open.
        self._open: dict[int, str] = {}
        #: The piece of thinking that was last added to, by place.
        self._thinking: dict[int, tuple[str, Any]] = {}
        self._refused = False

    def frame(self, frame: Frame, events: deque[Event]) -> None:
        """Append what an event means, but for those that begin or end a response."""
        kind, index = frame.type, frame.output_index if type(frame.output_index) is int else 0
        if kind == "response.output_item.added":
            self._added(index, bytes(frame.item), events)
        elif kind == "response.output_item.done" and bytes(frame.item):
            self._done(index, bytes(frame.item), events)
        elif isinstance(frame.delta, str) and frame.delta:
            if kind in _TEXT:
                self._refused = self._refused or kind == _TEXT[1]
                self._claim(index, events)
                events.append(TextDelta(frame.delta, index=index))
            elif kind in _THOUGHT:
                self._claim(index, events)
                place = (kind, frame.summary_index if kind == _THOUGHT[1] else frame.content_index)
                gap = "\n\n" if self._thinking.setdefault(index, place) != place else ""
                self._thinking[index] = place
                events.append(ThinkingDelta(gap + frame.delta, index=index))
            elif kind in _ARGUMENTS:
                events.append(ToolCallDelta(index, arguments=frame.delta))

    def begin(self, response: Whole, events: deque[Event]) -> None:
        """The response has begun."""
        if not self._started:
            self._started = True
            events.append(Started(id=_word(response.id), model=_word(response.model), limits=self.limits))

    def end(self, response: Whole, events: deque[Event]) -> None:
        """The response is over: what it says of its items is the last word."""
        self.begin(response, events)
        for position, raw in enumerate(response.output or ()):
            self._final(position, bytes(raw), events)
        usage = self.usage(response, events)
        items = [decode_item(self._items[index]) for index in sorted(self._items)]
        word, reason = _word(response.status), self._reason(response)
        calls = any(item.kind in CALLS for item in items)
        refused = self._refused or any(item.refused for item in items if item.kind == "message")
        finish = finish_reason(reason or word, calls=calls, refused=refused)
        self.finished = True
        events.append(
            Finished(
                finish,
                raw_finish_reason=f"{word}:{reason}" if word and reason else word or reason,
                usage=usage,
                id=_word(response.id),
                model=_word(response.model),
                data=_extras(items),
            )
        )

    def usage(self, response: Whole, events: deque[Event]) -> Any:
        """The usage of a response, said in an event, too; None where it tells none."""
        usage = usage_of(response.usage)
        if usage is not None:
            events.append(UsageUpdate(usage))
        return usage

    def _reason(self, response: Whole) -> str | None:
        details = response.incomplete_details
        return _word(details.get("reason")) if isinstance(details, dict) else None

    def _added(self, index: int, raw: bytes, events: deque[Event]) -> None:
        item = decode_item(raw) if raw else Item()
        if isinstance(item.id, str):
            self._ids[item.id] = index
        if item.kind in CALLS:
            self._claim(index, events)
            id, name = _word(item.call_id) or _word(item.id), _word(item.name)
            events.append(ToolCallDelta(index, id=id, name=self._names.decode(name) if name else None))
        elif index not in self._items:
            self._open[index] = item.kind

    def _done(self, index: int, raw: bytes, events: deque[Event]) -> None:
        item = decode_item(raw)
        self._items[index] = raw
        if isinstance(item.id, str):
            self._ids[item.id] = index
        self._claim(index, events)
        events.append(PartDone(self._part(item, raw), index=index))

    def _final(self, position: int, raw: bytes, events: deque[Event]) -> None:
        """An item of the whole response, which may differ from what was streamed, or be new."""
        item = decode_item(raw)
        index = self._ids.get(item.id) if isinstance(item.id, str) else None
        if index is None:
            index = position
            known = self._items.get(position)
            if known is not None and decode_item(known).kind != item.kind:
                index = max(self._items) + 1
        if self._items.get(index) != raw:
            self._done(index, raw, events)

    def _claim(self, index: int, events: deque[Event]) -> None:
        """Give the items before this one their place, as parts stand in the order of their first event."""
        self._open.pop(index, None)
        for earlier in sorted(self._open) if self._open else ():
            if earlier < index:
                kind = self._open.pop(earlier)
                events.append((TextDelta if kind == "message" else ThinkingDelta)("", index=earlier))

    def _part(self, item: Item, raw: bytes) -> Part:
        state = ProviderState(self._owner, data=raw.decode("utf-8", "replace"))
        if item.kind == "message" and item.role in (None, "assistant"):
            return TextPart("".join(item.texts), provider_state=state)
        if item.kind in CALLS:
            text = as_text(getattr(item, CALLS[item.kind]))
            id = _word(item.call_id) or _word(item.id) or new_call_id()
            return ToolCallPart.parse(id, self._names.decode(_word(item.name) or ""), text, state)
        if item.kind == "image_generation_call" and isinstance(item.result, str):
            try:
                picture = base64.b64decode(item.result, validate=True)
            except (binascii.Error, ValueError):
                pass
            else:
                kind = f"image/{_word(item.output_format) or 'png'}"
                return ImagePart(data=picture, media_type=kind, provider_state=state)
        return ThinkingPart(
            "\n\n".join(item.thoughts) if item.kind == "reasoning" else "", provider_state=state
        )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _extras(items: list[Item]) -> dict[str, Any] | None:
    """What an answer brings that has no place among the parts."""
    messages = [item for item in items if item.kind == "message"]
    found: dict[str, Any] = {}
    annotations = [entry for item in messages for entry in item.gathered("annotations")]
    if annotations:
        found["annotations"] = annotations
    logprobs = [entry for item in messages for entry in item.gathered("logprobs")]
    if logprobs:
        found["logprobs"] = {"content": logprobs}
    return found or None
