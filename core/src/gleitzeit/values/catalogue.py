"""What providers offer: models, tools, resources and prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

__all__ = ["Model", "Prompt", "PromptArgument", "Resource", "Tool", "ToolHints"]

_EMPTY: Mapping[str, Any] = {}


def _kinds(operations: Iterable[Any]) -> frozenset[str]:
    if isinstance(operations, str):
        operations = (operations,)
    return frozenset(item if isinstance(item, str) else str(item.kind) for item in operations)


def _words(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset((value,) if isinstance(value, str) else value)


@frozen(kw_only=True)
class Model:
    """A model as its provider describes it.

    `operations` takes operation classes or their kinds; empty means unknown. `capabilities` are
    free words: "vision", "tools", "thinking". None means unknown everywhere.
    """

    name: str = field(kw_only=False)
    operations: frozenset[str] = field(default=frozenset(), converter=_kinds)
    capabilities: frozenset[str] = field(default=frozenset(), converter=_words)
    description: str = ""
    version: str | None = None
    context_tokens: int | None = None
    output_tokens: int | None = None
    metadata: Mapping[str, Any] = field(default=_EMPTY, repr=False)


@frozen(kw_only=True)
class ToolHints:
    """What a tool says of itself; hints are not trusted unless the operator says so. None: not said."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


@frozen(kw_only=True)
class Tool:
    """A tool as its provider describes it; the schemas are JSON Schema objects.

    `category` is the operator's word; tags may be both's.
    """

    name: str = field(kw_only=False)
    description: str = ""
    input_schema: Mapping[str, Any] = field(factory=lambda: {"type": "object"}, repr=False)
    output_schema: Mapping[str, Any] | None = field(default=None, repr=False)
    title: str | None = None
    hints: ToolHints = ToolHints()
    category: str | None = None
    tags: frozenset[str] = field(default=frozenset(), converter=_words)
    metadata: Mapping[str, Any] = field(default=_EMPTY, repr=False)


@frozen(kw_only=True)
class Resource:
    """Something that can be read; `uri` may be a template (RFC 6570) when `template` is true."""

    uri: str = field(kw_only=False)
    name: str = ""
    description: str = ""
    media_type: str | None = None
    size: int | None = None
    template: bool = False
    metadata: Mapping[str, Any] = field(default=_EMPTY, repr=False)


@frozen(kw_only=True)
class PromptArgument:
    """A named argument of a prompt template."""

    name: str = field(kw_only=False)
    description: str = ""
    required: bool = False


def _arguments(value: Iterable[PromptArgument]) -> tuple[PromptArgument, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Prompt:
    """A prompt template as its provider describes it."""

    name: str = field(kw_only=False)
    description: str = ""
    arguments: tuple[PromptArgument, ...] = field(default=(), converter=_arguments)
    metadata: Mapping[str, Any] = field(default=_EMPTY, repr=False)
