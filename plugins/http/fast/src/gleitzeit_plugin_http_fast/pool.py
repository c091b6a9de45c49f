"""How many connections there may be, which are idle, and for how long."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import httpx2

from gleitzeit_plugin_http_fast.body import wait

if TYPE_CHECKING:
    from gleitzeit_plugin_http_fast.connection import Connection
    from gleitzeit_plugin_http_fast.routes import Route

__all__ = ["Pool"]

#: Seconds that closing waits for the event loop to have closed all sockets.
_PATIENCE: Final = 5.0


class Pool:
    """A lease is the right to one of `limit` connections; idle ones are kept beside them as far as they fit.

    The connection that was used last is used first, so that a burst's others expire. Idle
    connections cost calls nothing.
    """

    def __init__(self, limit: int, keepalive: float) -> None:
        self._limit = limit
        self._keepalive = keepalive
        self._leases = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._idle: dict[Route, dict[Connection, None]] = {}
        #: All idle connections with the loop's time at which they became so, the oldest first.
        self._since: dict[Connection, float] = {}
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self.closed = False

    async def lease(self, route: Route, timeout: float | None) -> Connection | None:
        """A lease, with an idle connection to this place if there is one; first come, first served.

        Whoever gets None opens one. The lease ends by `give` or `free`. Raises `httpx2.PoolTimeout`.
        """
        self._check()
        if self._leases >= self._limit or self._waiters:
            await self._queue(timeout)
            self._check_lease()
        else:
            self._leases += 1
        found = self._take(route)
        if found is None and self._leases + len(self._since) > self._limit:
            self._drop(next(iter(self._since)))
        return found

    def give(self, connection: Connection) -> None:
        """A lease has ended, and its connection may serve others."""
        if self.closed:
            connection.abort(httpx2.ReadError("closed"))
        else:
            loop = connection.loop
            self._idle.setdefault(connection.route, {})[connection] = None
            self._since[connection] = loop.time()
            if self._timer is None:
                self._timer = loop.call_later(self._keepalive, self._sweep, loop)
        self.free()

    def free(self) -> None:
        """A lease has ended; the first of those who wait gets it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._leases -= 1

    def made(self, connection: Connection) -> None:
        """A connection is there."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """It is gone."""
        self._open.discard(connection)
        self._forget(connection)
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    async def aclose(self) -> None:
        """Close all connections, those in use too, and wait until their sockets are closed."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(httpx2.ConnectError("the transport is closed"))
        for connection in tuple(self._open):
            connection.abort(httpx2.ReadError("the transport was closed"))
        if self._open:
            loop = asyncio.get_running_loop()
            self._emptied = loop.create_future()
            try:
                await wait(self._emptied, _PATIENCE, loop.call_later)
            except TimeoutError:
                pass  # what is left is aborted, and the loop's to close

    def _check(self) -> None:
        if self.closed:
            raise httpx2.ConnectError("the transport is closed")

    def _check_lease(self) -> None:
        if self.closed:
            self.free()
            self._check()

    async def _queue(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        try:
            await wait(waiter, timeout, loop.call_later)
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.free()  # it was given the lease in the same moment
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise httpx2.PoolTimeout("no connection became free in time") from None
            raise

    def _take(self, route: Route) -> Connection | None:
        idle = self._idle.get(route)
        while idle:
            connection, _ = idle.popitem()
            since = self._since.pop(connection)
            if connection.usable and connection.loop.time() - since < self._keepalive:
                return connection
            connection.abort(httpx2.ReadError("expired"))
        return None

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.abort(httpx2.ReadError("expired"))

    def _forget(self, connection: Connection) -> None:
        if self._since.pop(connection, None) is not None:
            idle = self._idle[connection.route]
            del idle[connection]
            if not idle:
                del self._idle[connection.route]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle for too long."""
        self._timer = None
        now = loop.time()
        while self._since:
            connection, since = next(iter(self._since.items()))
            left = since + self._keepalive - now
            if left > 0:
                self._timer = loop.call_later(left, self._sweep, loop)
                return
            self._drop(connection)
