"""One session with one server, from the opening of its wire to its loss.

The only module, with those that it imports, that knows the MCP SDK; importing it takes half a
second, so that happens in a thread, when a session first starts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from mcp import ClientSession, MCPError
from mcp.shared.dispatcher import CallOptions
from mcp.shared.inbound import (
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    CONNECTION_CLOSED,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    Implementation,
)

from gleitzeit.errors import CannotConnectError, GleitzeitError, MalformedAnswerError, ResetError, WireError
from gleitzeit.kinds import Endpoint, Transport, Wire
from gleitzeit.version import __version__
from gleitzeit.wire.scrub import scrub
from gleitzeit_plugin_mcp.asks import Asks, callbacks
from gleitzeit_plugin_mcp.bridge import Inbox, Outbox
from gleitzeit_plugin_mcp.course import TASKS
from gleitzeit_plugin_mcp.ears import Ears
from gleitzeit_plugin_mcp.faults import again, from_rpc
from gleitzeit_plugin_mcp.listening import Listening
from gleitzeit_plugin_mcp.negotiate import Era, negotiate
from gleitzeit_plugin_mcp.riding import declared, overheard, seen_off
from gleitzeit_plugin_mcp.tasks import defers
from gleitzeit_plugin_mcp.visiting import Visits

__all__ = ["Asks", "Connection", "connected"]

#: Takes the parameters of a progress notification.
OnProgress: TypeAlias = Callable[[Mapping[str, Any]], None]
#: Tool -> which of its arguments travel as headers as well.
Mirrored: TypeAlias = dict[str, dict[tuple[str, ...], str]]

#: Seconds for an old server to answer a ping before it is asked for something that it surely knows.
PING: Final = 2.0

GREETING: Final = "server/discover"
_CHANGES: Final = {f"notifications/{kind}/list_changed": kind for kind in ("tools", "resources", "prompts")}
#: What the protocol forbids to cancel.
_UNCANCELLED: Final = frozenset({"initialize", GREETING})
_NAMES: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}


class Connection:
    """A live session: raw requests in, raw results out, in whatever era the server speaks."""

    def __init__(self, endpoint: Endpoint, wire: Wire, ears: Ears, mirrored: Mirrored) -> None:
        self.name = endpoint.name
        self.wire = wire
        self.outbox = Outbox(wire)
        self.inbox = Inbox(wire, self._on_notify, self.outbox)
        self.dispatcher: JSONRPCDispatcher = JSONRPCDispatcher(self.inbox, self.outbox)
        self.era: Era = "legacy"
        self.version = ""
        self.server = ""
        self.capabilities: Mapping[str, Any] = {}
        #: Where it leads, with the credentials that it was opened with.
        self.endpoint = endpoint
        #: Why the session was given up although its wire still stood.
        self.ended: WireError | None = None
        #: Has the server tell of changes.
        self.listening = Listening(self, ears)
        #: What answers the server's questions.
        self.asks: Asks | None = None
        #: Is it of the handshake era, and may tools be called as tasks?
        self.defers = False
        #: What people were asked to visit.
        self.visits = Visits()
        self._ears = ears
        self._progress: dict[int, OnProgress] = {}
        self._tokens = itertools.count(1)
        self._meta: dict[str, Any] = {}
        self._own: Mapping[str, Any] = {}
        self._mirrored = mirrored
        self._ping = "ping"

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""
        return self.wire.lost

    @property
    def seen(self) -> float:
        """When the server was last heard of, in `time.monotonic()` seconds."""
        return self.inbox.seen

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        on_progress: OnProgress | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """Ask and wait for the result; cancelling tells the server so, and never waits for it.

        Raises errors of ours; `sent` says whether the request surely did not leave.
        """
        if self.inbox.ended or self.lost.is_set():
            why = (
                self.wire.error
                or self.ended
                or ResetError(f"the session with server {self.name!r} has ended", provider=self.name)
            )
            raise again(why, sent=False)
        options: CallOptions = {}
        meta = {**(params or {}).get("_meta", {}), **self._meta}
        if self.era == "modern":
            meta[CLIENT_CAPABILITIES_META_KEY] = declared(self._own)
        if self._ears.level is not None and self.era == "modern":
            meta.setdefault(LOG_LEVEL_META_KEY, self._ears.level)
        token = None
        if on_progress is not None:
            token = meta["progressToken"] = next(self._tokens)
            self._progress[token] = on_progress
        if method in _UNCANCELLED:
            options["cancel_on_abandon"] = False
        if self.era == "modern":
            options["headers"] = self._headers(method, params or {})
        if id is not None:
            options["request_id"] = id
        body = {**(params or {}), "_meta": meta} if meta else params
        try:
            return await self.dispatcher.send_raw_request(method, body, options)
        except MCPError as error:
            raise self._fault(error, method) from error
        finally:
            if token is not None:
                del self._progress[token]

    async def greet(self, version: str, client: Implementation, own: Mapping[str, Any]) -> dict[str, Any]:
        """The raw answer to the modern greeting; raises `MCPError`.

        The SDK's own one is bounded by ten seconds, whatever the operator allows.
        """
        meta = {
            PROTOCOL_VERSION_META_KEY: version,
            CLIENT_INFO_META_KEY: client.model_dump(by_alias=True, mode="json", exclude_none=True),
            CLIENT_CAPABILITIES_META_KEY: declared(own),
        }
        headers = {"mcp-protocol-version": version, "mcp-method": GREETING}
        options: CallOptions = {"cancel_on_abandon": False, "headers": headers}
        return await self.dispatcher.send_raw_request(GREETING, {"_meta": meta}, options)

    async def ping(self) -> float:
        """Seconds that the server takes to answer at all."""
        began = time.monotonic()
        other = self._ping == "ping" and "tools" in self.capabilities
        try:
            async with asyncio.timeout(PING if other else None):
                await self.request(self._ping)
        except TimeoutError:
            # Some old servers stay silent at whatever they do not know, a ping included.
            self._ping = "tools/list"
            return PING + await self.ping()
        except WireError:
            raise
        except GleitzeitError:
            pass  # an error is an answer
        return time.monotonic() - began

    def admits(self, tool: str, schema: Any) -> bool:
        """May the tool be used? The protocol has clients drop those that mirror arguments wrongly."""
        if self.era != "modern":
            return True
        if find_invalid_x_mcp_header(schema) is not None:
            self._mirrored.pop(tool, None)
            return False
        self._mirrored[tool] = x_mcp_header_map(schema)
        return True

    def _headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        headers = {"mcp-protocol-version": self.version, "mcp-method": method}
        name = params.get(_NAMES.get(method, ""))
        if isinstance(name, str):
            headers["mcp-name"] = encode_header_value(name)
            if method == "tools/call" and (mirrored := self._mirrored.get(name)):
                headers.update(mcp_param_headers(mirrored, params.get("arguments") or {}))
        return headers

    def _fault(self, error: MCPError, method: str) -> GleitzeitError:
        """The code alone proves nothing: servers send -32000 for whatever they like."""
        if error.code == CONNECTION_CLOSED:
            why = self.wire.error or self.ended
            if why is not None:
                return again(why, sent=True)
        return from_rpc(
            error.code, error.message, error.data, server=self.name, what=method, secrets=self.secrets
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may quote of what the server says."""
        return tuple(self.endpoint.options.get("secrets", ()))

    def _on_notify(self, method: str, params: Mapping[str, Any]) -> bool:
        if method == "notifications/progress":
            token = params.get("progressToken")
            handler = self._progress.get(token) if isinstance(token, int) else None
            if handler is not None:
                handler(params)
            return True
        if method == "notifications/subscriptions/acknowledged":
            self.listening.acknowledged()
            return True
        if method == "notifications/message":
            self._ears.logged(params)
            overheard(self.asks, params)
            return True
        if method == "notifications/resources/updated":
            if isinstance(uri := params.get("uri"), str):
                self._ears.updated(uri)
            return True
        if method == "notifications/elicitation/complete":
            if isinstance(id := params.get("elicitationId"), str) and not self.visits.ended(id):
                seen_off(self.asks, id)
            return True
        kind = _CHANGES.get(method)
        if kind is not None:
            self._ears.changed(kind)
            return True
        return False

    def agreed(
        self, session: ClientSession, era: Era, client: Implementation, capabilities: dict[str, Any]
    ) -> None:
        """Take over what was negotiated."""
        self.era = era
        self._ping = GREETING if era == "modern" else "ping"
        self.version = session.protocol_version or ""
        info = session.server_info
        self.server = "" if info is None else f"{info.name} {info.version}".strip()
        found = session.server_capabilities
        self.capabilities = (
            {} if found is None else found.model_dump(by_alias=True, mode="json", exclude_none=True)
        )
        may = self.asks is not None and self.asks.tasks
        self.defers = era == "legacy" and may and defers(self.capabilities)
        if era == "modern":
            self._meta = {
                PROTOCOL_VERSION_META_KEY: self.version,
                CLIENT_INFO_META_KEY: client.model_dump(by_alias=True, mode="json", exclude_none=True),
            }
            offers = self.capabilities.get("extensions") or {}
            self._own = capabilities
            if may and TASKS in offers:
                self._own = {**capabilities, "extensions": {TASKS: {}}}


