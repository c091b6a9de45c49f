"""The events of a stream. Exactly one `Finished` ends a good stream; a bad one raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from attrs import field, frozen

from gleitzeit.values.limits import RateLimits
from gleitzeit.values.messages import Part
from gleitzeit.values.reply import FinishReason, Label, Reply, Usage

if TYPE_CHECKING:
    from gleitzeit.values.targets import Target

__all__ = [
    "Event",
    "Finished",
    "PartDone",
    "Progress",
    "Started",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "UsageUpdate",
]


@frozen(kw_only=True)
class _Event:
    type: ClassVar[str]
    #: Content commits a stream: from then on nothing is retried or moved silently.
    content: ClassVar[bool] = True


@frozen(kw_only=True)
class Started(_Event):
    """The upstream has begun to answer, without content so far; `limits`: what it said of its rates."""

    type: ClassVar[str] = "started"
    content: ClassVar[bool] = False
    id: str | None = None
    model: str | None = None
    target: Target | None = None
    limits: RateLimits | None = field(default=None, repr=False)


@frozen(kw_only=True)
class TextDelta(_Event):
    """More text; `index` numbers the part it belongs to."""

    type: ClassVar[str] = "text"
    text: str = field(kw_only=False)
    index: int = 0


@frozen(kw_only=True)
class ThinkingDelta(_Event):
    """More thinking; `index` numbers the part it belongs to."""

    type: ClassVar[str] = "thinking"
    text: str = field(kw_only=False)
    index: int = 0


@frozen(kw_only=True)
class ToolCallDelta(_Event):
    """More of a tool call: `id` and `name` are set once, `arguments` is a fragment of JSON text."""

    type: ClassVar[str] = "tool_call"
    index: int = field(kw_only=False)
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@frozen(kw_only=True)
class PartDone(_Event):
    """A whole part; it replaces what deltas of its kind and `index` gave (None: a part of its own)."""

    type: ClassVar[str] = "part"
    part: Part = field(kw_only=False)
    index: int | None = None


@frozen(kw_only=True)
class Progress(_Event):
    """How far a tool has come."""

    type: ClassVar[str] = "progress"
    progress: float = field(kw_only=False)
    total: float | None = None
    message: str | None = None


@frozen(kw_only=True)
class UsageUpdate(_Event):
    """Usage so far; replaces what was said before, never adds to it."""

    type: ClassVar[str] = "usage"
    content: ClassVar[bool] = False
    usage: Usage = field(kw_only=False)


@frozen(kw_only=True)
class Finished(_Event):
    """The one terminal event. `usage` None means: as the last `UsageUpdate` said."""

    type: ClassVar[str] = "finished"
    finish_reason: FinishReason = field(kw_only=False, default="stop")
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    #: Structured output of a tool or method, vectors and labels: as in `Reply`.
    data: Any = None
    vectors: tuple[tuple[float, ...], ...] | None = field(default=None, repr=False)
    labels: tuple[tuple[Label, ...], ...] | None = None
    is_error: bool = False

    @classmethod
    def of(cls, reply: Reply) -> Finished:
        """The end of the stream that amounts to `reply`."""
        return cls(
            reply.finish_reason or "stop",
            raw_finish_reason=reply.raw_finish_reason,
            usage=reply.usage,
            id=reply.id,
            model=reply.model,
            data=reply.data,
            vectors=reply.vectors,
            labels=reply.labels,
            is_error=reply.is_error,
        )


Event: TypeAlias = (
    Started | TextDelta | ThinkingDelta | ToolCallDelta | PartDone | Progress | UsageUpdate | Finished
)
