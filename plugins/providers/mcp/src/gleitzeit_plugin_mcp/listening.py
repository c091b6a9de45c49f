"""Has a server tell of changes: unasked in the handshake era, on a stream of its own in the modern one."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import GleitzeitError, UnsupportedError, WireError
from gleitzeit_plugin_mcp.ears import Ears

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Listening"]

#: Seconds for a server to acknowledge that it will tell of changes.
ACKNOWLEDGE: Final = 1.0
#: Seconds before listening again, doubled each time up to the second.
RELISTEN: Final = (0.5, 30.0)
_LISTS: Final = ("tools", "resources", "prompts")


class Listening:
    """Keeps one session's server telling: of lists that change, and of the resources subscribed to."""

    def __init__(self, connection: Connection, ears: Ears) -> None:
        self._connection = connection
        self._ears = ears
        self._task: asyncio.Task[None] | None = None
        self._acknowledged = asyncio.Event()
        self._ids = itertools.count(1)
        #: URIs that this session's server was asked to tell of.
        self._told: set[str] = set()
        self._turn = asyncio.Lock()

    def acknowledged(self) -> None:
        """The server has said that it listens to."""
        self._acknowledged.set()

    async def begin(self) -> None:
        """Before the first listing: what changes before the server tells of changes would be missed."""
        connection, ears = self._connection, self._ears
        if connection.era == "modern":
            await self._relisten()
            return
        if ears.level is not None and "logging" in connection.capabilities:
            await self._leniently("logging/setLevel", {"level": ears.level})
        await self._subscribe()

    async def renew(self) -> None:
        """Tell the server which resources are of interest now; raises what it answers to that."""
        async with self._turn:
            if self._connection.era == "modern":
                await self._relisten()
                return
            for uri in sorted(self._ears.subscribed - self._told):
                await self._connection.request("resources/subscribe", {"uri": uri})
                self._told.add(uri)
            for uri in sorted(self._told - self._ears.subscribed):
                self._told.discard(uri)
                await self._leniently("resources/unsubscribe", {"uri": uri})

    async def end(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _subscribe(self) -> None:
        """Again on a new session, which may have missed something meanwhile."""
        for uri in sorted(self._ears.subscribed):
            self._told.add(uri)
            await self._leniently("resources/subscribe", {"uri": uri})
            self._ears.updated(uri)

    async def _leniently(self, method: str, params: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(ACKNOWLEDGE):
                await self._connection.request(method, params)
        except WireError:
            raise
        except (GleitzeitError, TimeoutError):
            pass  # it does without

    def _wanted(self) -> dict[str, Any]:
        capabilities = self._connection.capabilities
        found: dict[str, Any] = {
            f"{kind}ListChanged": True for kind in _LISTS if (capabilities.get(kind) or {}).get("listChanged")
        }
        if self._ears.subscribed:
            found["resourceSubscriptions"] = sorted(self._ears.subscribed)
        return found

    async def _relisten(self) -> None:
        """Listen with what is wanted now; the stream before it ends once this one stands."""
        wanted, before = self._wanted(), self._task
        self._task = None
        if wanted:
            self._acknowledged.clear()
            self._task = asyncio.create_task(
                self._listen(wanted), name=f"mcp: listen to {self._connection.name}"
            )
            waiter = asyncio.create_task(self._acknowledged.wait())
            try:
                await asyncio.wait(
                    {self._task, waiter}, timeout=ACKNOWLEDGE, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                waiter.cancel()
        if before is not None:
            before.cancel()
            await asyncio.wait({before})

    async def _listen(self, wanted: dict[str, Any]) -> None:
        pause, longest = RELISTEN
        connection = self._connection
        while True:
            began = time.monotonic()
            try:
                await connection.request(
                    "subscriptions/listen", {"notifications": wanted}, id=f"listen-{next(self._ids)}"
                )
            except UnsupportedError:
                return  # it does not offer this after all
            except GleitzeitError as error:
                told = self._acknowledged.is_set() or isinstance(error, WireError)
                if connection.lost.is_set() or not told:
                    return
            # The stream has ended, and whatever changes from now on would pass unnoticed.
            for kind in _LISTS:
                if f"{kind}ListChanged" in wanted:
                    self._ears.changed(kind)
            for uri in wanted.get("resourceSubscriptions", ()):
                self._ears.updated(uri)
            if time.monotonic() - began > longest:
                pause = RELISTEN[0]
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