@asynccontextmanager
async def connected(
    endpoint: Endpoint,
    transport: Transport,
    *,
    mode: str,
    known: Era | None,
    probe: float,
    timeout: float,
    asks: Asks,
    ears: Ears,
    mirrored: Mirrored,
) -> AsyncIterator[Connection]:
    """Open a wire and a session on it; one task enters and leaves."""
    name = endpoint.name
    client = Implementation(name="gleitzeit", version=__version__)
    async with transport.connect(endpoint) as wire:
        connection = Connection(endpoint, wire, ears, mirrored)
        connection.asks = asks
        session = ClientSession(dispatcher=connection.dispatcher, client_info=client, **callbacks(asks))
        async with session:
            try:
                era = await negotiate(
                    session,
                    lambda version: connection.greet(version, client, asks.own),
                    mode=mode,
                    known=known,
                    probe=probe,
                    timeout=timeout,
                    lost=wire.lost,
                )
            except (TimeoutError, MCPError, RuntimeError, ValueError) as error:
                raise _failed(connection, error, timeout) from error
            connection.agreed(session, era, client, asks.own)
            try:
                await connection.listening.begin()
                yield connection
            finally:
                if connection.ended is None:
                    connection.ended = ResetError(
                        f"the session with server {name!r} was closed", provider=name
                    )
                elif (give_up := getattr(wire, "give_up", None)) is not None:
                    give_up()  # who does not answer is not waited for in the end, either
                await connection.listening.end()


def _failed(connection: Connection, error: Exception, timeout: float) -> GleitzeitError:
    """Why no session came to stand."""
    name, wire, secrets = connection.name, connection.wire, connection.secrets
    if wire.lost.is_set() and wire.error is not None:
        return again(wire.error, sent=False)
    if isinstance(error, MCPError):
        what = "the handshake"
        return from_rpc(error.code, error.message, error.data, server=name, what=what, secrets=secrets)
    if isinstance(error, TimeoutError):
        last = wire.diagnostics().get("stderr")
        return CannotConnectError(
            f"server {name!r} did not answer within {timeout:g} s",
            hint=f"its last words on stderr:\n{last}" if last else "raise `timeout` if it is slow to start",
            provider=name,
        )
    return MalformedAnswerError(
        f"server {name!r} answered the handshake wrongly: {scrub(str(error), secrets)}",
        provider=name,
        sent=False,
    )
