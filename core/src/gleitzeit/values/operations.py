"""What can be asked of a target. The set is open: subclass `Operation` to add a kind."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from attrs import field, frozen

from gleitzeit.values.catalogue import Tool
from gleitzeit.values.evolve import changer, copier
from gleitzeit.values.messages import Message
from gleitzeit.values.targets import Target

__all__ = [
    "Chat",
    "Classification",
    "Completion",
    "DataClass",
    "Embedding",
    "GetPrompt",
    "Invoke",
    "Operation",
    "ReadResource",
    "Request",
    "ResponseSchema",
    "ToolCall",
    "ToolChoice",
    "aimed",
    "dated",
    "new_id",
]

#: "public" may be logged and leave this machine, "internal" may leave but its content is never
#: logged, "private" stays on local targets and its content is never logged.
DataClass: TypeAlias = Literal["public", "internal", "private"]

#: "auto", "none", "required", or the name of the one tool to call.
ToolChoice: TypeAlias = str

_EMPTY: Mapping[str, Any] = {}
_prefix = os.urandom(6).hex()
_count = itertools.count(1)
os.register_at_fork(after_in_child=lambda: globals().__setitem__("_prefix", os.urandom(6).hex()))


def new_id() -> str:
    """An id that no other request of this or another process has."""
    return f"{_prefix}-{next(_count):x}"


@frozen(kw_only=True)
class Operation:
    """Base of everything that can be asked.

    `kind` is its name in model descriptions, metrics and JSON. `idempotent` says whether asking
    twice does no more than asking once (inference costs money, but changes nothing).
    """

    kind: ClassVar[str]
    idempotent: ClassVar[bool] = False

    def to(self, target: str | Target, *, timeout: float | None = None, **fields: Any) -> Request:
        """A request to `target`; `timeout` in seconds from now, other fields as in `Request`."""
        if timeout is not None:
            fields["deadline"] = time.monotonic() + timeout
        return Request(self, target=target, **fields)


def _as_messages(content: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    """A prompt, a message, or several messages, as messages."""
    if isinstance(content, str):
        return (Message("user", content),)
    return (content,) if isinstance(content, Message) else tuple(content)


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


# A bare `tuple` as converter leaves its element type open, and type checkers refuse every argument.
def _tools(value: Iterable[Tool]) -> tuple[Tool, ...]:
    return tuple(value)


def _anything(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


@frozen(kw_only=True)
class ResponseSchema:
    """The JSON Schema that the answer's text must satisfy."""

    schema: Mapping[str, Any] = field(kw_only=False)
    name: str = "answer"
    strict: bool = True


@frozen(kw_only=True)
class _Sampling(Operation):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = field(default=(), converter=_texts)
    seed: int | None = None
    #: Vendor options by plugin name, sent as they are: `{"openai": {"verbosity": "low"}}`.
    options: Mapping[str, Mapping[str, Any]] = _EMPTY


@frozen(kw_only=True)
class Chat(_Sampling):
    """Continue a conversation. `messages` may be given as a plain prompt."""

    kind: ClassVar[str] = "chat"
    idempotent: ClassVar[bool] = True
    messages: tuple[Message, ...] = field(kw_only=False, converter=_as_messages)
    tools: tuple[Tool, ...] = field(default=(), converter=_tools)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    response_schema: ResponseSchema | None = None
    #: Effort of reasoning in the vendor's word ("low", "high"), None for its default.
    reasoning: str | None = None


@frozen(kw_only=True)
class Completion(_Sampling):
    """Continue a text."""

    kind: ClassVar[str] = "completion"
    idempotent: ClassVar[bool] = True
    prompt: str = field(kw_only=False)


@frozen(kw_only=True)
class Embedding(Operation):
    """Turn texts into vectors, in order."""

    kind: ClassVar[str] = "embedding"
    idempotent: ClassVar[bool] = True
    inputs: tuple[str, ...] = field(kw_only=False, converter=_texts)
    dimensions: int | None = None
    options: Mapping[str, Mapping[str, Any]] = _EMPTY


@frozen(kw_only=True)
class Classification(Operation):
    """Label texts, in order; `labels` limits the choice where the model allows it."""

    kind: ClassVar[str] = "classification"
    idempotent: ClassVar[bool] = True
    inputs: tuple[str, ...] = field(kw_only=False, converter=_texts)
    labels: tuple[str, ...] = field(default=(), converter=_texts)
    options: Mapping[str, Mapping[str, Any]] = _EMPTY


@frozen(kw_only=True)
class ToolCall(Operation):
    """Run a tool; the target names it."""

    kind: ClassVar[str] = "tool_call"
    arguments: Mapping[str, Any] = field(kw_only=False, default=_EMPTY)


@frozen(kw_only=True)
class Invoke(Operation):
    """Call any other named method of a provider; the target is the provider's instance name."""

    kind: ClassVar[str] = "invoke"
    method: str = field(kw_only=False)
    arguments: Mapping[str, Any] = _EMPTY
    #: Positional arguments, for methods that take them.
    args: tuple[Any, ...] = field(default=(), converter=_anything)


@frozen(kw_only=True)
class ReadResource(Operation):
    """Read the resource `uri`; the target is the provider's instance name."""

    kind: ClassVar[str] = "read_resource"
    idempotent: ClassVar[bool] = True
    uri: str = field(kw_only=False)


@frozen(kw_only=True)
class GetPrompt(Operation):
    """Render a prompt template; the target names it."""

    kind: ClassVar[str] = "get_prompt"
    idempotent: ClassVar[bool] = True
    arguments: Mapping[str, str] = field(kw_only=False, default=_EMPTY)


@frozen(kw_only=True)
class Request:
    """An operation on its way to a target.

    `target` is the name asked for (`"openai/gpt-6"`, an alias, a route); on its way the corridor
    replaces it by the `Target` that answers. `deadline` is absolute, in `time.monotonic()` seconds.
    `strategy` chooses another way of ordering the targets of a route, where the route allows it.
    """

    operation: Operation = field(kw_only=False)
    target: str | Target
    id: str = field(factory=new_id)
    principal: str | None = None
    deadline: float | None = None
    idempotency_key: str | None = None
    data_class: DataClass = "public"
    strategy: str | None = None
    stream: bool = False
    metadata: Mapping[str, Any] = _EMPTY

    @property
    def name(self) -> str:
        """The model's or tool's own name at its provider."""
        return self.target if isinstance(self.target, str) else self.target.name

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (negative when over), None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def evolve(self, **changes: Any) -> Request:
        """A copy with some fields changed; values are taken as they are."""
        return _copy(self, changes)


_copy = copier(Request)
#: `aimed(request, target)` and `dated(request, deadline)`: the two copies that the corridor makes of each.
aimed = changer(Request, "target")
dated = changer(Request, "deadline")
