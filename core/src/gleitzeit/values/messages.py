"""Messages are lists of typed parts; every part is a frozen value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from attrs import field, frozen

__all__ = [
    "AudioPart",
    "FilePart",
    "ImagePart",
    "Message",
    "Part",
    "ProviderState",
    "Role",
    "TextPart",
    "ThinkingPart",
    "ToolCallPart",
    "ToolResultPart",
    "as_parts",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@frozen(kw_only=True)
class ProviderState:
    """Opaque data that a vendor wants back unchanged in the next turn.

    `owner` is the vendor's tag (`"anthropic"`), `data` its text, byte for byte. A provider sends
    back only state that it owns; everybody else drops it, alone.
    """

    owner: str = field(kw_only=False)
    data: str = field(repr=False)


@frozen(kw_only=True)
class _Part:
    type: ClassVar[str]
    provider_state: ProviderState | None = None

    def state_for(self, owner: str) -> str | None:
        """The opaque state of this part if `owner` put it there."""
        state = self.provider_state
        return state.data if state is not None and state.owner == owner else None


@frozen(kw_only=True)
class TextPart(_Part):
    """Text."""

    type: ClassVar[str] = "text"
    text: str = field(kw_only=False)


@frozen(kw_only=True)
class _Media(_Part):
    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str | None = None


@frozen(kw_only=True)
class ImagePart(_Media):
    """A picture: `data` with its `media_type`, or a `url`. `detail` is `"low"`, `"high"` or None."""

    type: ClassVar[str] = "image"
    detail: str | None = None


@frozen(kw_only=True)
class AudioPart(_Media):
    """Sound: `data` with its `media_type`, or a `url`."""

    type: ClassVar[str] = "audio"


@frozen(kw_only=True)
class FilePart(_Media):
    """A document: `data` with its `media_type`, a `url`, or the `file_id` of an upload at the vendor."""

    type: ClassVar[str] = "file"
    name: str | None = None
    file_id: str | None = None


@frozen(kw_only=True)
class ThinkingPart(_Part):
    """What the model thought aloud; never part of its answer."""

    type: ClassVar[str] = "thinking"
    text: str = field(kw_only=False)


@frozen(kw_only=True)
class ToolCallPart(_Part):
    """The model asks for a tool.

    `arguments` is the parsed object, or None where the model wrote no valid JSON object; `raw`
    keeps its text as it came.
    """

    type: ClassVar[str] = "tool_call"
    id: str = field(kw_only=False)
    name: str
    arguments: Mapping[str, Any] | None
    raw: str | None = None

    @classmethod
    def parse(cls, id: str, name: str, raw: str, provider_state: ProviderState | None = None) -> ToolCallPart:
        """A call from its arguments' JSON text; blank text counts as `{}`."""
        try:
            arguments = json.loads(raw) if raw.strip() else {}
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            arguments = None
        return cls(id, name=name, arguments=arguments, raw=raw, provider_state=provider_state)


def _late_parts(content: str | Part | Iterable[str | Part]) -> tuple[Part, ...]:
    return as_parts(content)


@frozen(kw_only=True)
class ToolResultPart(_Part):
    """The answer to the tool call of the same `id`."""

    type: ClassVar[str] = "tool_result"
    id: str = field(kw_only=False)
    name: str | None = None
    parts: tuple[Part, ...] = field(default=(), converter=_late_parts)
    is_error: bool = False

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | ThinkingPart | ToolCallPart | ToolResultPart


def as_parts(content: str | Part | Iterable[str | Part]) -> tuple[Part, ...]:
    """A string, a part, or several of them, as parts."""
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    if isinstance(content, _Part):
        return (content,)
    return tuple(TextPart(item) if isinstance(item, str) else item for item in content)


@frozen(kw_only=True)
class Message:
    """One turn of a conversation: a role and its parts (a string counts as one text part)."""

    role: Role = field(kw_only=False)
    parts: tuple[Part, ...] = field(kw_only=False, converter=as_parts)
    name: str | None = None

    @classmethod
    def system(cls, content: str | Part | Iterable[str | Part]) -> Message:
        """A system turn."""
        return cls("system", content)

    @classmethod
    def user(cls, content: str | Part | Iterable[str | Part]) -> Message:
        """A user turn."""
        return cls("user", content)

    @classmethod
    def assistant(cls, content: str | Part | Iterable[str | Part]) -> Message:
        """An assistant turn, as in `Reply.message`."""
        return cls("assistant", content)

    @classmethod
    def tool(cls, *results: ToolResultPart) -> Message:
        """The turn that answers all tool calls of the assistant turn before it."""
        return cls("tool", results)

    @property
    def text(self) -> str:
        """The text parts, joined; thinking is not text."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))
