"""The text of an answer as it is made: from tokens to pieces, cut at stop strings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

__all__ = ["Pieces", "StopStrings"]

#: What a tokenizer makes of half a character.
HALF = "\N{REPLACEMENT CHARACTER}"


class Pieces:
    """Turns tokens into text that only grows. `hidden` tokens are left out."""

    def __init__(self, decode: Callable[[Sequence[int]], str], hidden: Collection[int] = ()) -> None:
        self._decode = decode
        self._hidden = frozenset(hidden)
        self._ids: list[int] = []
        #: Tokens from `_context` on are decoded again, as the text of a token may depend on those before it.
        self._context = self._given = 0
        #: Characters of that text that are out.
        self._told = 0

    def feed(self, id: int) -> str:
        """The text that is certain after this token."""
        if id in self._hidden:
            return ""
        self._ids.append(id)
        return self._take(final=False)

    def close(self) -> str:
        """What is left at the end."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> str:
        text = self._decode(self._ids[self._context :])
        half = text.endswith(HALF) and not final
        end = max(self._told, len(text) - half)
        piece, self._told = text[self._told : end], end
        if not half:
            self._context, self._given = self._given, len(self._ids)
            self._told = len(self._decode(self._ids[self._context : self._given]))
        return piece


class StopStrings:
    """Ends a text before the first of some strings, however it comes in pieces."""

    def __init__(self, stops: Collection[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        #: The string that was found.
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """The text that is certain: it neither is a stop string nor can become one."""
        if self.found is not None:
            return ""
        text = self._held + text
        hits = [(place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if hits:
            place, self.found = min(hits)
            self._held = ""
            return text[:place]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def close(self) -> str:
        """What is left at the end."""
        rest, self._held = self._held, ""
        return rest if self.found is None else ""


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may begin `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
