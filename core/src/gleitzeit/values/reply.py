"""The answer to a request, whatever its operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from gleitzeit.values.evolve import changer, copier
from gleitzeit.values.limits import RateLimits
from gleitzeit.values.messages import Message, Part, TextPart, ThinkingPart, ToolCallPart, as_parts
from gleitzeit.values.targets import Target

__all__ = ["Attempt", "FinishReason", "Label", "Reply", "Usage", "signed"]

#: Decided by what came, not by the vendor's word; `Reply.raw_finish_reason` keeps that word.
FinishReason: TypeAlias = Literal[
    "stop", "tool_calls", "length", "context_exceeded", "refusal", "paused", "error"
]


@frozen(kw_only=True)
class Usage:
    """Tokens as the vendor reports them; None means not reported, never zero.

    `input` counts everything read, `cache_read` and `cache_write` lie inside it; `output` counts
    everything written, `reasoning` lies inside it.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    raw: Mapping[str, Any] | None = field(default=None, repr=False, eq=False)

    def __add__(self, other: Usage) -> Usage:
        def total(ours: int | None, theirs: int | None) -> int | None:
            return theirs if ours is None else ours if theirs is None else ours + theirs

        return Usage(
            input=total(self.input, other.input),
            output=total(self.output, other.output),
            cache_read=total(self.cache_read, other.cache_read),
            cache_write=total(self.cache_write, other.cache_write),
            reasoning=total(self.reasoning, other.reasoning),
        )


@frozen(kw_only=True)
class Attempt:
    """One attempt at one target that did not give the answer, and what it cost."""

    target: Target = field(kw_only=False)
    error: Exception
    usage: Usage | None = None


@frozen(kw_only=True)
class Label:
    """A class with its score in 0..1."""

    name: str = field(kw_only=False)
    score: float | None = None


@frozen(kw_only=True, slots=False)  # see `changer`
class Reply:
    """What came back.

    `parts` holds text, thinking, tool calls or a tool's content (a string counts as one text
    part); `vectors` answers an embedding and `labels` a classification, one entry an input, in
    order; `data` holds structured output of a tool or method. `is_error` marks the answer of a
    tool that ran and reports a failure. `target` says who answered and `attempts` who failed before.
    """

    parts: tuple[Part, ...] = field(default=(), kw_only=False, converter=as_parts)
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    vectors: tuple[tuple[float, ...], ...] | None = field(default=None, repr=False)
    labels: tuple[tuple[Label, ...], ...] | None = None
    data: Any = None
    is_error: bool = False
    messages: tuple[Message, ...] = ()
    target: Target | None = None
    attempts: tuple[Attempt, ...] = ()
    #: What the upstream said of its rate limits with this answer.
    limits: RateLimits | None = field(default=None, repr=False)
    #: The vendor's answer as it came: bytes or decoded; for debugging, in no contract.
    raw: Any = field(default=None, repr=False, eq=False)

    @property
    def text(self) -> str:
        """The text parts, joined; thinking is not text."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def thinking(self) -> str:
        """The thinking parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ThinkingPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def message(self) -> Message:
        """The answer as the assistant turn of the next request."""
        return Message("assistant", self.parts)

    def evolve(self, **changes: Any) -> Reply:
        """A copy with some fields changed; `parts` may be given as in the constructor."""
        if "parts" in changes:
            changes["parts"] = as_parts(changes["parts"])
        return _copy(self, changes)


_copy = copier(Reply)
#: `signed(reply, target, attempts)`: the copy that the corridor makes of each, as providers may share theirs.
signed = changer(Reply, "target", "attempts")
