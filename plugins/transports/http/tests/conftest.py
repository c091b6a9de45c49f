"""Real servers of the protocol's SDK on loopback, in all dialects and eras."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
import sse_starlette.sse
import trustme
import uvicorn
from gleitzeit_plugin_mcp_http import McpHttpConfig, McpHttpTransport
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.sse import SseServerTransport
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from uvicorn.server import ServerState

from gleitzeit import Host
from gleitzeit.kinds import Endpoint
from gleitzeit.testing import FakeContext
from gleitzeit.wire.client import make_client

STRING = {"type": "object", "properties": {"text": {"type": "string"}}}


class Desk(Server[Any]):
    """A server whose tools tell what reached it; `tools` may grow."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        super().__init__(
            "desk",
            version="1",
            on_list_tools=self.listed,
            on_call_tool=self.called,
            on_subscriptions_listen=ListenHandler(self.bus),
            get_tool_input_schema=lambda name: self.tools.get(name),
        )
        self.tools: dict[str, Any] = dict.fromkeys(("echo", "count", "hold", "headers"), STRING)
        self.calls: list[str] = []
        self.held = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.listed_once = asyncio.Event()
        self.listening = asyncio.Event()
        self.sessions: list[Any] = []

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> Any:
        """The SDK's app says that nothing changes unless told otherwise."""
        kwargs.setdefault("notification_options", NotificationOptions(True, True, True))
        return super().create_initialization_options(*args, **kwargs)

    async def listed(self, ctx: Any, params: Any) -> types.ListToolsResult:
        if ctx.session not in self.sessions:
            self.sessions.append(ctx.session)
        self.listed_once.set()
        found = [types.Tool(name=name, input_schema=schema) for name, schema in self.tools.items()]
        return types.ListToolsResult(tools=found)

    async def called(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls.append(params.name)
        given = params.arguments or {}
        text = str(given.get("text", ""))
        if params.name == "count":
            for number in range(3):
                await ctx.session.report_progress(number + 1, 3, f"step {number + 1}")
        elif params.name == "hold":
            self.held.set()
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        elif params.name == "headers":
            text = ctx.request.headers.get(text, "")
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    async def grow(self, name: str) -> None:
        """Offer one more tool, and tell everybody."""
        self.tools[name] = STRING
        await self.bus.publish(ToolsListChanged())
        for session in self.sessions:
            await session.send_tool_list_changed()


class Served:
    """An ASGI application on a loopback port, which can be killed and started again there."""

    def __init__(self, app: Any, tls: ssl.SSLContext | None = None) -> None:
        self.app = app
        self.tls = tls
        self.port = 0
        #: Method, path and headers of each request.
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self._config = uvicorn.Config(
            self._application, interface="asgi3", log_config=None, lifespan="off", access_log=False
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._life: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.heard.append((scope["method"], scope["path"], headers))
        await self.app(scope, receive, send)

    async def start(self) -> None:
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over.clear()
        self._life = asyncio.create_task(self._live(up))
        await up
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._config.http_protocol_class(self._config, self._state, {}),  # type: ignore[call-arg]
            "127.0.0.1",
            self.port,
            ssl=self.tls,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _live(self, up: asyncio.Future[None]) -> None:
        async with AsyncExitStack() as stack:
            if hasattr(self.app, "router"):
                await stack.enter_async_context(self.app.router.lifespan_context(self.app))
            up.set_result(None)
            await self._over.wait()

    async def kill(self) -> None:
        """End at once, as a process does that is killed."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._over.set()
        if self._life is not None:
            await self._life
        await self._server.wait_closed()
        self._server = None


Serve = Callable[..., Awaitable[Served]]
Connect = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would outlive the test: a task that waits for uvicorn's signals."""
    monkeypatch.setattr(sse_starlette.sse, "_ensure_watcher_started_on_this_loop", lambda: None)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves applications until the test is over."""
    running: list[Served] = []

    async def start(app: Any, tls: ssl.SSLContext | None = None) -> Served:
        served = Served(app, tls)
        running.append(served)
        await served.start()
        return served

    yield start
    for served in running:
        await served.kill()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def sse_app(server: Server[Any]) -> Starlette:
    """The application of 2024."""
    transport = SseServerTransport("/messages/")

    async def connect(request: Any) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(
        routes=[
            Route("/sse", connect, methods=["GET"]),
            Mount("/messages/", app=transport.handle_post_message),
        ]
    )


@pytest.fixture
def host() -> Callable[..., Any]:
    """A host with one server, `desk`, at an address; `http` names another HTTP transport."""

    @asynccontextmanager
    async def opened(url: str, http: str | None = None, **entry: Any) -> AsyncIterator[Host]:
        config: dict[str, Any] = {
            "servers": {"desk": {"url": url, "timeout": 20, "probe_timeout": 5, **entry}}
        }
        if http is not None:
            config["http"] = {http: {}}
        async with Host(config, environ={}) as running, asyncio.timeout(60):
            yield running

    return opened


@pytest.fixture
def connect() -> Connect:
    """A wire to an address; fields of the endpoint beside the options."""

    @asynccontextmanager
    async def opened(url: str, headers: Any = None, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        endpoint = Endpoint("desk", url=url, headers=headers or {}, options=options)
        # Reading the usual authorities takes longer than most tests.
        async with make_client({"verify_ssl": False}) as client, asyncio.timeout(60):
            context = FakeContext("http", client)
            transport = McpHttpTransport(McpHttpConfig(**(config or {})), context)
            async with transport.lifespan(), transport.connect(endpoint) as wire:
                yield wire

    return opened


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
