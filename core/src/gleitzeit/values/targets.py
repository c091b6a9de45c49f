"""Where a call goes: targets, and the routes that names resolve to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from gleitzeit.values.catalogue import Model, Tool

__all__ = ["Choice", "Route", "Target"]

_EMPTY: Mapping[str, Any] = {}


@frozen(kw_only=True)
class Target:
    """One provider instance and one model or tool of it.

    `local` is true only where the provider or the operator says that no byte leaves this machine.
    `sandbox` names what encloses the process behind it; None where there is no process. `name` is
    the provider's own, `tool` as it is offered. `repeatable` is true where the operator says that
    asking twice does no more than asking once, whatever the operation.
    """

    instance: str = field(kw_only=False)
    name: str = field(kw_only=False)
    plugin: str = ""
    local: bool = False
    sandbox: str | None = None
    repeatable: bool = False
    model: Model | None = field(default=None, repr=False)
    tool: Tool | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.instance}/{self.name}" if self.name else self.instance


@frozen(kw_only=True)
class Route:
    """A name resolved for one kind of operation: what there is to choose from, in order of preference.

    A choice may be a route itself, with a strategy of its own. `options` are the operator's words
    to the strategy, as configured.
    """

    name: str = field(kw_only=False)
    operation: str
    targets: tuple[Choice, ...]
    strategy: str = "ordered"
    options: Mapping[str, Any] = _EMPTY

    def __str__(self) -> str:
        return self.name

    def leaves(self) -> Iterator[Target]:
        """Every target, those of routes inside included."""
        for choice in self.targets:
            if isinstance(choice, Route):
                yield from choice.leaves()
            else:
                yield choice


Choice: TypeAlias = Target | Route
