"""Thinking and tool calls that servers leave in the text: taken out while it streams."""

from __future__ import annotations

import json
from typing import Final, Literal, NamedTuple

__all__ = ["Filter", "Segment", "TextCalls", "ThinkTags"]


class Segment(NamedTuple):
    """A piece of text, of thinking, or a whole call (`text` holds its arguments, `name` its name)."""

    kind: Literal["text", "thinking", "call"]
    text: str
    name: str = ""


class _Tag:
    """Finds a tag in text that comes in pieces."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def split(self, text: str) -> tuple[str, bool, str]:
        """What stands before the tag, whether it was found, and what comes after or may be its beginning."""
        before, found, after = text.partition(self.tag)
        if found:
            return before, True, after
        for size in range(min(len(self.tag) - 1, len(text)), 0, -1):
            if text.endswith(self.tag[:size]):
                return text[:-size], False, text[-size:]
        return text, False, ""


class Filter:
    """Turns text into segments."""

    def feed(self, text: str) -> list[Segment]:
        """The segments that are certain after `text`."""
        raise NotImplementedError

    def close(self) -> list[Segment]:
        """What is left at the end."""
        raise NotImplementedError


class ThinkTags(Filter):
    """Takes thinking in `<think>` tags from the beginning of a text, without the blank around it.

    Tags further on are left alone: there they are what the answer talks about. With `open` the
    text begins inside, as templates that write the first tag themselves make it.
    """

    def __init__(self, *, open: bool = False) -> None:
        self._open, self._close = _Tag("<think>"), _Tag("</think>")
        self._state: Literal["start", "inside", "after", "text"] = "inside" if open else "start"
        self._kept = ""
        self._begun = False

    def feed(self, text: str) -> list[Segment]:
        """The segments that are certain after `text`."""
        if self._state == "text":
            return [Segment("text", text)]
        text, self._kept = self._kept + text, ""
        segments: list[Segment] = []
        if self._state == "start":
            bare = text.lstrip()
            if not bare or (len(bare) < len(self._open.tag) and self._open.tag.startswith(bare)):
                self._kept = text
                return segments
            if not bare.startswith(self._open.tag):
                self._state = "text"
                return [Segment("text", text)]
            self._state, text = "inside", bare.removeprefix(self._open.tag)
        if self._state == "inside":
            thought, found, text = self._close.split(text)
            if not self._begun:
                thought = thought.lstrip()
            bare = thought.rstrip()
            if not found:
                self._kept = thought[len(bare) :] + text
            if bare:
                self._begun = True
                segments.append(Segment("thinking", bare))
            if not found:
                return segments
            self._state = "after"
        text = text.lstrip()
        if text:
            self._state = "text"
            segments.append(Segment("text", text))
        return segments

    def close(self) -> list[Segment]:
        """What is left at the end."""
        kept, self._kept = self._kept, ""
        if self._state == "inside":
            kept = kept.rstrip()
            return [Segment("thinking", kept)] if kept else []
        return [Segment("text", kept)] if kept and self._state == "start" else []


_MISTRAL: Final = "[TOOL_CALLS]"


class TextCalls(Filter):
    """Takes tool calls out of a text.

    Styles are `<tool_call>{…}</tool_call>` ("hermes") and `[TOOL_CALLS][…]` ("mistral"). What stands
    between the tags and is no call stays text. Blank between calls is dropped.
    """

    def __init__(self, style: str) -> None:
        self._open = _Tag(_MISTRAL if style == "mistral" else "<tool_call>")
        self._close = None if style == "mistral" else _Tag("</tool_call>")
        self._inside = False
        self._held: list[str] = []
        self._kept = ""
        self._blank = ""
        self._called = False

    def feed(self, text: str) -> list[Segment]:
        """The segments that are certain after `text`."""
        text, self._kept = self._kept + text, ""
        segments: list[Segment] = []
        while text:
            if not self._inside:
                before, found, text = self._open.split(text)
                self._text(before, segments)
                if not found:
                    self._kept = text
                    break
                self._inside = True
            elif self._close is None:
                self._held.append(text)
                break
            else:
                before, found, text = self._close.split(text)
                self._held.append(before)
                if not found:
                    self._kept = text
                    break
                self._call(segments, self._close.tag)
        return segments

    def close(self) -> list[Segment]:
        """What is left at the end; a call whose closing tag never came counts."""
        segments: list[Segment] = []
        if self._inside:
            self._held.append(self._kept)
            self._call(segments, "")
        elif self._kept:
            self._text(self._kept, segments)
        self._kept = ""
        if self._blank and not self._called:
            segments.append(Segment("text", self._blank))
        return segments

    def _text(self, text: str, segments: list[Segment]) -> None:
        """Text is given with its blank end held back: before or between calls nobody means it."""
        text = self._blank + text
        bare = text.rstrip()
        self._blank = text[len(bare) :]
        if bare:
            self._called = False
            segments.append(Segment("text", bare))

    def _call(self, segments: list[Segment], tag: str) -> None:
        inner = "".join(self._held)
        self._held, self._inside = [], False
        calls = _calls_in(inner)
        if calls:
            self._blank, self._called = "", True
            segments += [Segment("call", arguments, name) for name, arguments in calls]
        else:
            self._text(self._open.tag + inner + tag, segments)


def _calls_in(text: str) -> list[tuple[str, str]]:
    try:
        data = json.loads(text)
    except ValueError:
        return []
    calls = []
    for item in data if isinstance(data, list) else [data]:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return []
        arguments = item.get("arguments", item.get("parameters", {}))
        calls.append((item["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)))
    return calls
