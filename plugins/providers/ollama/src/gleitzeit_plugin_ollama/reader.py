"""One answer of the model, put together from its lines."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gleitzeit.values import (
    Event,
    Finished,
    FinishReason,
    ImagePart,
    PartDone,
    ProviderState,
    RateLimits,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    Usage,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_ollama.shapes import Line, Message, WireCall

__all__ = ["AnswerReader", "usage_of"]

#: Words that say more than what came does; `load` and `unload` are ends without an answer.
_REASONS: Final[Mapping[str, FinishReason]] = {"length": "length"}
#: What of the last line is the answer itself, not a measurement.
_CONTENT: Final = frozenset(
    {"model", "created_at", "message", "response", "thinking", "done", "done_reason", "context", "logprobs"}
)


def usage_of(line: Mapping[str, Any]) -> Usage | None:
    """Usage from the last line; None where it counts nothing. Durations, in ns, are in `raw`."""
    raw = {name: value for name, value in line.items() if name not in _CONTENT}
    usage = Usage(input=_count(raw.get("prompt_eval_count")), output=_count(raw.get("eval_count")), raw=raw)
    return usage if raw else None


class AnswerReader:
    """Turns lines into events. `owner` tags the thinking, None keeps it untagged."""

    def __init__(self, names: WireNames, owner: str | None) -> None:
        #: Has the last line come?
        self.finished = False
        #: What the answer's headers say of rate limits.
        self.limits: RateLimits | None = None
        #: What the last line counts.
        self.usage: Usage | None = None
        self._names = names
        self._owner = owner
        self._started = False
        self._model: str | None = None
        self._reason: str | None = None
        self._thoughts: list[str] = []
        self._ids: set[str] = set()
        self._calls = 0

    def read(self, line: Line, data: bytes, events: deque[Event]) -> None:
        """Append the events in a line, `data` as it came."""
        if not self._started:
            self._started = True
            self._model = line.model if isinstance(line.model, str) and line.model else None
            events.append(Started(model=self._model, limits=self.limits))
        self._thought(line.thinking, events)
        if line.message is not None:
            self._message(line.message, events)
        if line.response and isinstance(line.response, str):
            events.append(TextDelta(line.response))
        if line.done is True:
            self.finish(line, data)

    def finish(self, line: Line, data: bytes) -> None:
        """Take `line` for the last one."""
        self.finished = True
        if isinstance(line.done_reason, str) and line.done_reason:
            self._reason = line.done_reason
        try:
            self.usage = usage_of(msgspec.json.decode(data.decode("utf-8", "replace")))
        except (msgspec.DecodeError, RecursionError):
            pass  # an unknown field is broken: the answer is good all the same

    def close(self, events: deque[Event]) -> None:
        """Append the last events, `Finished` among them."""
        if self._thoughts and self._owner is not None:
            text = "".join(self._thoughts)
            state = ProviderState(self._owner, data=json.dumps({"thinking": text}, ensure_ascii=False))
            events.append(PartDone(ThinkingPart(text, provider_state=state), index=0))
        reason = _REASONS.get(self._reason or "") or ("tool_calls" if self._calls else "stop")
        events.append(Finished(reason, raw_finish_reason=self._reason, usage=self.usage, model=self._model))

    def _message(self, message: Message, events: deque[Event]) -> None:
        self._thought(message.thinking, events)
        if message.content and isinstance(message.content, str):
            events.append(TextDelta(message.content))
        for call in message.tool_calls or ():
            self._call(call, events)
        if isinstance(message.images, list):
            for image in message.images:
                self._image(image, events)

    def _thought(self, text: Any, events: deque[Event]) -> None:
        if text and isinstance(text, str):
            self._thoughts.append(text)
            events.append(ThinkingDelta(text))

    def _call(self, call: WireCall, events: deque[Event]) -> None:
        function = call.function
        if function is None or not isinstance(function.name, str) or not function.name:
            return  # nothing that could be run
        id = call.id if isinstance(call.id, str) and call.id and call.id not in self._ids else _new_id()
        self._ids.add(id)
        arguments = bytes(function.arguments).decode("utf-8", "replace")
        if arguments == "null":
            arguments = ""
        elif arguments.startswith('"'):  # some servers in between send JSON in a string
            arguments = str(json.loads(arguments)).encode("utf-8", "replace").decode()
        name = self._names.decode(function.name)
        events.append(ToolCallDelta(self._calls, id=id, name=name, arguments=arguments))
        self._calls += 1

    def _image(self, image: Any, events: deque[Event]) -> None:
        try:
            data = base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError, TypeError):
            return
        events.append(PartDone(ImagePart(data=data)))


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
