"""One answer of the model: a whole message, or the events of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import (
    Event,
    Finished,
    PartDone,
    ProviderState,
    RateLimits,
    Started,
    ThinkingPart,
    UsageUpdate,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_anthropic.blocks import Block, read_block
from gleitzeit_plugin_anthropic.shapes import Delta, Frame, Whole
from gleitzeit_plugin_anthropic.usage import finish_reason, merged, usage_of

__all__ = ["AnswerReader"]

#: What an answer says beside its content; `Reply.data` holds those that came.
_TOLD: Final = ("stop_sequence", "stop_details", "context_management")
#: The block that a delta belongs to whose beginning never came.
_BLOCKS: Final[Mapping[Any, str]] = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}


class AnswerReader:
    """Turns a message, or the events of one, into our events."""

    def __init__(self, names: WireNames, owner: str) -> None:
        #: What the answer's headers say of rate limits.
        self.limits: RateLimits | None = None
        #: Has the message begun?
        self.started = False
        self._names = names
        self._owner = owner
        self._id: str | None = None
        self._model: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._stop: str | None = None
        self._told: dict[str, Any] = {}
        self._container: Any = None
        self._calls = 0
        self._places = 0
        self._open: dict[Any, Block] = {}

    def read(self, message: Whole, events: deque[Event]) -> None:
        """Append the events of a whole message, the last one included."""
        self._start(message, events)
        for raw in message.content or ():
            try:
                self._calls += read_block(bytes(raw), self._place(), self._owner, self._names, events)
            except (msgspec.MsgspecError, RecursionError):
                raise MalformedAnswerError("a block of the answer is no readable object", sent=True) from None
        self.close(events)

    def feed(self, frame: Frame, data: bytes, events: deque[Event]) -> None:
        """Append the events in an event of a stream that is not its end."""
        kind = frame.type
        if kind == "content_block_delta":
            if frame.delta is not None:
                self._delta(frame.index, frame.delta, data, events)
        elif kind == "content_block_start":
            if isinstance(frame.content_block, dict):
                self._shut(frame.index, events)
                block = Block(frame.content_block, self._place(), self._names, events)
                self._open[frame.index] = block
        elif kind == "content_block_stop":
            self._shut(frame.index, events)
        elif kind == "message_start":
            if isinstance(frame.message, dict) and not self.started:
                self._start(_begun(frame.message), events)
        elif kind == "message_delta":
            self._message(frame, events)
        # All else is a sign of life, or of a kind that comes after us.

    def close(self, events: deque[Event]) -> None:
        """Append the last events, `Finished` among them."""
        for index in list(self._open):
            self._shut(index, events)
        if isinstance(self._container, Mapping):
            state = ProviderState(
                self._owner, data=msgspec.json.encode({"container": self._container}).decode()
            )
            events.append(PartDone(ThinkingPart("", provider_state=state)))
        events.append(
            Finished(
                finish_reason(self._stop, calls=self._calls > 0),
                raw_finish_reason=self._stop,
                usage=usage_of(self._usage),
                id=self._id,
                model=self._model,
                data=self._told or None,
            )
        )

    def _start(self, message: Whole, events: deque[Event]) -> None:
        self.started = True
        self._id = message.id if isinstance(message.id, str) and message.id else None
        self._model = message.model if isinstance(message.model, str) and message.model else None
        events.append(Started(id=self._id, model=self._model, limits=self.limits))
        self._count(message.usage, events)
        self._ends(message)

    def _message(self, frame: Frame, events: deque[Event]) -> None:
        if frame.delta is not None:
            self._ends(frame.delta)
        if frame.context_management is not None:
            self._told["context_management"] = frame.context_management
        self._count(frame.usage, events)

    def _ends(self, told: Whole | Delta) -> None:
        """Take what is told of the message as a whole."""
        if told.stop_reason and isinstance(told.stop_reason, str):
            self._stop = told.stop_reason
        if told.container is not None:
            self._container = told.container
        for name in _TOLD:
            value = getattr(told, name, None)
            if value is not None:
                self._told[name] = value

    def _count(self, raw: Any, events: deque[Event]) -> None:
        self._usage = merged(self._usage, raw)
        usage = usage_of(self._usage)
        if usage is not None and isinstance(raw, Mapping):
            events.append(UsageUpdate(usage))

    def _delta(self, index: Any, delta: Delta, data: bytes, events: deque[Event]) -> None:
        block = self._open.get(index)
        if block is None:
            kind = _BLOCKS.get(delta.type)
            if kind is None:
                raise MalformedAnswerError("the stream continues a block that it never began", sent=True)
            block = self._open[index] = Block({"type": kind}, self._place(), self._names, events)
        if not block.feed(delta, events):
            block.feed_unknown(msgspec.json.decode(data)["delta"])

    def _shut(self, index: Any, events: deque[Event]) -> None:
        block = self._open.pop(index, None)
        if block is not None:
            self._calls += block.close(self._owner, events)

    def _place(self) -> int:
        self._places += 1
        return self._places - 1


def _begun(message: dict[str, Any]) -> Whole:
    """The message at the beginning of a stream, which has no content so far."""
    known = {name: message[name] for name in Whole.__struct_fields__ if name in message}
    return Whole(**{**known, "content": None})
