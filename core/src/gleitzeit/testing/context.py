"""A context for tests of one plugin, without a host."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gleitzeit.errors import ConfigError, PermissionDeniedError, PluginNotFoundError
from gleitzeit.values import Reply, Request

if TYPE_CHECKING:
    import httpx2

__all__ = ["FakeContext"]


class FakeContext:
    """What a host would give to an instance, made by hand.

        async with FakeContext("openai") as context:
            provider = OpenAI(OpenAI.Config(), context)

    Without `http` a client like the host's is made at first use, and closed with the block.
    `replies` answer `ask`; `drivers` are found by (kind, name); `secret` knows `secret://env/NAME`.
    """

    def __init__(
        self,
        name: str = "test",
        http: httpx2.AsyncClient | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        drivers: Mapping[tuple[str, str], Any] | None = None,
        replies: tuple[Reply, ...] = (),
    ) -> None:
        self._name = name
        self._http = http
        self._own: httpx2.AsyncClient | None = None
        self._environ = os.environ if environ is None else environ
        self._drivers = drivers or {}
        self._replies = list(replies)
        self.may_ask = bool(self._replies)
        #: How often `changed` was called.
        self.changes = 0
        #: What `ask` was asked.
        self.asked: list[Request] = []

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._name

    @property
    def http(self) -> httpx2.AsyncClient:
        """The HTTP client."""
        if self._http is None:
            from gleitzeit.wire.client import make_client

            self._http = self._own = make_client()
        return self._http

    @property
    def logger(self) -> logging.Logger:
        """The logger `gleitzeit.plugin.NAME`."""
        return logging.getLogger(f"gleitzeit.plugin.{self._name}")

    def changed(self) -> None:
        """Count an announcement."""
        self.changes += 1

    async def ask(self, request: Request) -> Reply:
        """The next of `replies`; `PermissionDeniedError` when there is none."""
        self.asked.append(request)
        if not self._replies:
            raise PermissionDeniedError(f"instance {self._name!r} may not ask", hint="set `may_ask = true`")
        return self._replies.pop(0)

    async def secret(self, reference: str) -> str:
        """The environment variable behind `secret://env/NAME`."""
        name = reference.removeprefix("secret://env/")
        if name == reference or name not in self._environ:
            raise ConfigError(f"there is no secret behind {reference}")
        return self._environ[name]

    async def driver(self, kind: str, name: str) -> Any:
        """One of `drivers`."""
        if (kind, name) not in self._drivers:
            raise PluginNotFoundError(f"no {kind} plugin {name!r} in this test")
        return self._drivers[kind, name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            await self._own.aclose()
