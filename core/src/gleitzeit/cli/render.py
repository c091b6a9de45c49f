"""Shows answers as they come: text on standard output, everything about it on standard error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gleitzeit.cli.output import Output
from gleitzeit.cli.table import Column, clean, cut
from gleitzeit.conversation import ConversationEvent, ToolEnded, ToolStarted, TurnEnded
from gleitzeit.values import (
    AudioPart,
    FilePart,
    Finished,
    ImagePart,
    Part,
    PartDone,
    Progress,
    Reply,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from gleitzeit.wire.codec import to_json

__all__ = ["Renderer", "arguments_of"]

#: What a line about a tool may show of its arguments or result.
SHOWN = 160
#: Cells of a bar of progress.
BAR = 20
_EXPECTED = ("stop", "tool_calls", None)


class Renderer:
    """Shows the events of one answer or conversation, or a whole reply."""

    def __init__(self, output: Output, *, thinking: bool = False, tools: bool = False) -> None:
        self._output = output
        self._thinking = thinking
        #: Are tool calls of the model run, and shown when they are?
        self._tools = tools
        self._line_open = False
        self._thought_open = False
        self._bar_open = False
        self._told: set[tuple[str, int]] = set()

    def event(self, event: ConversationEvent) -> None:
        """Show an event; with JSON output as a line."""
        if self._output.json:
            if isinstance(event, (ToolStarted, ToolEnded, TurnEnded)):
                kind = {ToolStarted: "tool_started", ToolEnded: "tool_ended", TurnEnded: "turn_ended"}[
                    type(event)
                ]
                self._output.event({"type": kind, **to_json(event)})
            else:
                self._output.event(to_json(event))
        elif isinstance(event, TextDelta):
            self._told.add((event.type, event.index))
            self._text(event.text)
        elif isinstance(event, ThinkingDelta):
            self._told.add((event.type, event.index))
            self._think(event.text)
        elif isinstance(event, PartDone):
            if event.index is None or (event.part.type, event.index) not in self._told:
                self._part(event.part)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Finished):
            self._finished(event.finish_reason, event.raw_finish_reason, event.is_error)
        elif isinstance(event, ToolStarted):
            self._started(event)
        elif isinstance(event, ToolEnded):
            self.result(event.result)
        elif isinstance(event, TurnEnded):
            self._told.clear()

    def reply(self, reply: Reply) -> None:
        """Show a whole reply."""
        if self._output.json:
            self._output.document(to_json(reply))
            return
        for part in reply.parts:
            self._part(part)
        self.end()
        if reply.vectors is not None:
            for vector in reply.vectors:
                self._output.text(json.dumps(vector))
        if reply.labels is not None:
            rows = [
                (str(number), label.name, "" if label.score is None else f"{label.score:.4f}")
                for number, labels in enumerate(reply.labels, 1)
                for label in labels
            ]
            self._output.table([Column("INPUT"), Column("LABEL"), Column("SCORE", right=True)], rows)
        for message in reply.messages:
            self._output.text(f"{message.role}: {message.text}")
        if reply.data is not None and not reply.text:
            self._output.text(json.dumps(reply.data, indent=2, ensure_ascii=False))
        self._finished(reply.finish_reason, reply.raw_finish_reason, reply.is_error)

    def result(self, result: ToolResultPart) -> None:
        """A line about what a tool answered."""
        text = result.text or " ".join(_media(part) for part in result.parts)
        sign = self._output.symbol("✗", "x") if result.is_error else self._output.symbol("←", "<-")
        self._note(f"{sign} {result.name or 'tool'}: {_short(text)}", "red" if result.is_error else "dim")

    def usage(self, usage: Usage | None) -> None:
        """A line about tokens; what was not reported is not shown."""
        told = {
            name: getattr(usage, name, None)
            for name in ("input", "output", "cache_read", "cache_write", "reasoning")
        }
        words = [f"{name.replace('_', ' ')} {count}" for name, count in told.items() if count is not None]
        self._note(f"tokens: {', '.join(words) or 'not reported'}", "dim")

    def end(self) -> None:
        """End the line that text has begun."""
        self._end_notes()
        if self._line_open:
            self._line_open = False
            self._output.text("")

    def _end_notes(self) -> None:
        """End the line that thinking or a bar of progress has begun."""
        if self._thought_open or self._bar_open:
            self._thought_open = self._bar_open = False
            self._output.note("")

    def _text(self, text: str) -> None:
        if text:
            self._end_notes()
            self._line_open = not text.endswith("\n")
            self._output.text(text, end="")

    def _think(self, text: str) -> None:
        if self._thinking and text:
            if self._bar_open:
                self._end_notes()
            self._output.note(text, "dim", end="")
            self._thought_open = not text.endswith("\n")

    def _part(self, part: Part) -> None:
        if isinstance(part, TextPart):
            self._text(part.text)
        elif isinstance(part, ThinkingPart):
            self._think(part.text)
        elif isinstance(part, ToolCallPart):
            if not self._tools:
                self._note(f"the model asks for {part.name} {arguments_of(part)}", "yellow")
        else:
            self.end()
            self._output.text(_media(part))

    def _progress(self, event: Progress) -> None:
        if not self._bar_open:
            self.end()
        self._bar_open = self._output.talks
        self._output.again(f"{self._share(event)} {event.message or ''}".rstrip(), "dim")

    def _share(self, event: Progress) -> str:
        """How far it has come: a bar on a terminal, else numbers."""
        if event.total is None or event.total <= 0 or not self._output.talks:
            of = f"/{event.total:g}" if event.total is not None else ""
            return f"{event.progress:g}{of}"
        done = max(0, min(BAR, round(BAR * event.progress / event.total)))
        return self._output.symbol("█", "#") * done + self._output.symbol("░", "-") * (BAR - done)

    def _started(self, event: ToolStarted) -> None:
        sign = self._output.symbol("→", "->")
        self._note(f"{sign} {event.target} {_short(arguments_of(event.call))}", "dim")

    def _finished(self, reason: str | None, raw: str | None, is_error: bool) -> None:
        self.end()
        if is_error:
            self._note("the tool reports a failure", "red")
        elif reason not in _EXPECTED:
            self._note(
                f"the answer ended early: {reason}{f' ({raw})' if raw and raw != reason else ''}", "yellow"
            )

    def _note(self, text: str, style: str) -> None:
        self.end()
        self._output.note(text, style)


def arguments_of(call: ToolCallPart) -> str:
    """The arguments of a call as one line of JSON in which nothing is invisible."""
    if call.arguments is None:
        return f"(no valid JSON: {clean(call.raw or '')})"
    text = json.dumps(_plain(call.arguments), ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _plain(value: Mapping[str, Any]) -> Any:
    return dict(value)


def _short(text: str) -> str:
    line = clean(text)
    return line if len(line) <= SHOWN else f"{cut(line, SHOWN)} ({len(text)} characters)"


def _media(part: Part) -> str:
    if isinstance(part, (ImagePart, AudioPart, FilePart)):
        name = getattr(part, "name", None) or part.url or getattr(part, "file_id", None)
        size = f"{len(part.data)} bytes" if part.data is not None else None
        return f"[{' '.join(filter(None, (part.type, part.media_type, size, name)))}]"
    return f"[{part.type}]"
