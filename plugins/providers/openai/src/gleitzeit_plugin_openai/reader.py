"""One answer of the model, put together from its pieces: the deltas of a stream, or a single message."""

from __future__ import annotations

from collections import deque
from typing import Any

from gleitzeit.values import (
    Event,
    Finished,
    PartDone,
    RateLimits,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    Usage,
    UsageUpdate,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_openai.calls import CallFragments
from gleitzeit_plugin_openai.extras import Extras
from gleitzeit_plugin_openai.filters import Filter, Segment
from gleitzeit_plugin_openai.shapes import Answer, Choice, Message
from gleitzeit_plugin_openai.state import MessageState
from gleitzeit_plugin_openai.usage import finish_reason, usage_of

__all__ = ["AnswerReader"]


class AnswerReader:
    """Turns answers and chunks into events; `filters` take out of the text what belongs elsewhere."""

    def __init__(
        self, names: WireNames, owner: str, filters: tuple[Filter, ...] = (), *, sound: str | None = None
    ) -> None:
        #: Has a finish reason come?
        self.finished = False
        #: May texts hold half surrogate pairs?
        self.loose = False
        #: What the answer's headers say of rate limits.
        self.limits: RateLimits | None = None
        self._filters = filters
        self._owner = owner
        self._started = False
        self._id: str | None = None
        self._model: str | None = None
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._refused = False
        self._texts: list[str] = []
        self._state = MessageState()
        self._calls = CallFragments(names)
        self._half = ""
        self._extras = Extras(sound)

    @property
    def counted(self) -> bool:
        """Has usage come?"""
        return self._usage is not None

    def read(self, answer: Answer, events: deque[Event]) -> None:
        """Append the events in a chunk or whole answer."""
        if not self._started or answer.usage is not None or answer.x_groq is not None:
            self._head(answer, events)
        if answer.prompt_filter_results is not None:
            self._extras.prompt(answer.prompt_filter_results)
        for choice in answer.choices or ():
            if not choice.index:  # a further choice is what nobody here asked for
                self._choice(choice, events)

    def flush(self, events: deque[Event]) -> None:
        """Append what was held back until more of the text would come."""
        if self._half:
            half, self._half, self.loose = self._half, "", False
            self._text(half.encode("utf-8", "replace").decode(), events)
        for stage, filter_ in enumerate(self._filters):
            self._segments(filter_.close(), stage + 1, events)

    def close(self, events: deque[Event]) -> None:
        """Append the last events, `Finished` among them."""
        self.flush(events)
        self._calls.close(self._owner, events)
        state = self._state.close(self._owner)
        if state is not None:
            # On the thinking where there is some, else on the text; on a part of its own for want of both.
            thought = self._state.thought
            if thought or not self._texts:
                part = ThinkingPart(thought, provider_state=state)
                events.append(PartDone(part, index=0 if thought else None))
            else:
                events.append(PartDone(TextPart("".join(self._texts), provider_state=state), index=0))
        spoken = self._extras.spoken(self._owner)
        if spoken is not None:
            events.append(PartDone(spoken))
        reason = finish_reason(self._finish, calls=len(self._calls) > 0, refused=self._refused)
        events.append(
            Finished(
                reason,
                raw_finish_reason=self._finish,
                usage=self._usage,
                id=self._id,
                model=self._model,
                data=self._extras.found or None,
            )
        )

    def _head(self, answer: Answer, events: deque[Event]) -> None:
        if not self._started:
            self._id = answer.id if isinstance(answer.id, str) and answer.id else self._id
            self._model = answer.model if isinstance(answer.model, str) and answer.model else self._model
            if answer.choices:  # Azure's first chunk has none and is anonymous: then the next tells
                self._started = True
                events.append(Started(id=self._id, model=self._model, limits=self.limits))
        groq = answer.x_groq
        usage = usage_of(answer.usage) or (usage_of(groq.get("usage")) if isinstance(groq, dict) else None)
        if usage is not None:
            self._usage = usage
            events.append(UsageUpdate(usage))

    def _choice(self, choice: Choice, events: deque[Event]) -> None:
        message = choice.delta or choice.message
        if message is not None:
            self._message(message, events)
        elif choice.text and isinstance(choice.text, str):
            self._text(choice.text, events)
        if choice.logprobs is not None or choice.content_filter_results is not None:
            self._extras.choice(choice)
        if choice.finish_reason and isinstance(choice.finish_reason, str):
            self._finish = choice.finish_reason
            self.finished = True

    def _message(self, message: Message, events: deque[Event]) -> None:
        thought = self._state.feed(message)
        if thought:
            events.append(ThinkingDelta(thought))
        content = message.content
        if content:
            if isinstance(content, str):
                self._text(content, events)
            elif isinstance(content, list):
                self._parts(content, events)
        if message.audio is not None or message.annotations is not None:
            self._text(self._extras.message(message), events)
        if message.refusal and isinstance(message.refusal, str):
            self._refused = True
            self._text(message.refusal, events)
        if message.tool_calls:
            for fragment in message.tool_calls:
                self._calls.feed(fragment, events)
        elif message.function_call is not None:
            self._calls.feed_legacy(message.function_call, events)

    def _parts(self, parts: list[Any], events: deque[Event]) -> None:
        """Content as a list, as Mistral sends it."""
        for part in parts:
            if isinstance(part, str):
                self._text(part, events)
            elif isinstance(part, dict) and part.get("type") == "thinking":
                thought = self._state.listed(part)
                if thought:
                    events.append(ThinkingDelta(thought))
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                self._text(part["text"], events)

    def _text(self, text: str, events: deque[Event]) -> None:
        if self.loose:
            text, self._half = _joined(self._half + text)
        if not text:
            return
        if self._filters:
            self._segments(self._filters[0].feed(text), 1, events)
        else:
            self._texts.append(text)
            events.append(TextDelta(text))

    def _segments(self, segments: list[Segment], stage: int, events: deque[Event]) -> None:
        """Let text run through the filters from `stage` on; what is not text is done."""
        for segment in segments:
            if segment.kind == "thinking":
                self._state.add(segment.text)
                events.append(ThinkingDelta(segment.text))
            elif segment.kind == "call":
                self._calls.add(segment.name, segment.text, events)
            elif stage < len(self._filters):
                self._segments(self._filters[stage].feed(segment.text), stage + 1, events)
            else:
                self._texts.append(segment.text)
                events.append(TextDelta(segment.text))


def _joined(text: str) -> tuple[str, str]:
    """Text whose surrogates are joined, and half a pair that waits for its other half."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    text = text[: len(text) - len(half)]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half
