"""Where a call goes: targets, and the routes that names resolve to."""

from __future__ import annotations

from attrs import field, frozen

from gleitzeit.values.catalogue import Model, Tool

__all__ = ["Route", "Target"]


@frozen(kw_only=True)
class Target:
    """One provider instance and one model or tool of it.

    `local` is true only where the provider or the operator says that no byte leaves this machine.
    `sandbox` names what encloses the process behind it; None where there is no process.
    """

    instance: str = field(kw_only=False)
    name: str = field(kw_only=False)
    plugin: str = ""
    local: bool = False
    sandbox: str | None = None
    model: Model | None = field(default=None, repr=False)
    tool: Tool | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.instance}/{self.name}" if self.name else self.instance


@frozen(kw_only=True)
class Route:
    """A name resolved for one kind of operation: its targets in order of preference."""

    name: str = field(kw_only=False)
    operation: str
    targets: tuple[Target, ...]
    strategy: str = "ordered"
