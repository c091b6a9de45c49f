"""Opens sessions with one server, and remembers which era of the protocol it speaks."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gleitzeit.errors import AuthenticationError, CannotConnectError, PluginNotFoundError
from gleitzeit.kinds import Context, Transport
from gleitzeit_plugin_mcp.config import McpConfig
from gleitzeit_plugin_mcp.credentials import Credentials
from gleitzeit_plugin_mcp.ears import Ears
from gleitzeit_plugin_mcp.eras import ERAS, place
from gleitzeit_plugin_mcp.faults import AtOnceError, ProbeEndedItError, unwrap
from gleitzeit_plugin_mcp.supervisor import Connect

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.negotiate import Era
    from gleitzeit_plugin_mcp.session import Connection, Mirrored

__all__ = ["Opening"]


class Opening:
    """What all sessions with one server have in common."""

    def __init__(self, config: McpConfig, context: Context, ears: Ears) -> None:
        self._config = config
        self._context = context
        self._ears = ears
        #: Where the server is, as a key.
        self.where = place(config)
        #: Answers what the server asks; there once a session was opened.
        self.asks: Any = None
        self._mirrored: Mirrored = {}

    def opener(self, credentials: Credentials) -> Connect:
        """Opens the sessions of one instance, one after another."""
        guess = _Guess()
        ears = self._ears if credentials.principal is None else self._ears.apart()
        return lambda: self._open(guess, credentials, ears)

    @asynccontextmanager
    async def _open(self, guess: _Guess, credentials: Credentials, ears: Ears) -> AsyncIterator[Connection]:
        """A session, from the opening of its wire to its end."""
        config, name = self._config, self._context.name
        # Importing the SDK takes half a second, which would stall the event loop.
        session = await asyncio.to_thread(importlib.import_module, "gleitzeit_plugin_mcp.session")
        if self.asks is None:
            self.asks = session.Asks(
                self._context, name, config.sampling_model, config.rooted(), tasks=config.tasks
            )
        known: Era | None = "legacy" if guess.legacy else await asyncio.to_thread(ERAS.known, self.where)
        found = await credentials.endpoint()
        ears.hide(found.options["secrets"])
        try:
            async with session.connected(
                found,
                await self._transport(),
                mode=config.mode,
                known=known,
                probe=config.probe_timeout,
                timeout=config.timeout,
                asks=self.asks,
                ears=ears,
                mirrored=self._mirrored,
            ) as connection:
                guess.legacy = guess.renewed = False
                auto = config.mode == "auto"
                if auto and ERAS.learn(self.where, connection.era, connection.server):
                    await asyncio.to_thread(ERAS.keep)
                yield connection
        except Exception as error:
            # A server that ended at the modern greeting is tried once as an old one; if that fails
            # too, the greeting was not the reason.
            cause = unwrap(error)
            again = isinstance(cause, ProbeEndedItError) and not guess.legacy
            guess.legacy = again
            if isinstance(cause, ProbeEndedItError) and not again:
                raise CannotConnectError(
                    f"server {name!r} ends at either greeting",
                    hint='say `mode = "modern"` or `mode = "legacy"`, whichever it should speak',
                    provider=name,
                ) from None
            if isinstance(cause, AuthenticationError) and not guess.renewed:
                guess.renewed = await credentials.renewed(found)
                if guess.renewed:
                    raise AtOnceError from None
            if cause is error:
                raise
            raise cause from None

    async def _transport(self) -> Transport:
        wire, name = self._config.wire, self._context.name
        try:
            found: Transport = await self._context.driver("transport", wire)
        except PluginNotFoundError as error:
            raise PluginNotFoundError(
                f"server {name!r} needs the transport {wire!r}: {error.message}",
                hint=f"pip install gleitzeit-plugin-mcp-{wire}",
                provider=name,
            ) from error
        return found


class _Guess:
    """What is to be tried with the next session."""

    #: As an old server's?
    legacy = False
    #: With other credentials than those that were just refused?
    renewed = False
