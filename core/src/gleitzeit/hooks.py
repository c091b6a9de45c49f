"""The hooks as an application may call them: typed, each plugin's answer for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gleitzeit.catalogue import Catalogue
from gleitzeit.registry import Registry
from gleitzeit.values import Health, Model, Outcome, Prompt, Reply, Request, Resource, Target, Tool, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Hooks"]


class Hooks:
    """`host.hooks`: broadcasts under the deadline for hooks. One that raises is an outcome with an error."""

    def __init__(
        self, registry: Registry, catalogue: Catalogue, call: Callable[[Request], Awaitable[Reply]]
    ) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._call = call

    async def provide_models(self) -> list[Outcome[tuple[Model, ...]]]:
        """What models every provider offers; starts those that have not been needed yet."""
        return await self._offers("models")

    async def provide_tools(self) -> list[Outcome[tuple[Tool, ...]]]:
        """What tools every provider offers."""
        return await self._offers("tools")

    async def provide_resources(self) -> list[Outcome[tuple[Resource, ...]]]:
        """What resources every provider offers."""
        return await self._offers("resources")

    async def provide_prompts(self) -> list[Outcome[tuple[Prompt, ...]]]:
        """What prompt templates every provider offers."""
        return await self._offers("prompts")

    async def call(self, request: Request) -> Reply:
        """The same as `host.call`: asked of the one target, through the whole corridor."""
        return await self._call(request)

    async def health(self, deep: bool = False) -> list[Outcome[Health]]:
        """How the active instances fare."""
        return await self._registry.ask("health", deep)

    async def security_check(
        self, request: Request, target: Target | None = None
    ) -> list[Outcome[Verdict | None]]:
        """The votes on a request, without making the call. An outcome with an error is a deny."""
        return await self._registry.ask("security_check", request, target)

    async def _offers(self, thing: Any) -> list[Outcome[Any]]:
        return [
            Outcome(offer.instance, value=offer.items if offer.error is None else None, error=offer.error)
            for offer in await self._catalogue.offers(thing)
        ]
