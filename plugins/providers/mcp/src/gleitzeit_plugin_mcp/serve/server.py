"""A host as an MCP server: everything that it has, for clients of either era, over any wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.context import HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp_types import SetLevelRequestParams
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from gleitzeit.errors import UsageError
from gleitzeit.kinds import Listener, Wire
from gleitzeit.version import __version__
from gleitzeit_plugin_mcp.bridge import Inbox, Outbox
from gleitzeit_plugin_mcp.course import TASKS
from gleitzeit_plugin_mcp.serve.changes import Changes
from gleitzeit_plugin_mcp.serve.handlers import Context, Handlers
from gleitzeit_plugin_mcp.serve.models import MODEL_TOOLS
from gleitzeit_plugin_mcp.serve.options import ServeOptions
from gleitzeit_plugin_mcp.serve.published import Publisher
from gleitzeit_plugin_mcp.serve.sealing import sealed
from gleitzeit_plugin_mcp.serve.sessions import Sessions
from gleitzeit_plugin_mcp.serve.tasks import Desk

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from gleitzeit.host import Host

__all__ = ["McpServer"]


class McpServer:
    """Serves an open host; made by `host.mcp_server()`.

    Fronts may be opened side by side, and leave with the host open: each is a context manager or a
    coroutine, to be used in the host's loop. Every call of a client takes the host's corridor.
    """

    def __init__(
        self, host: Host, options: ServeOptions, driver: Callable[[str, str], Awaitable[Any]]
    ) -> None:
        self.options = options
        self._driver = driver
        own = MODEL_TOOLS if options.models else ()
        self._publisher = Publisher(host, options, own)
        self._changes = Changes(host, self._publisher)
        self._server = _Sdk(
            options.name,
            version=__version__,
            instructions=options.instructions,
            lifespan=self._lifespan,
            get_tool_input_schema=self._schema,
            on_list_tools=_answered,
            on_call_tool=_answered,
            on_list_resources=_answered,
            on_list_resource_templates=_answered,
            on_read_resource=_answered,
            on_list_prompts=_answered,
            on_get_prompt=_answered,
            on_completion=_answered,
            on_subscribe_resource=self._changes.subscribe,
            on_unsubscribe_resource=self._changes.unsubscribe,
            on_subscriptions_listen=self._changes.listen,
        )
        self._server.extensions[TASKS] = {}
        self._desk = Desk(lambda: self._server.server_info_stamp)
        self._handlers = Handlers(
            host, options, self._publisher, lambda: self._server.server_info_stamp, self._desk
        )
        # Not in the constructor, which warns of it: clients of before 2026 still have levels.
        self._server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._handlers.level)
        self._boundary = sealed(options.state_keys, options.name)
        self._sessions = Sessions()
        self._server.middleware += [self._boundary, self._sessions, self._changes, self._desk, self._handlers]

    async def serve(self, wire: Wire) -> None:
        """Serve the client on an open wire until it leaves."""
        outbox = _Outbox(wire)
        inbox = Inbox(wire, None, outbox)
        await self._server.run(inbox, outbox, self._server.create_initialization_options())

    @asynccontextmanager
    async def listen(
        self, transport: str, address: str, options: Mapping[str, Any] | None = None
    ) -> AsyncIterator[str]:
        """Let clients in by a transport plugin, such as `("grpc", "127.0.0.1:0")`; gives the address.

        Raises `PluginError` where there is no such transport, `ConfigError` for an unsafe address,
        `UsageError` for a transport that lets nobody in.
        """
        listener = await self._driver("transport", transport)
        if not isinstance(listener, Listener):
            raise UsageError(
                f"the transport {transport!r} lets no clients in", hint="take stdio, http or grpc"
            )
        # Clients that come again find their tasks.
        async with self._desk.open(), listener.listen(address, self.serve, options or {}) as found:
            yield found

    async def run_stdio(self) -> None:
        """Serve one client over the standard streams of this process, until it leaves.

        What the process prints meanwhile goes to standard error.
        """
        ended = asyncio.Event()
        failed: list[BaseException] = []

        async def serve(wire: Wire) -> None:
            try:
                await self.serve(wire)
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                ended.set()

        listener = await self._driver("transport", "stdio")
        async with listener.listen("-", serve, {}):
            await ended.wait()
        if failed and isinstance(failed[0], Exception):
            raise failed[0]

    def app(
        self,
        *,
        host: str = "127.0.0.1",
        token: str | Mapping[str, str] | None = None,
        allowed_hosts: tuple[str, ...] = (),
    ) -> Starlette:
        """An ASGI application with the path `/mcp`; its lifespan must run, in the host's loop.

        Browsers and names other than loopback's are refused while `host` is one of loopback's, except
        for `allowed_hosts`. With `token`, clients must bring it as a bearer token; several stand by the names
        of their principals, which requests then bear.
        """
        from gleitzeit_plugin_mcp.serve.http import application

        front = {
            "sessions": self._sessions,
            "known": self._handlers.methods,
            "schema": self._schema,
            "answer": self._answer,
        }
        return application(self._server, host=host, token=token, allowed_hosts=allowed_hosts, front=front)

    @asynccontextmanager
    async def http(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | Mapping[str, str] | None = None,
        allowed_hosts: tuple[str, ...] = (),
    ) -> AsyncIterator[str]:
        """Serve streamable HTTP of both eras; gives the URL. Port 0 takes any that is free.

        Raises `ConfigError` where the port is taken, and where others could reach it without a token.
        """
        from gleitzeit_plugin_mcp.serve.http import served

        app = self.app(host=host, token=token, allowed_hosts=allowed_hosts)
        ending = self._changes.listen.close
        async with served(app, host, port, guarded=token is not None, ending=ending) as url:
            yield url

    @asynccontextmanager
    async def _lifespan(self, _: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._desk.open())
            await stack.enter_async_context(self._changes.watching(self._handlers.parking.close))
            yield {}

    async def _answer(self, context: Context) -> HandlerResult:
        """Answer a request that the handlers know, as the middlewares together would."""
        meta = context.meta
        # A span that nobody records is a tenth of a call.
        if isinstance(get_tracer_provider(), ProxyTracerProvider) and not (meta and "traceparent" in meta):
            return await self._boundary(context, self._handled)
        return await self._server.middleware[0](context, lambda now: self._boundary(now, self._handled))

    async def _handled(self, context: Context) -> HandlerResult:
        return await self._handlers(context, _unknown)

    def _schema(self, name: str) -> Any:
        last = self._publisher.last
        return None if last is None else last.schemas.get(name)


class _Sdk(Server[Any]):
    """The SDK's server, which tells clients of the handshake era of changes as well."""

    def create_initialization_options(self, *given: Any, **more: Any) -> InitializationOptions:
        if not given and "notification_options" not in more:
            given = (NotificationOptions(True, True, True),)
        return super().create_initialization_options(*given, **more)


class _Outbox(Outbox):
    """A server's side: how many requests may run is decided where they are answered."""

    def owe(self, id: int | str) -> bool:
        return True


async def _unknown(context: Context) -> HandlerResult:
    raise AssertionError("only what the handlers know comes here")


async def _answered(context: Context, params: Any) -> Any:
    raise AssertionError("answered before it comes here")
