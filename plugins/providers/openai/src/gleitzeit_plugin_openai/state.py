"""Thinking in its spellings, and what of it the server wants back."""

from __future__ import annotations

import json
from typing import Any, Final

from gleitzeit.values import ProviderState
from gleitzeit_plugin_openai.shapes import Message

__all__ = ["MessageState"]

_JOINED: Final = ("text", "summary")


class MessageState:
    """Collects the thinking of one message, and the fields that travel back with it."""

    __slots__ = ("_details", "_extra", "_field", "_thoughts")

    def __init__(self) -> None:
        self._field: str | None = None
        self._thoughts: list[str] = []
        self._details: list[Any] = []
        self._extra: Any = None

    @property
    def thought(self) -> str:
        """The thinking so far."""
        return "".join(self._thoughts)

    def feed(self, message: Message) -> str:
        """The thinking in a message or delta, whatever it is called; what is said twice is heard once."""
        if message.extra_content is not None:
            self._extra = message.extra_content
        details = message.reasoning_details
        text = ""
        for name in ("reasoning_content", "reasoning", "thinking"):
            value = getattr(message, name)
            if value and isinstance(value, str):
                self._field = self._field or name
                text = value
                break
        if details and isinstance(details, list):
            for detail in details:
                self._detail(detail)
            if not text and self._field is None:
                text = "".join(_text_of(detail) for detail in details)
        if text:
            self._thoughts.append(text)
        return text

    def add(self, text: str) -> None:
        """Thinking that was found in the text, and does not go back."""
        self._thoughts.append(text)

    def listed(self, part: dict[str, Any]) -> str:
        """The thinking in a `thinking` part of a content list."""
        inner = part.get("thinking")
        if isinstance(inner, list):
            text = "".join(_text_of(item) for item in inner)
        else:
            text = inner if isinstance(inner, str) else ""
        if text:
            self._thoughts.append(text)
        return text

    def close(self, owner: str) -> ProviderState | None:
        """What goes back with the message; None where nothing does."""
        fields: dict[str, Any] = {}
        if self._field is not None:
            fields[self._field] = self.thought
        if self._details:
            fields["reasoning_details"] = self._details
        if self._extra is not None:
            fields["extra_content"] = self._extra
        return ProviderState(owner, data=json.dumps(fields, ensure_ascii=False)) if fields else None

    def _detail(self, detail: Any) -> None:
        """Add a detail; fragments of one, told by its index and type, are joined."""
        last = self._details[-1] if self._details else None
        if not isinstance(detail, dict) or not isinstance(last, dict) or not _same(detail, last):
            self._details.append(detail)
            return
        joined = dict(last)
        for key, value in detail.items():
            before = joined.get(key)
            joined[key] = before + value if key in _JOINED and _texts(before, value) else value
        self._details[-1] = joined


def _same(detail: dict[str, Any], last: dict[str, Any]) -> bool:
    index = detail.get("index")
    return index is not None and index == last.get("index") and detail.get("type") == last.get("type")


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _text_of(item: Any) -> str:
    if not isinstance(item, dict):
        return item if isinstance(item, str) else ""
    text = item.get("text") or item.get("summary") or ""
    return text if isinstance(text, str) else ""
