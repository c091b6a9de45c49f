"""An MCP server as a provider of tools, resources, prompts and models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
)
from gleitzeit.kinds import Context
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
from gleitzeit_plugin_mcp.credentials import Partitions
from gleitzeit_plugin_mcp.ears import Ears
from gleitzeit_plugin_mcp.endpoint import hidden
from gleitzeit_plugin_mcp.exchange import Exchange
from gleitzeit_plugin_mcp.faults import unwrap
from gleitzeit_plugin_mcp.health import examine
from gleitzeit_plugin_mcp.kept import Kept
from gleitzeit_plugin_mcp.methods import Methods, is_method
from gleitzeit_plugin_mcp.opening import Opening
from gleitzeit_plugin_mcp.pool import Key, Limits, Pool
from gleitzeit_plugin_mcp.stream import events
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import OnProgress

#: Runs a tool, given `tools/call`'s parameters and what takes its progress.
Run: TypeAlias = Callable[..., Coroutine[Any, Any, dict[str, Any]]]

__all__ = ["McpProvider"]

#: Changes that come within so many seconds are announced as one.
DEBOUNCE: Final = 0.05
#: Seconds to start and end processes, beside the answers to greetings (two, if a process ends at the first).
SLACK: Final = 30.0
#: Seconds that a server may be down before that is announced.
PATIENCE: Final = 1.0


class McpProvider(Provider):
    """One configured MCP server.

    Its session starts with the lifespan and is kept standing; calls wait for it, fail fast while
    it cannot be had, and are never repeated once they may have reached the server.
    """

    Config: ClassVar[Any] = McpConfig
    personal: ClassVar[tuple[str, ...]] = ("per_principal",)
    manifest: ClassVar[Any] = {
        "summary": "Each configured MCP server is a provider of tools, resources, prompts and models.",
        "capabilities": ("tools", "resources", "prompts"),
    }
    config: McpConfig

    def __init__(self, config: McpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._ears = Ears(
            context.name,
            context.logger,
            on_changed=self._changed,
            on_updated=self._updated,
            level=config.log_level,
            secrets=hidden(config),
        )
        self._opening = Opening(config, context, self._ears)
        self._partitions = Partitions(config, context)
        limits = Limits(
            room=config.max_concurrency,
            own=config.max_instances,
            idle=config.idle_timeout,
            life=config.max_lifetime,
            calls=config.max_calls,
        )
        self._pool = Pool(self._supervise, config.instances, limits)
        self._kept = Kept()
        self._catalogue = Catalogue(
            self._pool, frozenset(config.capabilities), context.logger, self._announce
        )
        self._exchange = Exchange(
            context.name,
            self._pool,
            self._partitions,
            lambda: self._opening.asks,
            tools=self._catalogue.tools,
            affinity=config.affinity,
        )
        self._methods = Methods(self._exchange, self._pool, self._ears)
        self._announcing: asyncio.TimerHandle | None = None
        self._mourning: asyncio.TimerHandle | None = None
        if config.unknown:
            context.logger.warning(
                "MCP server %r: keys that mean nothing here: %s", context.name, ", ".join(config.unknown)
            )

    @property
    def warm_up(self) -> float:
        """The server may take its time to start, and only then can it be asked."""
        best = self._pool.best
        return 0.0 if best is None or best.connection is not None else 2 * self.config.timeout + SLACK

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
        self._pool.start()  # from here on calls wait for the first start
        try:
            yield
        finally:
            try:
                await self._exchange.close()
            finally:
                try:
                    await self._pool.stop()
                finally:
                    self._silence()

    def _silence(self) -> None:
        """Announce nothing more."""
        self._catalogue.close()
        for timer in (self._announcing, self._mourning):
            if timer is not None:
                timer.cancel()
        self._announcing = self._mourning = None

    async def scale(self, instances: int) -> None:
        """Have so many instances in common, from now on; see `Pool.scale`."""
        if self.config.disabled:
            raise UsageError(
                f"server {self.context.name!r} is disabled", hint="remove `disabled = true` from its entry"
            )
        await self._pool.scale(instances)

    def _supervise(self, key: Key | None) -> Supervisor:
        context = self.context
        credentials = self._partitions.of(None if key is None else key.principal)
        return Supervisor(
            context.name,
            self._opening.opener(credentials),
            self._turned,
            hang=self.config.hang_timeout,
            logger=context.logger,
        )

    def _turned(self, supervisor: Supervisor) -> None:
        """An instance has come to stand, or has failed to."""
        if supervisor.phase is Phase.READY and not supervisor.announced:
            supervisor.announced = True
            renewed = supervisor.generation > 1 and self._catalogue.renewed(supervisor)
            if renewed or self._catalogue.missed:
                self._catalogue.missed = False
                self._kept.forget()
                self._announce()
        elif supervisor.phase in (Phase.BACKOFF, Phase.OPEN) and self._mourning is None:
            # Most are back before anybody notices; what others offered is stale from now on.
            self._mourning = asyncio.get_running_loop().call_later(PATIENCE, self._mourn)

    def _mourn(self) -> None:
        self._mourning = None
        best = self._pool.best
        if best is not None and best.connection is None and best.down_since is not None:
            self._announce()

    def _changed(self, kind: str) -> None:
        if kind == "resources":
            self._kept.forget()
        if self._catalogue.changed(kind):
            self._announce()

    def _updated(self, uri: str) -> None:
        self._kept.forget(uri)
        if uri in self._ears.subscribed:
            self.context.changed(resource=uri)

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
        if isinstance(operation, Invoke) and is_method(operation.method):
            return await self._methods.call(request, operation)
        if isinstance(operation, Invoke):
            return await self._tool(request, operation.method, await self._bound(operation))
        if isinstance(operation, (Chat, Completion, Embedding, Classification)):
            return await self._model(request, operation)
        deadline = request.deadline
        if isinstance(operation, ReadResource):
            return content.resource_reply(await self._read(request, operation.uri, deadline))
        if isinstance(operation, GetPrompt):
            given = {"name": request.name, "arguments": dict(operation.arguments)}
            key = self._exchange.key(request)
            return content.prompt_reply(await self._exchange.ask("prompts/get", given, deadline, key=key))
        raise UnsupportedError(
            f"server {self.context.name!r} cannot answer {operation.kind!r}",
            provider=self.context.name,
            sent=False,
        )

    async def _tool(self, request: Request, name: str, arguments: Mapping[str, Any]) -> Reply | Stream:
        params = {"name": name, "arguments": dict(arguments)}
        run = self._runner(request)
        if request.stream:
            return self._stream(params, run, content.tool_reply, deltas=False)
        return content.tool_reply(await run(params))

    async def _read(self, request: Request, uri: str, deadline: float | None) -> dict[str, Any]:
        """A resource, kept as long as the server allows."""
        key = self._exchange.key(request)
        found = self._kept.get(uri, request.principal) if key is None else None
        if found is None:
            asked, turn = time.monotonic(), self._kept.turn
            found = await self._exchange.ask("resources/read", {"uri": uri}, deadline, key=key)
            if turn == self._kept.turn and key is None:
                self._kept.put(uri, request.principal, found, asked)
        return found

    def _runner(self, request: Request) -> Run:
        """Runs tools for `request`: all under its deadline, in the instance that is its own."""
        deadline, key = request.deadline, self._exchange.key(request)

        def run(params: Mapping[str, Any], on_progress: OnProgress | None = None) -> Coroutine[Any, Any, Any]:
            return self._run(params, deadline, key, on_progress)

        return run

    async def _run(
        self,
        params: Mapping[str, Any],
        deadline: float | None,
        key: Key | None,
        on_progress: OnProgress | None,
    ) -> dict[str, Any]:
        """The raw result of a tool; raises `UnknownModelError` for one that the server does not list."""
        try:
            result = await self._exchange.ask(
                "tools/call", params, deadline, key=key, on_progress=on_progress
            )
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

    def tool_behind(self, operation: type[Operation], tools: Sequence[Tool]) -> str | None:
        """The tool that stands for the operation."""
        try:
            return forms.pick(operation, tools, self.config.operations, self.context.name).name
        except UnsupportedError:
            return None  # the call will tell

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
        run = self._runner(request)

        def answer(*results: Mapping[str, Any]) -> Reply:
            return answers.reply(operation, results, model, name)

        if request.stream and isinstance(operation, (Chat, Completion)):
            return self._stream(calls[0], run, answer, deltas=self.config.deltas)
        if len(calls) == 1:
            return answer(await run(calls[0]))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(run(call)) for call in calls]
        except BaseExceptionGroup as errors:
            raise unwrap(errors) from None
        return answer(*(task.result() for task in tasks))

    def _stream(
        self,
        params: Mapping[str, Any],
        run: Run,
        answer: Callable[[dict[str, Any]], Reply],
        *,
        deltas: bool,
    ) -> Stream:
        return Stream(events(lambda put: run(params, put), answer, deltas=deltas))

    async def health(self, deep: bool = False) -> Health:
        """By state, then by traffic, and only then by asking, on the session that stands."""
        if self.config.disabled:
            return Health("unknown", detail="disabled")
        return await examine(self._pool, self.sandbox, self._exchange.pace, self.config.slow_after, deep=deep)
