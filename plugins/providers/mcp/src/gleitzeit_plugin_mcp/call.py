"""One call of a server on its way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_plugin_mcp.credentials import Credentials
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Call"]


class Call:
    """How far a call has come."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.supervisor: Supervisor | None = None
        self.connection: Connection | None = None
        self.at = 0.0
        self.sent = False
        #: Was it sent anew already, as the session was gone?
        self.forgiven = False
        #: Did the server refuse who we are, before it did anything?
        self.refused = False
        #: Was it sent anew already, with other credentials?
        self._renewed = False
        #: Did it ask for a task, of a server of the handshake era?
        self.deferred = False
        #: Goes on with the task that the server has made of it.
        self.task: Callable[[], Awaitable[dict[str, Any]]] | None = None
        #: Was a person asked already to visit an address?
        self.visited = False

    @property
    def lost(self) -> bool:
        """Has the session ended that it went to?"""
        return self.connection is not None and self.connection.lost.is_set()

    async def forget(self, seconds: float) -> None:
        """It never left: wait until nobody else is sent that way, but no longer than so many seconds."""
        self.forgiven = True
        connection, self.connection, self.sent = self.connection, None, False
        if connection is not None and self.supervisor is not None:
            await self.supervisor.gone(connection, seconds)

    async def renewed(self, credentials: Credentials) -> bool:
        """Are there other credentials than those that were refused? Once in a call."""
        if not self.refused or self._renewed or self.connection is None:
            return False
        self._renewed = True
        return await credentials.renewed(self.connection.endpoint)

    def accepted(self) -> None:
        """The credentials of now are good; in a long task they may become old again."""
        self._renewed = self.refused = False

    def began(self, connection: Connection) -> None:
        self.connection, self.at, self.sent = connection, time.monotonic(), True
