"""Answers the requests of clients, each through the corridor of the host."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types import (
    INVALID_PARAMS,
    LOG_LEVEL_META_KEY,
    METHOD_NOT_FOUND,
    EmptyResult,
    methods,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from gleitzeit.errors import QueueFullError
from gleitzeit.values import (
    GetPrompt,
    Invoke,
    Operation,
    Progress,
    ReadResource,
    Reply,
    Request,
    TextDelta,
    ToolCall,
)
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_mcp.riding import Slip, riding
from gleitzeit_plugin_mcp.serve import models, results
from gleitzeit_plugin_mcp.serve.options import ServeOptions, matches
from gleitzeit_plugin_mcp.serve.peers import Asking, Parking, Pushing, asked, wanted
from gleitzeit_plugin_mcp.serve.published import Publisher
from gleitzeit_plugin_mcp.serve.refusals import refusal, wrong
from gleitzeit_plugin_mcp.serve.sealing import principal
from gleitzeit_plugin_mcp.serve.tasks import Desk

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["Context", "Handlers"]

Context: TypeAlias = ServerRequestContext[Any, Any]
Handler: TypeAlias = "Callable[[Context, Mapping[str, Any]], Awaitable[dict[str, Any]]]"

#: Milliseconds that a client may keep a list: it is told of changes, if it listens.
TTL: Final = 5000
_LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "prompts/list": ("prompts", "prompts"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("templates", "resourceTemplates"),
}
#: Beside the name and the arguments, what a request says to the upstream itself.
_EXTRAS: Final = ("inputResponses", "requestState")
#: Of `_meta`, what belongs to the hop from the client to here.
_OWN_META: Final = frozenset({"progressToken"})
_RESERVED: Final = "io.modelcontextprotocol/"


class Handlers:
    """A middleware of the SDK's server that answers what it knows, and leaves the rest to the SDK.

    It answers in the raw shapes of the protocol: what the SDK does not know, or would drop, is kept.
    """

    def __init__(
        self,
        host: Host,
        options: ServeOptions,
        publisher: Publisher,
        stamp: Callable[[], dict[str, Any]],
        desk: Desk,
    ) -> None:
        self._host = host
        self._options = options
        self._publisher = publisher
        self._stamp = stamp
        self._desk = desk
        self._own = {tool["name"] for tool in models.MODEL_TOOLS} if options.models else set()
        self._running = 0
        #: Calls that wait for answers of their clients.
        self.parking = Parking()
        self._known: dict[str, Handler] = {
            **dict.fromkeys(_LISTS, self._list),
            "tools/call": self._call,
            "resources/read": self._read,
            "prompts/get": self._prompt,
            "completion/complete": self._complete,
        }

    @property
    def methods(self) -> frozenset[str]:
        """What it answers."""
        return frozenset(self._known)

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Answer a message; raises nothing but the SDK's errors, which tell no more than they should."""
        handler = self._known.get(ctx.method)
        if handler is None or ctx.request_id is None:
            return await call_next(ctx)
        version = ctx.protocol_version
        params = ctx.params or {}
        try:
            methods.validate_client_request(ctx.method, version, ctx.params)
        except KeyError:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method) from None
        except ValidationError:
            raise wrong("Invalid request parameters") from None
        modern = version in MODERN_PROTOCOL_VERSIONS
        if not modern and ctx.session.client_params is None:
            raise MCPError(INVALID_PARAMS, "the session has not been initialized", "")
        if self._running >= self._options.max_requests:
            raise refusal(
                QueueFullError(f"{self._running} requests are being answered already", retry_after=1.0)
            )
        self._running += 1
        try:
            result = await handler(ctx, params)
        except MCPError:
            raise
        except Exception as error:
            raise refusal(error) from error
        finally:
            self._running -= 1
        caches = ctx.method in _LISTS or ctx.method == "resources/read"
        ttl = TTL if ctx.method in _LISTS else 0
        return results.enveloped(result, version, self._stamp(), caches=caches, ttl=ttl)

    async def _list(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        name, key = _LISTS[context.method]
        rows = (await self._publisher.current()).lists[name]
        start, page = _start(params.get("cursor")), self._options.page
        found: dict[str, Any] = {key: list(rows[start : start + page])}
        if start + page < len(rows):
            found["nextCursor"] = base64.urlsafe_b64encode(str(start + page).encode()).decode()
        return found

    async def _call(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        shown, given = params["name"], params.get("arguments") or {}
        if shown in self._own:
            return await self._model(context, shown, given)
        instance, name = await self._behind("tools", shown)
        return await self._relay(
            context,
            (instance, "tools/call", name),
            ToolCall(given).to(f"{instance}/{name}"),
            results.tool_result,
        )

    async def _model(self, context: Context, tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if tool == "list_models":
            return await models.list_models(self._host, self._options, given)
        if tool == "health":
            return await models.health(self._host, given)
        model, operation = models.operation(tool, given)
        models.admitted(self._options, model)
        return models.result(await self._ask(context, self._request(context, operation, model)))

    async def _read(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        shown = params["uri"]
        found = await self._publisher.behind(shown)
        if found is None:
            raise wrong(f"Resource not found: {shown}")
        instance, uri = found
        result = await self._relay(
            context,
            (instance, "resources/read", uri),
            ReadResource(uri).to(instance),
            lambda reply, raw: results.resource_result(reply, raw, uri),
        )
        if uri != shown:
            result["contents"] = [
                {**row, "uri": shown} if isinstance(row, Mapping) and row.get("uri") == uri else row
                for row in result.get("contents", ())
            ]
        return result

    async def _prompt(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        instance, name = await self._behind("prompts", params["name"])
        rows = (await self._publisher.current()).lists["prompts"]
        row = next((row for row in rows if row["name"] == params["name"]), {})
        return await self._relay(
            context,
            (instance, "prompts/get", name),
            GetPrompt(params.get("arguments") or {}).to(f"{instance}/{name}"),
            lambda reply, raw: results.prompt_result(reply, raw, row.get("description")),
        )

    async def _complete(self, context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
        ref = dict(params["ref"])
        if ref.get("type") == "ref/prompt":
            instance, ref["name"] = await self._behind("prompts", ref.get("name"))
        else:
            found = await self._publisher.behind(str(ref.get("uri")))
            if found is None:
                raise wrong(f"Resource not found: {ref.get('uri')}")
            instance, ref["uri"] = found
        asked = {**{key: value for key, value in params.items() if key != "_meta"}, "ref": ref}
        reply = await self._host.call(
            self._request(context, Invoke("completion/complete", arguments=asked), instance)
        )
        return dict(reply.data) if isinstance(reply.data, Mapping) else {"completion": {"values": []}}

    async def _behind(self, thing: str, shown: Any) -> tuple[str, str]:
        """The instance behind a name, and the name there; raises the protocol's error for none."""
        last = self._publisher.last
        found = None if last is None else getattr(last, thing).get(shown)
        if found is None and thing == "tools" and (last is None or last.pending):
            found = self._plain(shown)  # a call need not wait for servers that it does not ask
        if found is None:
            found = getattr(await self._publisher.current(), thing).get(shown)
        if found is None:
            found = getattr(await self._publisher.whole(), thing).get(shown)
        if found is None:
            raise wrong(f"Unknown {thing[:-1]}: {shown}")
        instance, name = found
        return instance, name

    def _plain(self, shown: str) -> tuple[str, str] | None:
        """What a name leads to that says so itself; whether the tool exists, the corridor knows."""
        name = WireNames().decode(shown)
        instance, slash, tool = name.partition("/")
        configured = any(
            each.kind == "provider" and each.name == instance for each in self._host.config.instances
        )
        whole = slash and tool and configured and not matches(instance, self._options.bare)
        if whole and matches(name, self._options.tools) and WireNames().encode(name) == shown:
            return instance, tool
        return None

    async def _relay(
        self,
        context: Context,
        about: tuple[str, str, str],
        request: Request,
        write: Callable[[Reply, Mapping[str, Any] | None], dict[str, Any]],
    ) -> dict[str, Any]:
        """Ask an upstream, which may ask the client before it answers."""
        params, can = context.params or {}, asked(context)

        async def call(peer: Pushing | Asking | None, params: Mapping[str, Any]) -> dict[str, Any]:
            with riding(Slip(*about, _extras(params, None if peer is None else peer.level), peer)) as slip:
                reply = await self._ask(context, self._about(context, request), peer)
            if peer is not None:
                await peer.told()
            return write(reply, slip.result)

        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            desk = self._desk if about[1] == "tools/call" and self._desk.takes(context) else None
            if not can and wanted(context) is None and desk is None:
                return await call(None, params)
            return await self.parking.run(context, can, params, call, desk)
        peer = self._pushing(context, can)
        with peer.during(context):
            return await call(peer, params)

    def _pushing(self, context: Context, can: Mapping[str, Any]) -> Pushing:
        """The one client of a session of the handshake era."""
        state = context.session._connection.state
        found: Pushing | None = state.get("gleitzeit-peer")
        if found is None:
            found = state["gleitzeit-peer"] = Pushing(context, can)
        return found

    async def level(self, context: Context, params: Any) -> EmptyResult:
        """`logging/setLevel` of the handshake era."""
        self._pushing(context, asked(context)).level = params.level
        return EmptyResult()

    async def _ask(self, context: Context, request: Request, peer: Pushing | Asking | None = None) -> Reply:
        """The reply; whoever gave a progress token hears of progress, and of pieces of text as such."""
        if ((context.params or {}).get("_meta") or {}).get("progressToken") is None:
            return await self._host.call(request)
        count = 0
        async with self._host.stream(request.evolve(stream=True)) as stream:
            async for event in stream:
                if isinstance(event, TextDelta) and not isinstance(request.operation, ToolCall):
                    count += 1
                    await context.session.report_progress(count, None, event.text)
                elif isinstance(event, Progress) and not (peer is not None and peer.held):
                    await context.session.report_progress(event.progress, event.total, event.message)
        return stream.reply

    def _request(self, context: Context, operation: Operation, target: str) -> Request:
        return self._about(context, operation.to(target))

    def _about(self, context: Context, request: Request) -> Request:
        """The request with who asks."""
        session = context.session._connection
        about: dict[str, Any] = {"session": session.session_id or session.state.get("gleitzeit")}
        if about["session"] is None:
            about = {}
        return request.evolve(principal=principal(context) or self._options.principal, metadata=about)


def _start(cursor: Any) -> int:
    if cursor is None:
        return 0
    try:
        found = int(base64.urlsafe_b64decode(cursor))
    except (TypeError, ValueError, binascii.Error):
        found = -1
    if found < 0:
        raise wrong("Invalid cursor")
    return found


def _extras(params: Mapping[str, Any], level: str | None) -> dict[str, Any]:
    """What of the parameters goes on to the upstream as it is."""
    found = {key: params[key] for key in _EXTRAS if key in params}
    meta = {
        key: value
        for key, value in (params.get("_meta") or {}).items()
        if key not in _OWN_META and not key.startswith(_RESERVED)
    }
    if level is not None:
        meta[LOG_LEVEL_META_KEY] = level
    if meta:
        found["_meta"] = meta
    return found
