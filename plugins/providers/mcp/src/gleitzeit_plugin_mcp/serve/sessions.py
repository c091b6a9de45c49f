"""Sessions of the handshake era over HTTP, of which the SDK knows only what goes through itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from gleitzeit_plugin_mcp.serve.exchange import Exchange

if TYPE_CHECKING:
    from mcp.server.streamable_http import StreamableHTTPServerTransport
    from starlette.types import Send

__all__ = ["Held", "Sessions", "ending", "heard"]

Context = ServerRequestContext[Any, Any]


class Sessions:
    """A middleware of the SDK's server that knows sessions of the handshake era and what they wait for."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Connection, dict[int | str, Exchange]]] = {}

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Get to know sessions, and pass on what they no longer want."""
        session = ctx.session._connection.session_id
        if session is not None and ctx.request_id is None:
            if ctx.method == "notifications/initialized" and session not in self._known:
                self._known[session] = ctx.session._connection, {}
                ctx.session._connection.exit_stack.callback(self._left, session)
            elif ctx.method == "notifications/cancelled" and session in self._known:
                wanted = (ctx.params or {}).get("requestId")
                running = self._known[session][1]
                if isinstance(wanted, int | str) and (exchange := running.get(wanted)) is not None:
                    exchange.stop("cancelled")
        return await call_next(ctx)

    def get(self, session: str) -> tuple[Connection, dict[int | str, Exchange]] | None:
        """The connection of a session that is under way, and its requests."""
        return self._known.get(session)

    def _left(self, session: str) -> None:
        for exchange in self._known.pop(session)[1].values():
            exchange.stop("ended")


def ending(transport: StreamableHTTPServerTransport) -> bool:
    """Is the session about to end, because nobody wanted anything of it for long?"""
    return transport.idle_scope is not None and transport.idle_scope.cancel_called


class Held:
    """A session that is not idle meanwhile; the SDK counts what goes through itself alone."""

    def __init__(self, transport: StreamableHTTPServerTransport) -> None:
        self._transport = transport

    def __enter__(self) -> None:
        if self._transport.idle_scope is not None:
            self._transport._requests_in_flight += 1
            self._transport.idle_scope.deadline = math.inf

    def __exit__(self, *_: object) -> None:
        transport = self._transport
        if transport.idle_scope is not None and transport._idle_timeout is not None:
            transport._requests_in_flight -= 1
            if not transport._requests_in_flight:
                transport.idle_scope.deadline = anyio.current_time() + transport._idle_timeout


async def heard(
    message: Mapping[str, Any], running: Mapping[int | str, Exchange], session: str, send: Send
) -> bool:
    """Is it the answer to a question that was asked here?"""
    if "method" in message or not ("result" in message or "error" in message):
        return False
    for exchange in running.values():
        future = exchange.questions.get(str(message.get("id")))
        if future is not None:
            if not future.done():
                future.set_result(dict(message))
            headers = [(b"content-length", b"0"), (b"mcp-session-id", session.encode("latin-1"))]
            await send({"type": "http.response.start", "status": 202, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return True
    return False
