"""One answer of the model, put together from its pieces: those of a stream, or a single one."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections import deque
from typing import Any, Final

import msgspec

from gleitzeit.values import (
    AudioPart,
    Event,
    FilePart,
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
    Usage,
    UsageUpdate,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_gemini.shapes import (
    Answer,
    Fields,
    encode_fields,
    fields_of,
    parts_of,
    text_of,
    value_of,
)
from gleitzeit_plugin_gemini.usage import finish_reason, usage_of

__all__ = ["AnswerReader"]

#: What of a candidate has its own place in our values, or says nothing to anybody.
_PLACED: Final = frozenset(
    {"content", "finishReason", "finishMessage", "index", "tokenCount", "avgLogprobs", "safetyRatings"}
)
_CALL: Final = frozenset({"name", "args"})


class AnswerReader:
    """Turns answers and pieces of them into events.

    Text and thinking run on through pieces; a part with anything beside its text (a signature) stays
    one of its own, as it has to go back in its place. What is neither text, medium nor call (code
    that the vendor ran, calls of its own tools, kinds to come) is an empty thinking part whose state is the
    part as it came.
    """

    def __init__(self, names: WireNames, owner: str) -> None:
        #: Has a finish reason come?
        self.finished = False
        self.started = False
        #: What the answer's headers say of rate limits.
        self.limits: RateLimits | None = None
        self._names = names
        self._owner = owner
        self._id: str | None = None
        self._model: str | None = None
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._data: dict[str, Any] = {}
        self._ratings: Any = None
        self._message: Any = None
        self._parts = 0
        self._running: str | None = None
        self._call_ids: set[str] = set()

    def read(self, answer: Answer, events: deque[Event]) -> None:
        """Append the events in an answer or a piece of it; raises `ValueError` for contents that are none."""
        if not self.started:
            self.started = True
            self._id = answer.responseId if isinstance(answer.responseId, str) else None
            self._model = answer.modelVersion if isinstance(answer.modelVersion, str) else None
            events.append(Started(id=self._id, model=self._model, limits=self.limits))
        for candidate in answer.candidates or ():
            number = candidate.get("index")
            if number is None or bytes(number) == b"0":  # a further one is what nobody here asked for
                self._candidate(candidate, events)
        if answer.usageMetadata is not None:
            # Each count is of the whole answer, and may even fall: the last object holds.
            usage = usage_of(answer.usageMetadata)
            if usage is not None and usage != self._usage:
                events.append(UsageUpdate(usage))
            self._usage = usage or self._usage

    def close(self, events: deque[Event]) -> None:
        """Append the last event."""
        reason = finish_reason(self._finish, calls=bool(self._call_ids))
        data = self._data
        if reason in ("refusal", "error"):
            told = {"safetyRatings": self._ratings, "finishMessage": self._message}
            data = {**data, **{name: value for name, value in told.items() if value is not None}}
        events.append(
            Finished(
                reason,
                raw_finish_reason=self._finish,
                usage=self._usage,
                id=self._id,
                model=self._model,
                data=data or None,
            )
        )

    def _candidate(self, candidate: Fields, events: deque[Event]) -> None:
        content = candidate.get("content")
        if content is not None:
            for part in parts_of(content):
                self._part(part, events)
        for name, raw in candidate.items():
            if name not in _PLACED and bytes(raw) not in (b"null", b"{}", b"[]"):
                self._data[name] = value_of(raw)
        if "safetyRatings" in candidate:
            self._ratings = value_of(candidate["safetyRatings"])
        if "finishMessage" in candidate:
            self._message = value_of(candidate["finishMessage"])
        word = text_of(candidate["finishReason"]) if "finishReason" in candidate else None
        if word:
            self._finish, self.finished = word, True

    def _part(self, part: Fields, events: deque[Event]) -> None:
        if "text" in part:
            text = text_of(part["text"])
            if text is not None:
                self._text(text, part, events)
                return
        elif "functionCall" in part:
            call = fields_of(part["functionCall"])
            if call is not None and text_of(call.get("name", msgspec.Raw(b"null"))):
                self._call(part, call, events)
                return
        elif "thought" not in part and ("inlineData" in part or "fileData" in part):
            medium = _medium(part, self._owner)
            if medium is not None:
                self._running = None
                events.append(PartDone(medium, index=self._next()))
                return
        self._running = None
        events.append(PartDone(ThinkingPart("", provider_state=self._state(part)), index=self._next()))

    def _text(self, text: str, part: Fields, events: deque[Event]) -> None:
        thought = "thought" in part and bytes(part["thought"]) == b"true"
        kind = "thinking" if thought else "text"
        plain = len(part) == (2 if "thought" in part else 1)
        if plain and not text:
            return
        if not plain or self._running != kind:
            self._next()
        self._running = kind if plain else None
        index = self._parts - 1
        if text:
            events.append(ThinkingDelta(text, index=index) if thought else TextDelta(text, index=index))
        if plain:
            return
        if thought:
            whole: Part = ThinkingPart(text, provider_state=self._state(part))
        else:
            beside = {name: raw for name, raw in part.items() if name != "text"}
            whole = TextPart(text, provider_state=self._state(beside))
        events.append(PartDone(whole, index=index))

    def _call(self, part: Fields, call: Fields, events: deque[Event]) -> None:
        self._running = None
        index = self._next()
        given = text_of(call["id"]) if "id" in call else None
        # An id that two calls share would make their results indistinguishable.
        id = given if given and given not in self._call_ids else f"call_{uuid.uuid4().hex[:24]}"
        self._call_ids.add(id)
        name = self._names.decode(text_of(call["name"]) or "")
        raw = bytes(call["args"]).decode("utf-8", "replace") if "args" in call else ""
        raw = "" if raw == "null" else raw
        kept: dict[str, Any] = {name: value for name, value in part.items() if name != "functionCall"}
        inner = {name: value for name, value in call.items() if name not in _CALL}
        if inner:
            kept["functionCall"] = inner
        events.append(ToolCallDelta(index, id=id, name=name, arguments=raw))
        # With a state even where it is empty: it tells our own calls from those of other models.
        done = ToolCallPart.parse(id, name, raw, self._state(kept))
        events.append(PartDone(done, index=index))

    def _next(self) -> int:
        self._parts += 1
        return self._parts - 1

    def _state(self, fields: dict[str, Any]) -> ProviderState:
        return ProviderState(self._owner, data=encode_fields(fields))


def _medium(part: Fields, owner: str) -> Part | None:
    """A picture, sound or file; None where it cannot be read."""
    key = "inlineData" if "inlineData" in part else "fileData"
    held = value_of(part[key])
    if not isinstance(held, dict):
        return None
    media_type = held.get("mimeType") if isinstance(held.get("mimeType"), str) else None
    data, url = held.get("data"), held.get("fileUri")
    beside = {name: raw for name, raw in part.items() if name != key}
    more: dict[str, Any] = {"media_type": media_type}
    if beside:
        more["provider_state"] = ProviderState(owner, data=encode_fields(beside))
    if key == "fileData" and isinstance(url, str):
        more["url"] = url
    elif key == "inlineData" and isinstance(data, str):
        try:
            plain = data.replace("-", "+").replace("_", "/")
            more["data"] = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            return None
    else:
        return None
    kind = (media_type or "").partition("/")[0]
    return (
        ImagePart(**more) if kind == "image" else AudioPart(**more) if kind == "audio" else FilePart(**more)
    )
