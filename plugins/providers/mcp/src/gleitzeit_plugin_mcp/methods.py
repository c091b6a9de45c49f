"""Methods of the protocol itself, by name: whatever has no operation of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Invoke, Reply, Request
from gleitzeit_plugin_mcp.ears import LEVELS, Ears
from gleitzeit_plugin_mcp.exchange import Exchange
from gleitzeit_plugin_mcp.pool import Pool

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Methods", "is_method"]

#: What belongs to the session and would break it, or would never be answered.
_OURS: Final = frozenset({"initialize", "subscriptions/listen"})
#: What each era has in its own way.
_OTHERWISE: Final = frozenset({"ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})


def is_method(name: str) -> bool:
    """Is this a method of the protocol, not a tool? Names of tools have no slash."""
    return "/" in name or name in ("ping", "initialize")


class Methods:
    """Calls methods, and gives the raw result as `data`.

    Log levels and subscriptions hold for the server as long as its host is open, in whatever way its
    era has them, and survive its sessions.
    """

    def __init__(self, exchange: Exchange, pool: Pool, ears: Ears) -> None:
        self._exchange = exchange
        self._pool = pool
        self._ears = ears

    async def call(self, request: Request, operation: Invoke) -> Reply:
        """Call the method; raises the error that its answer amounts to."""
        method, params = operation.method, dict(operation.arguments)
        if operation.args:
            raise _wrong(f"{method!r} takes its parameters by name", "give them as `arguments`")
        if method in _OURS or method.startswith("notifications/"):
            raise _wrong(f"{method!r} belongs to the session, which the host keeps", "leave it to the host")
        if method not in _OTHERWISE:
            return _reply(await self._ask(request, method, params))
        key = self._exchange.key(request)
        if key is not None and key.principal is not None:
            raise UnsupportedError(
                f"{method!r} holds for all who use a server, and this one is used with credentials of each",
                hint="leave the `principal` out",
                sent=False,
            )
        deadline = request.deadline
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                if method == "ping":
                    await (await self._standing())[0].ping()
                elif method == "logging/setLevel":
                    await self._level(params)
                else:
                    await self._subscribe(params, on=method == "resources/subscribe")
        except TimeoutError:
            raise self._exchange.late(method, sent=True) from None
        return _reply({})

    async def _ask(self, request: Request, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        deadline, key = request.deadline, self._exchange.key(request)
        return await self._exchange.ask(method, params, deadline, key=key)

    async def _level(self, params: Mapping[str, Any]) -> None:
        level = params.get("level")
        if level not in LEVELS:
            raise _wrong(f"there is no log level {level!r}", f"say one of {', '.join(LEVELS)}")
        standing = await self._standing()
        before, self._ears.level = self._ears.level, level
        try:
            for connection in standing:
                if connection.era == "legacy":
                    await connection.request("logging/setLevel", params)
        except BaseException:
            self._ears.level = before
            raise

    async def _subscribe(self, params: Mapping[str, Any], *, on: bool) -> None:
        uri = params.get("uri")
        if not isinstance(uri, str) or not uri:
            raise _wrong("a subscription needs the `uri` of a resource", "see host.offers('resources')")
        standing = await self._standing()
        known = uri in self._ears.subscribed
        (self._ears.subscribed.add if on else self._ears.subscribed.discard)(uri)
        try:
            for connection in standing:
                await connection.listening.renew()
        except BaseException:
            (self._ears.subscribed.add if known else self._ears.subscribed.discard)(uri)
            raise

    async def _standing(self) -> list[Connection]:
        """The sessions that stand, at least one."""
        async with self._pool.holding() as supervisor:
            first = await supervisor.ready()
        others = [member.supervisor.connection for member in self._pool.shared]
        return [first, *(each for each in others if each is not None and each is not first)]


def _reply(result: dict[str, Any]) -> Reply:
    return Reply(data=result, finish_reason="stop", raw=result)


def _wrong(what: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(what, hint=hint, sent=False)
