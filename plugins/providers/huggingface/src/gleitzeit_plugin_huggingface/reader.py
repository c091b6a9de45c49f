"""The worker's frames as events, with thinking and tool calls taken out of the text."""

from __future__ import annotations

import base64
import sys
import uuid
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit_plugin_openai.filters import Segment, TextCalls, ThinkTags

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import (
    Event,
    Finished,
    FinishReason,
    Label,
    PartDone,
    ProviderState,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    Usage,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_huggingface.process import Exchange

__all__ = ["Answer", "labelled", "vectors_of"]

_REASONS: Final[Mapping[str, FinishReason]] = {"length": "length", "context": "context_exceeded"}
_STYLES: Final = {"<tool_call>": "hermes", "[TOOL_CALLS]": "mistral"}


class Answer:
    """The events of one answer, as the source of a stream.

    `tools`: were any offered? Text that looks like a call is one only then. `owner` tags the thinking.
    """

    def __init__(
        self,
        exchange: Exchange,
        model: str,
        began: Mapping[str, Any],
        *,
        chat: bool,
        tools: bool,
        names: WireNames,
        owner: str | None,
    ) -> None:
        self._exchange = exchange
        self._model = model
        self._names = names
        self._owner = owner
        self._input = began.get("input")
        style = _STYLES.get(str(began.get("calls"))) if tools else None
        self._calls = TextCalls(style) if style is not None else None
        self._think = ThinkTags(open=bool(began.get("thinking"))) if chat else None
        self._thoughts: list[str] = []
        self._called = 0
        self._events: deque[Event] = deque([Started(id=f"hf-{uuid.uuid4().hex}", model=model)])
        self._over = False

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            frame = await self._exchange.next()
            if frame["is"] == "text":
                self._read(frame["text"])
            else:
                self._over = True
                self._finish(frame)
        return self._events.popleft()

    async def aclose(self) -> None:
        """Stop the job where it still runs."""
        self._over = True
        self._exchange.leave()

    def _read(self, text: str) -> None:
        for segment in [Segment("text", text)] if self._think is None else self._think.feed(text):
            self._take(segment)

    def _take(self, segment: Segment) -> None:
        if segment.kind == "thinking":
            self._thoughts.append(segment.text)
            self._events.append(ThinkingDelta(segment.text))
        elif self._calls is None:
            self._events.append(TextDelta(segment.text))
        else:
            self._tell(self._calls.feed(segment.text))

    def _tell(self, segments: list[Segment]) -> None:
        for segment in segments:
            if segment.kind == "call":
                name = self._names.decode(segment.name)
                call = ToolCallDelta(
                    self._called, id=f"call_{uuid.uuid4().hex[:24]}", name=name, arguments=segment.text
                )
                self._called += 1
                self._events.append(call)
            elif segment.text:
                self._events.append(TextDelta(segment.text))

    def _finish(self, frame: Mapping[str, Any]) -> None:
        for segment in self._think.close() if self._think is not None else ():
            self._take(segment)
        if self._calls is not None:
            self._tell(self._calls.close())
        if self._thoughts and self._owner is not None:
            part = ThinkingPart("".join(self._thoughts), provider_state=ProviderState(self._owner, data="{}"))
            self._events.append(PartDone(part, index=0))
        word = str(frame.get("finish"))
        reason = _REASONS.get(word) or ("tool_calls" if self._called else "stop")
        usage = Usage(input=frame.get("input", self._input), output=frame.get("output"))
        self._events.append(Finished(reason, raw_finish_reason=word, usage=usage, model=self._model))


def vectors_of(frame: Mapping[str, Any], count: int, model: str) -> Reply:
    """The reply to an embedding of `count` texts."""
    numbers = array("f")
    numbers.frombytes(base64.b64decode(frame["vectors"]))
    if sys.byteorder == "big":
        numbers.byteswap()
    size = int(frame["size"])
    if len(numbers) != size * count:
        raise MalformedAnswerError(
            f"{len(numbers)} numbers came for {count} vectors of {size}", sent=True, retryable=False
        )
    rows = tuple(tuple(numbers[place : place + size]) for place in range(0, len(numbers), size))
    return Reply(vectors=rows, usage=Usage(input=frame.get("input")), model=model, finish_reason="stop")


def labelled(frame: Mapping[str, Any], model: str) -> Reply:
    """The reply to a classification."""
    rows = tuple(tuple(Label(name, score=score) for name, score in row) for row in frame["labels"])
    return Reply(labels=rows, usage=Usage(input=frame.get("input")), model=model, finish_reason="stop")
