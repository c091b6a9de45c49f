"""An MCP server as a provider of tools, resources, prompts and models."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gleitzeit.errors import (
    CannotConnectError,
    GleitzeitError,
    InvalidRequestError,
    PluginNotFoundError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.kinds import Context, Transport
from gleitzeit.near import near
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    GetPrompt,
    Health,
    Invoke,
    Model,
    Operation,
    Prompt,
    ReadResource,
    Reply,
    Request,
    Resource,
    Stream,
    Tool,
    ToolCall,
)
from gleitzeit_plugin_mcp import answers, content, forms
from gleitzeit_plugin_mcp.catalogue import Catalogue
from gleitzeit_plugin_mcp.config import McpConfig
from gleitzeit_plugin_mcp.endpoint import endpoint
from gleitzeit_plugin_mcp.exchange import Exchange
from gleitzeit_plugin_mcp.faults import ProbeEndedItError, unwrap
from gleitzeit_plugin_mcp.health import examine
from gleitzeit_plugin_mcp.stream import events
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.negotiate import Era
    from gleitzeit_plugin_mcp.session import Connection, OnProgress

__all__ = ["McpProvider"]

#: Changes that come within so many seconds are announced as one.
DEBOUNCE: Final = 0.05

#: The era of each server met in this process, by where it is: only the first start has to find out.
_eras: dict[tuple[object, ...], Era] = {}


class McpProvider(Provider):
    """One configured MCP server.

    Its session starts with the lifespan and is kept standing; calls wait for it, fail fast while
    it cannot be had, and are never repeated once they may have reached the server.
    """

    Config: ClassVar[Any] = McpConfig
    manifest: ClassVar[Any] = {
        "summary": "Each configured MCP server is a provider of tools, resources, prompts and models.",
        "capabilities": ("tools", "resources", "prompts"),
    }
    config: McpConfig

    def __init__(self, config: McpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._endpoint = endpoint(context.name, config)
        self._where = (config.wire, self._endpoint.command, self._endpoint.cwd, config.url)
        self._guessed = False
        self._asks: Any = None
        self._supervisor = Supervisor(
            context.name, self._connected, self._stands, hang=config.hang_timeout, logger=context.logger
        )
        self._catalogue = Catalogue(self._supervisor, frozenset(config.capabilities), context.logger)
        self._exchange = Exchange(
            context.name,
            self._supervisor,
            lambda: self._asks,
            timeout=config.call_timeout,
            room=config.max_concurrency,
        )
        self._announcing: asyncio.TimerHandle | None = None
        if config.unknown:
            context.logger.warning(
                "MCP server %r: keys that mean nothing here: %s", context.name, ", ".join(config.unknown)
            )

    @property
    def local(self) -> bool:
        """A local process may talk to anybody, so only the operator can promise this."""
        return self.config.local

    @property
    def sandbox(self) -> str | None:
        """The sandbox around the server's process; None for a remote server."""
        return self.config.sandbox if self.config.command is not None else None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a session standing; a server that does not start is a state, shown by `health`."""
        if self.config.disabled:
            yield
            return
        task = asyncio.create_task(self._supervisor.run(), name=f"mcp: supervise {self.context.name}")
        await asyncio.sleep(0)  # from here on calls wait for the first start
        try:
            yield
        finally:
            self._supervisor.stop()
            task.cancel()
            await asyncio.wait({task})
            if self._announcing is not None:
                self._announcing.cancel()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """A session, from the opening of its wire to its end."""
        config, name = self.config, self.context.name
        # Importing the SDK takes half a second, which would stall the event loop.
        session = await asyncio.to_thread(importlib.import_module, "gleitzeit_plugin_mcp.session")
        self._asks = session.Asks(self.context, name, config.sampling_model)
        known = "legacy" if self._guessed else _eras.get(self._where)
        try:
            async with session.connected(
                self._endpoint,
                await self._transport(),
                mode=config.mode,
                known=known,
                probe=config.probe_timeout,
                timeout=config.timeout,
                asks=self._asks,
                on_changed=self._changed,
            ) as connection:
                self._guessed = False
                _eras[self._where] = connection.era
                yield connection
        except Exception as error:
            # A server that ended at the modern greeting is tried once as an old one; if that fails
            # too, the greeting was not the reason.
            cause = unwrap(error)
            guess = isinstance(cause, ProbeEndedItError) and not self._guessed
            self._guessed = guess
            if isinstance(cause, ProbeEndedItError) and not guess:
                raise CannotConnectError(
                    f"server {name!r} ends at either greeting",
                    hint='say `mode = "modern"` or `mode = "legacy"`, whichever it should speak',
                    provider=name,
                ) from None
            if cause is error:
                raise
            raise cause from None

    async def _transport(self) -> Transport:
        wire = self.config.wire
        try:
            found: Transport = await self.context.driver("transport", wire)
        except PluginNotFoundError as error:
            raise PluginNotFoundError(
                f"server {self.context.name!r} needs the transport {wire!r}: {error.message}",
                hint=f"pip install gleitzeit-plugin-mcp-{wire}",
                provider=self.context.name,
            ) from error
        return found

    def _stands(self) -> None:
        if self._supervisor.generation > 1 or self._catalogue.missed:
            self._catalogue.missed = False
            self._announce()

    def _changed(self, kind: str) -> None:
        if self._catalogue.changed(kind):
            self._announce()

    def _announce(self) -> None:
        if self._announcing is None or self._announcing.when() < asyncio.get_running_loop().time():
            self._announcing = asyncio.get_running_loop().call_later(DEBOUNCE, self.context.changed)

    async def provide_models(self) -> tuple[Model, ...]:
        """The models that the entry lists."""
        return () if self.config.disabled else self.config.offered()

    async def provide_tools(self) -> tuple[Tool, ...]:
        """The server's tools, every page of them."""
        return () if self.config.disabled else await self._catalogue.tools()

    async def provide_resources(self) -> tuple[Resource, ...]:
        """The server's resources and resource templates."""
        return () if self.config.disabled else await self._catalogue.resources()

    async def provide_prompts(self) -> tuple[Prompt, ...]:
        """The server's prompts."""
        return () if self.config.disabled else await self._catalogue.prompts()

    async def call(self, request: Request) -> Reply | Stream:
        """Answer; cancelling tells the server."""
        operation = request.operation
        if self.config.disabled:
            raise UnsupportedError(
                f"server {self.context.name!r} is disabled",
                hint="remove `disabled = true` from its entry",
                provider=self.context.name,
                sent=False,
            )
        if isinstance(operation, ToolCall):
            return await self._tool(request, request.name, operation.arguments)
        if isinstance(operation, Invoke):
            return await self._tool(request, operation.method, await self._bound(operation))
        if isinstance(operation, (Chat, Completion, Embedding, Classification)):
            return await self._model(request, operation)
        deadline = self._exchange.deadline(request)
        if isinstance(operation, ReadResource):
            found = await self._exchange.ask("resources/read", {"uri": operation.uri}, deadline)
            return content.resource_reply(found)
        if isinstance(operation, GetPrompt):
            given = {"name": request.name, "arguments": dict(operation.arguments)}
            return content.prompt_reply(await self._exchange.ask("prompts/get", given, deadline))
        raise UnsupportedError(
            f"server {self.context.name!r} cannot answer {operation.kind!r}",
            provider=self.context.name,
            sent=False,
        )

    async def _tool(self, request: Request, name: str, arguments: Mapping[str, Any]) -> Reply | Stream:
        params = {"name": name, "arguments": dict(arguments)}
        deadline = self._exchange.deadline(request)
        if request.stream:
            return self._stream(params, deadline, content.tool_reply, deltas=False)
        return content.tool_reply(await self._run(params, deadline))

    async def _run(
        self, params: Mapping[str, Any], deadline: float | None, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """The raw result of a tool; raises `UnknownModelError` for one that the server does not list."""
        try:
            result = await self._exchange.ask("tools/call", params, deadline, on_progress=on_progress)
        except InvalidRequestError as error:
            unknown = await self._unknown(params["name"]) if error.vendor_code is not None else None
            raise unknown or error from None
        # Servers of the handshake era say it in a result.
        if result.get("isError") is True and "nknown tool" in content.tool_reply(result).text:
            unknown = await self._unknown(params["name"])
            if unknown is not None:
                raise unknown
        return result

    async def _unknown(self, name: str) -> UnknownModelError | None:
        """The error for a tool that the server does not list, None if it does."""
        try:
            names = [tool.name for tool in await self._catalogue.tools()]
        except GleitzeitError:
            return None
        if name in names:
            return None
        return UnknownModelError(
            f"server {self.context.name!r} has no tool {name!r}",
            near=near(name, names),
            provider=self.context.name,
            sent=True,
        )

    async def _bound(self, operation: Invoke) -> Mapping[str, Any]:
        """The arguments by name: positional ones in the order of the tool's schema."""
        if not operation.args:
            return operation.arguments
        tool = next((tool for tool in await self._catalogue.tools() if tool.name == operation.method), None)
        if tool is None:
            raise (await self._unknown(operation.method)) or UnknownModelError(
                f"no tool {operation.method!r}"
            )
        names = list(tool.input_schema.get("properties") or ())
        if len(operation.args) > len(names):
            what = f"takes {len(names)} arguments ({', '.join(names)}), got {len(operation.args)} by position"
        elif twice := [name for name in names[: len(operation.args)] if name in operation.arguments]:
            what = f"got {', '.join(map(repr, twice))} by position and by name"
        else:
            return {**dict(zip(names, operation.args, strict=False)), **operation.arguments}
        raise InvalidRequestError(
            f"tool {tool.name!r} of server {self.context.name!r} {what}",
            provider=self.context.name,
            sent=False,
        )

    async def _model(self, request: Request, operation: Operation) -> Reply | Stream:
        """A model's answer, from the tool that stands for the operation."""
        name, model = self.context.name, request.name
        models = [each.name for each in self.config.offered()]
        if models and model not in models:
            raise UnknownModelError(
                f"server {name!r} serves no model {model!r}",
                near=near(model, models),
                provider=name,
                sent=False,
            )
        tool = forms.pick(operation, await self._catalogue.tools(), self.config.operations, name)
        calls = [
            {"name": tool.name, "arguments": given} for given in forms.arguments(operation, model, tool, name)
        ]
        deadline = self._exchange.deadline(request)

        def answer(*results: Mapping[str, Any]) -> Reply:
            return answers.reply(operation, results, model, name)

        if request.stream and isinstance(operation, (Chat, Completion)):
            return self._stream(calls[0], deadline, answer, deltas=self.config.deltas)
        if len(calls) == 1:
            return answer(await self._run(calls[0], deadline))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._run(call, deadline)) for call in calls]
        except BaseExceptionGroup as errors:
            raise unwrap(errors) from None
        return answer(*(task.result() for task in tasks))

    def _stream(
        self,
        params: Mapping[str, Any],
        deadline: float | None,
        answer: Callable[[dict[str, Any]], Reply],
        *,
        deltas: bool,
    ) -> Stream:
        return Stream(events(lambda put: self._run(params, deadline, put), answer, deltas=deltas))

    async def health(self, deep: bool = False) -> Health:
        """By state, then by traffic, and only then by asking, on the session that stands."""
        if self.config.disabled:
            return Health("unknown", detail="disabled")
        return await examine(self._supervisor, self.sandbox, deep=deep)
