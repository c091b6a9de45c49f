"""The short way for requests over HTTP that leave no doubt; all others go the SDK's way.

The SDK answers a request through five tasks, four streams between them, and an event stream even for a
single answer: half of a call's time. Here it is answered in the task that the connection has for it.
Whatever is not plainly in order (headers, names, bodies, sessions that the SDK does not know or no longer)
is passed on untouched, so that every refusal is the SDK's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mcp import MCPError
from mcp.server.auth.middleware.bearer_auth import authorization_context
from mcp.server.connection import Connection
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.streamable_http import REQUEST_CANCELLED, check_accept_headers
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from gleitzeit_plugin_mcp.serve.doors import PATH
from gleitzeit_plugin_mcp.serve.exchange import Exchange, written
from gleitzeit_plugin_mcp.serve.reading import NoNumber, read
from gleitzeit_plugin_mcp.serve.sessions import Held, Sessions, ending, heard

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Front"]

logger = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]
_BROKEN: Final = {
    "cancelled": (REQUEST_CANCELLED, "Request cancelled"),
    "ended": (INTERNAL_ERROR, "Session terminated before the request completed"),
}
_JSON: Final = "application/json"
#: Of headers that were found in order and of clients, how many are kept, and how long they may be.
_SEEN: Final = 256
_LONG: Final = 4096


class Front:
    """Before the SDK's application: answers requests for which `known` has the method, by `answer`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        manager: StreamableHTTPSessionManager,
        security: TransportSecuritySettings,
        sessions: Sessions,
        known: frozenset[str],
        schema: Callable[[str], Any],
        answer: Callable[[Context], Awaitable[HandlerResult]],
        body: int,
    ) -> None:
        self._app = app
        self._manager = manager
        self._security = TransportSecurityMiddleware(security)
        self._sessions = sessions
        self._known = known
        self._schema = schema
        self._answer = answer
        self._body = body
        self._fine: set[tuple[str | None, ...]] = set()
        #: Schemas of tools of which no argument is repeated in a header.
        self._plain: dict[str, Any] = {}
        #: Clients of the modern era by what they say of themselves.
        self._clients: dict[bytes, Connection] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if len(headers) != len(scope["headers"]) or not await self._in_order(scope, headers):
            await self._app(scope, receive, send)
            return
        # Not as the pieces that came: one byte a piece would be a hundred times as much.
        body, more = bytearray(), True
        while more and len(body) <= self._body:
            piece = await receive()
            if piece["type"] == "http.disconnect":
                return
            body += piece.get("body", b"")
            more = piece.get("more_body", False)
        whole = bytes(body)
        if not more and len(whole) <= self._body:
            try:
                message = read(whole)
            except NoNumber as error:
                await _refuse(send, PARSE_ERROR, f"there is no number {str(error)[:50]} in JSON")
                return
            if isinstance(message, dict) and await self._taken(message, headers, scope, receive, send):
                return
        first: Message | None = {"type": "http.request", "body": whole, "more_body": more}

        async def again() -> Message:
            nonlocal first
            if first is None:
                return await receive()
            told, first = first, None
            return told

        await self._app(scope, again, send)

    async def _in_order(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Would the SDK let such headers in, and is the body of a size to be read?"""
        length = headers.get("content-length", "0" if "transfer-encoding" in headers else "")
        if not (length.isascii() and length.isdigit() and int(length) <= self._body):
            return False
        if "user" in scope and "gleitzeit.principal" not in scope:  # somebody else's, whom only the SDK knows
            return False
        key = tuple(headers.get(name) for name in ("host", "origin", "content-type", "accept"))
        if key in self._fine:
            return True
        request = Request(scope)
        if headers.get("content-type", "").partition(";")[0].strip() != _JSON:
            return False
        if not all(check_accept_headers(request)):
            return False
        if await self._security.validate_request(request, is_post=True) is not None:
            return False
        if sum(len(value or "") for value in key) <= _LONG:
            if len(self._fine) >= _SEEN:
                self._fine.clear()
            self._fine.add(key)
        return True

    async def _taken(
        self, message: dict[str, Any], headers: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Is the message answered here?"""
        version, session = headers.get("mcp-protocol-version"), headers.get("mcp-session-id")
        if message.get("jsonrpc") != "2.0" or not self._running():
            return False
        method, params = message.get("method"), message.get("params", {})
        asks = isinstance(method, str) and method in self._known and type(message.get("id")) in (int, str)
        if asks and not isinstance(params, dict):
            return False
        if version in MODERN_PROTOCOL_VERSIONS:
            if not asks:
                return False
            route = classify_inbound_request(message, headers=headers)
            if isinstance(route, InboundLadderRejection) or self._repeated(message, headers):
                return False
            connection = self._connection(route)
            exchange = Exchange(send, message["id"], params, pushes=False)
            await self._watched(exchange, receive, self._context(message, connection, exchange, scope))
            return True
        if session is None or (version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS):
            return False
        transport, known = self._manager._server_instances.get(session), self._sessions.get(session)
        if transport is None or known is None or transport.is_terminated or ending(transport):
            return False
        owner, user = self._manager._session_owners.get(session), scope.get("user")
        if owner != (None if user is None else authorization_context(user)):
            return False
        connection, running = known
        if not asks:
            return await heard(message, running, session, send)
        if message["id"] in running:
            # The SDK would let the first call wait for ever.
            await _refuse(send, INVALID_REQUEST, "this id is that of a request under way", message["id"])
            return True
        extra = ((b"mcp-session-id", session.encode("latin-1")),)
        exchange = running[message["id"]] = Exchange(send, message["id"], params, pushes=True, extra=extra)
        try:
            with Held(transport):
                await self._answered(exchange, self._context(message, connection, exchange, scope))
        finally:
            del running[message["id"]]
        return True

    def _connection(self, route: InboundModernRoute) -> Connection:
        """What the SDK knows of a modern client; made once, as nothing of a request is kept in it."""
        about = written([route.protocol_version, route.client_info, route.client_capabilities])
        found = self._clients.get(about)
        if found is None:
            found = Connection.from_envelope(
                route.protocol_version, route.client_info, route.client_capabilities
            )
            if len(about) <= _LONG:
                if len(self._clients) >= _SEEN:
                    self._clients.clear()
                self._clients[about] = found
        return found

    def _running(self) -> bool:
        group: Any = self._manager._task_group
        return group is not None

    def _repeated(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
        """Do headers repeat arguments of a tool, and not as they are?"""
        if message["method"] != "tools/call":
            return False
        name, given = message["params"].get("name"), message["params"].get("arguments") or {}
        schema = self._schema(name) if isinstance(name, str) else None
        if schema is None or not isinstance(given, dict):
            return any(key.startswith("mcp-param-") for key in headers)
        if self._plain.get(name) is schema:
            return False
        if not x_mcp_header_map(schema):
            if len(self._plain) >= 10 * _SEEN:
                self._plain.clear()
            self._plain[name] = schema
            return False
        return validate_mcp_param_headers(schema, given, headers) is not None

    def _context(
        self, message: Mapping[str, Any], connection: Connection, exchange: Exchange, scope: Scope
    ) -> Context:
        params = message.get("params")
        meta = params.get("_meta") if params else None
        meta = meta if isinstance(meta, dict) else None
        return ServerRequestContext(
            session=ServerSession(exchange, connection, request_meta=meta),  # type: ignore[arg-type]
            lifespan_context={},
            protocol_version=connection.protocol_version,
            method=message["method"],
            params=params,
            request_id=message["id"],
            meta=meta,  # type: ignore[arg-type]
            request=Request(scope),
        )

    async def _watched(self, exchange: Exchange, receive: Receive, context: Context) -> None:
        """Answer as long as the client is there: in this era leaving is how it cancels."""

        async def leaving() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            exchange.stop("gone")

        watching = asyncio.create_task(leaving(), name="mcp server: is the client there?")
        try:
            await self._answered(exchange, context)
        finally:
            watching.cancel()

    async def _answered(self, exchange: Exchange, context: Context) -> None:
        try:
            try:
                result = await self._answer(context)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if exchange.broken is None or task is None:
                    raise
                task.uncancel()
                if exchange.broken in _BROKEN:
                    code, words = _BROKEN[exchange.broken]
                    # Nobody may wait any more, and the SDK's client can be hurt by JSON when it is leaving.
                    await exchange.finish({"error": {"code": code, "message": words}}, stream=True)
            except Exception as error:  # noqa: BLE001  # it is the client's answer
                said = _said(error)
                modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
                status = ERROR_CODE_HTTP_STATUS.get(said["code"], 200) if modern else 200
                await exchange.finish({"error": said}, status=status)
            else:
                await exchange.finish({"result": result})
        finally:
            await exchange.close()


async def _refuse(send: Send, code: int, why: str, id: int | str | None = None) -> None:
    body = written({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}})
    headers = [(b"content-type", _JSON.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _said(error: Exception) -> dict[str, Any]:
    """An error for the wire: nothing of what only the operator should read."""
    if isinstance(error, MCPError):
        return error.error.model_dump(by_alias=True, mode="json", exclude_none=True)
    logger.error("a request could not be answered", exc_info=error)
    return {"code": INTERNAL_ERROR, "message": "Internal server error"}
