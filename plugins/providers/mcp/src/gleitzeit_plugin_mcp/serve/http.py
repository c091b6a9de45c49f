"""Streamable HTTP: the SDK's application behind a token, and a server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings

from gleitzeit.errors import ConfigError
from gleitzeit_plugin_mcp.serve.connection import protocol
from gleitzeit_plugin_mcp.serve.doors import Doors
from gleitzeit_plugin_mcp.serve.front import Front

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Tokens", "application", "loopback", "served"]

#: The token of clients, or those of several principals by their names.
Tokens: TypeAlias = "str | Mapping[str, str]"

#: Pictures and sounds travel as text in JSON.
BODY: Final = 32 * 2**20
#: Seconds for connections to end after the answers in flight have been given.
GRACE: Final = 2
#: Seconds that a connection may rest: longer than clients keep one (httpx: 5), lest both end it at once.
KEPT: Final = 60
_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def loopback(host: str) -> bool:
    """Can only this machine reach the address?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def application(
    server: Server[Any],
    *,
    host: str,
    token: Tokens | None,
    allowed_hosts: tuple[str, ...],
    front: Mapping[str, Any],
) -> Starlette:
    """The SDK's application behind a `Front` made with `front`; with `token`, nobody gets in without one."""
    near = loopback(host)
    # Without a list of names a token must do: a page of somebody else's has none.
    names = (*(_HOSTS if near else ()), *allowed_hosts) if near or allowed_hosts else None
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(transport_security=security, max_request_body_size=BODY)
    # Added first: the token is asked for before it.
    app.add_middleware(Front, manager=server.session_manager, security=security, body=BODY, **front)
    if token is not None:
        app.add_middleware(_Guard, tokens=_named(token))
    app.add_middleware(Doors, names=names)
    return app


class _Guard:
    """Lets requests with a bearer token in, as its principal's."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, str]) -> None:
        self._app = app
        self._tokens = [(text.encode(), name, _user(name)) for name, text in tokens.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        kind, _, found = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        # All of them are compared, so that the time tells nothing of which was nearly right.
        known = [row for row in self._tokens if hmac.compare_digest(found.strip(), row[0])]
        if kind.lower() == b"bearer" and known:
            _, scope["gleitzeit.principal"], scope["user"] = known[0]
            await self._app(scope, receive, send)
            return
        body = b'{"error":"invalid_token","error_description":"a bearer token is required"}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"www-authenticate", b'Bearer error="invalid_token"'),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _named(token: Tokens) -> dict[str, str]:
    """The tokens by principal; raises `ConfigError` for those that would let in the wrong ones."""
    named = {"token": token} if isinstance(token, str) else token
    found = {name: text.strip() for name, text in named.items()}
    if not found or not all(found.values()):
        raise ConfigError("an empty token would let everybody in", hint="give each principal a token")
    if len(set(found.values())) < len(found):
        raise ConfigError("two principals have the same token", hint="give each a token of its own")
    return found


def _user(principal: str) -> AuthenticatedUser:
    """Who it is to the SDK, which lets nobody else into a session."""
    return AuthenticatedUser(AccessToken(token="", client_id=principal, scopes=[]))


class _Trimmed:
    """Takes the spaces around values of headers away, which the faster of uvicorn's parsers leaves there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(
    app: Starlette, host: str, port: int, *, guarded: bool, ending: Callable[[], None]
) -> AsyncIterator[str]:
    """Run the application; gives its URL. `ending` ends what would never end by itself."""
    if not loopback(host) and not guarded:
        raise ConfigError(
            f"{host} can be reached from other machines, and nobody would be asked who they are",
            hint="give a token, or listen on 127.0.0.1",
        )
    bound, before = _bound(host, port), _watchers()
    try:
        settings = uvicorn.Config(
            _Trimmed(app),
            http=protocol(),
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=KEPT,
            server_header=False,
            proxy_headers=False,
            ws="none",
        )
        server = _Server(settings)
        task = asyncio.create_task(server.serve(sockets=[bound]), name="mcp server: http")
        try:
            # uvicorn has no event for this.
            while not server.started:
                if task.done():
                    task.result()
                    raise ConfigError("the HTTP server ended before it began")
                await asyncio.sleep(0.01)
            taken = bound.getsockname()[1]
            yield f"http://{f'[{host}]' if ':' in host else host}:{taken}/mcp"
        finally:
            ending()
            server.should_exit = True
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
    finally:
        bound.close()
        left = _watchers() - before
        for watcher in left:
            watcher.cancel()
        if left:
            await asyncio.wait(left)


def _watchers() -> set[asyncio.Task[Any]]:
    """The tasks with which sse_starlette waits for the end of the process, one a loop: they never end."""
    return {
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", None) == "_shutdown_watcher"
    }


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is said: else answers come 40 ms late.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
        bound.set_inheritable(False)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}",
            hint="choose another port; 0 takes any that is free",
        ) from None
    return bound
