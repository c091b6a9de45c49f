"""Tells clients of changes: of lists that differ, and of resources that they subscribed to."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import EmptyResult

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Change, Invoke
from gleitzeit_plugin_mcp.serve.published import Publisher
from gleitzeit_plugin_mcp.serve.refusals import wrong

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["Changes"]

logger = logging.getLogger(__name__)

#: Seconds in which further changes are told together with the first.
DEBOUNCE: Final = 0.05
#: Resources that one client may subscribe to: templates stand for as many as anybody can write.
MOST: Final = 1024
_EVENTS: Final[Mapping[str, tuple[Callable[[], ServerEvent], str]]] = {
    "tools": (ToolsListChanged, "send_tool_list_changed"),
    "prompts": (PromptsListChanged, "send_prompt_list_changed"),
    "resources": (ResourcesListChanged, "send_resource_list_changed"),
    "templates": (ResourcesListChanged, "send_resource_list_changed"),
}


class _Session:
    """A client of the handshake era."""

    def __init__(self) -> None:
        #: What it subscribed to.
        self.uris: set[str] = set()
        #: What it has not been told yet, each once.
        self.untold: dict[tuple[str, ...], None] = {}
        self.telling: asyncio.Task[None] | None = None


class Changes:
    """A middleware that knows the sessions, and passes on what `host.watch` tells.

    What an upstream announces is never passed on as it is: the lists are made anew, and clients hear of it
    only where they differ.
    """

    def __init__(self, host: Host, publisher: Publisher) -> None:
        self.bus = InMemorySubscriptionBus()
        self.listen = ListenHandler(self.bus)
        self._host = host
        self._publisher = publisher
        publisher.on_approved = self._retell
        #: Sessions of the handshake era.
        self._sessions: dict[Connection, _Session] = {}
        self._wanted: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._fronts = 0
        self._unwatch: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, ending: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Watch the host as long as there is a front; `ending` is called after the last."""
        self._fronts += 1
        if self._fronts == 1:
            self._publisher.expire()
            self._unwatch = self._host.watch(self._changed)
        try:
            yield
        finally:
            self._fronts -= 1
            if self._fronts == 0:
                self._unwatch()
                for task in tuple(self._tasks):
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks)
                await ending()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Get to know sessions, and what they want to hear of."""
        connection = ctx.session._connection
        if ctx.method == "notifications/initialized":
            result = await call_next(ctx)
            if connection not in self._sessions:
                connection.state["gleitzeit"] = f"session-{next(self._ids)}"
                self._sessions[connection] = _Session()
                connection.exit_stack.callback(self._left, connection)
            return result
        if ctx.method == "subscriptions/listen" and ctx.request_id is not None:
            uris = _listened(ctx.params)
            _bounded(len(uris))
            try:
                for uri in uris:
                    await self._want(uri)
                return await call_next(ctx)
            finally:
                for uri in uris:
                    self._unwant(uri)
        return await call_next(ctx)

    async def subscribe(self, context: ServerRequestContext[Any, Any], params: Any) -> EmptyResult:
        """`resources/subscribe` of the handshake era."""
        session = self._sessions.get(context.session._connection)
        if session is not None and params.uri not in session.uris:
            if await self._behind(params.uri) is None:
                raise wrong(f"Resource not found: {params.uri}")
            _bounded(len(session.uris) + 1)
            session.uris.add(params.uri)
            await self._want(params.uri)
        return EmptyResult()

    async def unsubscribe(self, context: ServerRequestContext[Any, Any], params: Any) -> EmptyResult:
        """`resources/unsubscribe` of the handshake era."""
        session = self._sessions.get(context.session._connection)
        if session is not None and params.uri in session.uris:
            session.uris.discard(params.uri)
            self._unwant(params.uri)
        return EmptyResult()

    def _left(self, connection: Connection) -> None:
        session = self._sessions.pop(connection, None)
        if session is not None:
            for uri in session.uris:
                self._unwant(uri)
            if session.telling is not None:
                session.telling.cancel()

    async def _behind(self, uri: str) -> tuple[str, str] | None:
        return (await self._publisher.current()).behind(uri)

    async def _want(self, uri: str) -> None:
        self._wanted[uri] += 1
        if self._wanted[uri] == 1:
            await self._tell_upstream("resources/subscribe", uri)

    def _unwant(self, uri: str) -> None:
        self._wanted[uri] -= 1
        if self._wanted[uri] <= 0:
            del self._wanted[uri]
            if self._fronts:
                self._keep(asyncio.create_task(self._tell_upstream("resources/unsubscribe", uri)))

    async def _tell_upstream(self, method: str, uri: str) -> None:
        """Leniently: an upstream without subscriptions just never tells of a change."""
        found = await self._behind(uri)
        if found is not None:
            with suppress(GleitzeitError):
                await self._host.call(Invoke(method, arguments={"uri": found[1]}).to(found[0]))

    def _changed(self, change: Change) -> None:
        if change.resource is not None:
            self._keep(asyncio.create_task(self._updated(change.instance, change.resource)))
            return
        self._publisher.expire()
        self._retell()

    def _retell(self) -> None:
        if self._publisher.last is not None and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell())
            self._keep(self._telling)

    async def _updated(self, instance: str, resource: str) -> None:
        published = self._publisher.last
        behind = (instance, resource)
        for uri in list(self._wanted):
            if published is not None and published.behind(uri) == behind:
                await self.bus.publish(ResourceUpdated(uri))
                for connection, session in list(self._sessions.items()):
                    if uri in session.uris:
                        self._say(connection, "send_resource_updated", uri)

    async def _tell(self) -> None:
        """Make the lists anew, and tell of those that differ."""
        before = self._publisher.last
        assert before is not None, "who has seen no list has missed nothing"
        await asyncio.sleep(DEBOUNCE)
        while True:
            try:
                now = await self._publisher.current()
            except GleitzeitError as error:
                logger.warning("the lists could not be made: %s", error.code)
                return
            kinds = dict.fromkeys(_EVENTS[name] for name in sorted(now.changed(before)))
            for event, send in kinds:
                await self.bus.publish(event())
                for connection in list(self._sessions):
                    self._say(connection, send)
            before = now
            if not self._publisher.old:
                return

    def _say(self, connection: Connection, send: str, *about: str) -> None:
        """Tell a session without waiting for it: one that stops reading must not make the others deaf."""
        session = self._sessions[connection]
        session.untold[send, *about] = None
        if session.telling is None or session.telling.done():
            session.telling = asyncio.create_task(self._drain(connection, session))
            self._keep(session.telling)

    async def _drain(self, connection: Connection, session: _Session) -> None:
        while session.untold:
            send, *about = next(iter(session.untold))
            del session.untold[send, *about]
            await getattr(connection, send)(*about)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _bounded(count: int) -> None:
    if count > MOST:
        raise wrong(f"no more than {MOST} resources can be subscribed to")


def _listened(params: Mapping[str, Any] | None) -> list[str]:
    wanted = (params or {}).get("notifications")
    uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
    return [uri for uri in uris if isinstance(uri, str)] if isinstance(uris, list) else []
