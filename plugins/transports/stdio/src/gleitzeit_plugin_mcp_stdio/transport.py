"""MCP over the standard streams of a local process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gleitzeit.errors import CannotConnectError, ConfigError, PluginError, SandboxUnavailableError
from gleitzeit.kinds import Context, Endpoint, Launch, Process, Wire
from gleitzeit.plugin import Plugin
from gleitzeit.process import start
from gleitzeit.wire.closing import surely
from gleitzeit_plugin_mcp_stdio.own import own
from gleitzeit_plugin_mcp_stdio.wire import StdioWire

__all__ = ["StdioConfig", "StdioTransport"]


class StdioConfig(BaseModel):
    """Limits of the stdio transport; a server's `options` overrule the first two."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    max_message_bytes: int = Field(
        default=64 * 2**20, gt=0, description="A longer message from a server ends the connection."
    )
    grace: float = Field(
        default=2.0,
        ge=0,
        description="Seconds a server may take to end after its input closed, and again after SIGTERM.",
    )
    stderr_bytes: int = Field(
        default=2**16, gt=0, description="How much of the end of a server's stderr is kept for errors."
    )


class StdioTransport(Plugin):
    """Starts servers as child processes, or is one; see `gleitzeit.kinds.Transport` and `Listener`."""

    Config: ClassVar[Any] = StdioConfig
    manifest: ClassVar[Any] = {"summary": "MCP over the standard streams of a local process."}
    config: StdioConfig

    def __init__(self, config: StdioConfig | None, context: Context) -> None:
        super().__init__(config or StdioConfig(), context)

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[StdioWire]:
        """Start the server; leaving the block ends it and everything that it started.

        Raises `CannotConnectError` where the command cannot be started, and
        `SandboxUnavailableError` before anything starts where its sandbox is not to be had.
        """
        if not endpoint.command:
            raise ConfigError(
                f"server {endpoint.name!r} has no command to start",
                hint="set `command`, or another `transport`",
            )
        options = endpoint.options
        process = await self._launch(endpoint)
        wire = StdioWire(
            endpoint,
            process,
            limit=int(options.get("max_message_bytes", self.config.max_message_bytes)),
            kept=self.config.stderr_bytes,
            grace=float(options.get("grace", self.config.grace)),
        )
        try:
            yield wire
        finally:
            await surely(wire.close(), wire.give_up)

    @asynccontextmanager
    async def listen(
        self, address: str, serve: Callable[[Wire], Awaitable[None]], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        """Serve the one client that started this process; the address says nothing here.

        Standard input and output are the wire's inside of the block: what is printed goes to stderr.
        `options` may hold `max_message_bytes`. Raises `ConfigError` where they cannot be waited for.
        """
        limit = int(options.get("max_message_bytes", self.config.max_message_bytes))
        async with own(limit) as wire:
            task = asyncio.ensure_future(serve(wire))
            try:
                yield "stdio:"
            finally:
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # whoever serves has told of it

    async def _launch(self, endpoint: Endpoint) -> Process:
        launch = Launch(endpoint.command, env=endpoint.env, cwd=endpoint.cwd)
        if endpoint.sandbox == "none":
            try:
                return await start(launch)
            except CannotConnectError as error:
                what = f"server {endpoint.name!r}: {error.message}"
                raise CannotConnectError(what, hint=error.hint, provider=endpoint.name) from error.__cause__
        try:
            sandbox = await self.context.driver("sandbox", endpoint.sandbox)
        except PluginError as error:
            raise SandboxUnavailableError(
                f"server {endpoint.name!r} is to run in the sandbox {endpoint.sandbox!r}: {error}",
                hint='install it, or let the operator say `sandbox = "none"`; nothing was started',
                provider=endpoint.name,
                sent=False,
            ) from error
        process: Process = await sandbox.launch(launch, endpoint.policy)
        return process
