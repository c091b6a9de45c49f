"""What an instance receives from the host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from gleitzeit.errors import PermissionDeniedError
from gleitzeit.values import Reply, Request

if TYPE_CHECKING:
    import httpx2

    from gleitzeit.registry.instance import Instance

__all__ = ["InstanceContext", "Services"]


@frozen(kw_only=True)
class Services:
    """What the host lends to all instances."""

    http: Callable[[], httpx2.AsyncClient]
    secret: Callable[[str], Awaitable[str]]
    call: Callable[[Request], Awaitable[Reply]]
    driver: Callable[[str, str], Awaitable[Any]]
    changed: Callable[[str], None] = field(repr=False)


class InstanceContext:
    """The `kinds.Context` of one instance."""

    def __init__(self, instance: Instance, services: Services) -> None:
        self.name = instance.name
        self.logger = logging.getLogger(f"gleitzeit.{instance.kind}.{instance.name}")
        self.may_ask = instance.config.may_ask
        self._services = services
        self._loop = asyncio.get_running_loop()

    @property
    def http(self) -> httpx2.AsyncClient:
        """The host's one HTTP client."""
        return self._services.http()

    def changed(self) -> None:
        """Announce that what this instance offers has changed. Thread-safe."""
        self._loop.call_soon_threadsafe(self._services.changed, self.name)

    async def ask(self, request: Request) -> Reply:
        """Ask the host's models, where the operator allows it."""
        if not self.may_ask:
            raise PermissionDeniedError(
                f"instance {self.name!r} may not ask the host",
                hint=f"set may_ask = true for {self.name!r} to allow it",
            )
        return await self._services.call(request.evolve(principal=f"instance:{self.name}", stream=False))

    async def secret(self, reference: str) -> str:
        """The value behind a `secret://` reference."""
        return await self._services.secret(reference)

    async def driver(self, kind: str, name: str) -> Any:
        """The running instance of a driver plugin."""
        return await self._services.driver(kind, name)
