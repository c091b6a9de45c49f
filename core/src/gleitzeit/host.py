"""The host: what an application holds to call every model and tool."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from gleitzeit.catalogue import Catalogue, Offer, Thing
from gleitzeit.config import Config, InstanceConfig, SecretResolver, load
from gleitzeit.conversation import Approve, Conversation
from gleitzeit.deferral import Defer
from gleitzeit.discovery import Entry, Index, scan
from gleitzeit.errors import ConfigError, PluginError, PluginNotFoundError, UsageError
from gleitzeit.health import Checks, InstanceHealth
from gleitzeit.hooks import Hooks
from gleitzeit.kinds import KINDS
from gleitzeit.pipeline import Pipeline
from gleitzeit.registry import Registry, Services
from gleitzeit.routing import Router
from gleitzeit.servers import Servers
from gleitzeit.status import StatusServer, document
from gleitzeit.toolbox import Toolbox, ToolInfo
from gleitzeit.values import (
    Change,
    Chat,
    Elicitation,
    Elicited,
    Reply,
    Request,
    Snapshot,
    Stream,
    Target,
    Tool,
)

if TYPE_CHECKING:
    import httpx2

__all__ = ["Host", "InstanceHealth", "OnElicit"]

logger = logging.getLogger(__name__)

#: Puts a question to a person; cancelled when the call that led to it is.
OnElicit: TypeAlias = Callable[[Elicitation], Awaitable[Elicited]]

# A library says nothing by itself: where an application sets up no logging, warnings would go to stderr.
logging.getLogger("gleitzeit").addHandler(logging.NullHandler())


class Host:
    """Everything installed and configured, behind one corridor. Use it as an async context manager.

        async with Host() as host:
            reply = await host.call(Chat("Hello!").to("scripted/hello"))

    `config` is a `Config`, a mapping in the shape of `gleitzeit.toml`, or a file's path; without
    it the usual places are searched. `plugins` are plugins in person, by name, for tests and for
    applications that bring their own. `on_elicit` puts a provider's questions to a person; without it
    they are declined. A host belongs to the event loop that opened it.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any] | str | Path | None = None,
        *,
        profile: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        plugins: Mapping[str, Any] | None = None,
        index: Index | None = None,
        on_elicit: OnElicit | None = None,
    ) -> None:
        self._index = scan() if index is None else index
        self._environ = os.environ if environ is None else environ
        if isinstance(config, Config):
            self.config = config
        else:
            data = config if isinstance(config, Mapping) else None
            path = config if isinstance(config, (str, Path)) else None
            environ = os.environ if environ is None else environ
            self.config = load(
                path, profile=profile, environ=environ, overrides=overrides, data=data, index=self._index
            )
        self._secrets = SecretResolver(self._secret_backend, environ=environ)
        self._services = services = Services(
            http=self._client,
            secret=self._secrets.resolve,
            forget=self._secrets.forget,
            call=self.call,
            driver=self._driver,
            changed=self._changed,
            elicit=on_elicit,
            tools=self.find_tools,
        )
        own = {name: _own(name, plugin) for name, plugin in (plugins or {}).items()}
        self._registry = Registry(self.config, self._index, services, own)
        self._catalogue = Catalogue(self._registry, self._came)
        self._router = Router(self.config, self._registry, self._catalogue)
        #: The tools of all instances, for those who list, choose and lock them.
        self.toolbox = Toolbox(self.config, self._registry, self._catalogue, self._router)
        self._pipeline = Pipeline(self.config, self._registry, self._router)
        self._checks = Checks(self._registry, self._pipeline.probed)
        #: MCP servers at run time: deploy, execute, scale, list, undeploy.
        self.servers = Servers(
            self._registry,
            self._catalogue,
            self._pipeline,
            self._checks,
            read=self._entry,
            call=self.call,
        )
        self.hooks = Hooks(self._registry, self._catalogue, self.call)
        self._watchers: list[Callable[[Change], None]] = []
        self._http: httpx2.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._status: StatusServer | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Start what must run from the beginning: guards, exporters, and what is configured as eager.

        A failure is a state (see `health`), not an exception; while a configured guard is not
        active, every call is denied. Raises `ConfigError` where `host.status_socket` cannot be served.
        """
        if self._loop is not None:
            raise UsageError("the host is open already")
        if self.config.host.status_socket is not None:
            status = StatusServer(self.config.host.status_socket, self._tell)
            await status.open()
            self._status = status
        self._loop = asyncio.get_running_loop()
        eager = self._registry.eager
        # The HTTP transport first: others may ask for the client as soon as they start.
        await self._registry.start(one for one in eager if one.kind == "http")
        await self._registry.start(one for one in eager if one.kind != "http")
        if self.config.host.health_interval:
            self._checks.start(self.config.host.health_interval)

    async def close(self) -> None:
        """Refuse new calls, wait up to `host.drain_timeout` for those in flight, end the rest, free all."""
        if self._loop is None:
            if self._ended is not None:
                await self._ended.wait()  # whoever closes it, too, may rely on its being closed
            return
        self._loop = None
        self._ended = asyncio.Event()
        try:
            await self._close()
        finally:
            self._ended.set()

    async def _close(self) -> None:
        ends = time.monotonic() + self.config.host.drain_timeout
        await self._pipeline.drain(self.config.host.drain_timeout)
        await self._checks.stop()
        await self._catalogue.close()
        await self._registry.stop(max(0.0, ends - time.monotonic()))
        self._pipeline.close()
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()
        status, self._status = self._status, None
        if status is not None:
            await status.close()

    async def call(self, request: Request) -> Reply:
        """Send a request and wait for the whole answer; raises a `GleitzeitError`.

        Cancelling the caller cancels the call at its provider.
        """
        self._check()
        return await self._pipeline.call(request)

    def stream(self, request: Request) -> Stream:
        """Send a request and get its answer as events; nothing happens before it is entered or read."""
        self._check()
        return self._pipeline.stream(request)

    def converse(
        self,
        request: Request,
        *,
        tools: Iterable[str] = (),
        max_turns: int = 8,
        approve: Approve | None = None,
        defer: Defer = "auto",
    ) -> Conversation:
        """Let a model use tools until it answers: await it for the ending, or iterate it for the events.

        `tools` are names, patterns (`"git/*"`) or sets (`"@coding"`); the model sees a tool under the
        name given here. `approve(call, target)` decides on each call before it runs. `defer` shows the
        model a search in place of many tools, see `Conversation`.
        """
        self._check()
        return Conversation(self, request, tools=tools, max_turns=max_turns, approve=approve, defer=defer)

    async def offers(self, thing: Thing, *, wait: float | None = None) -> list[Offer]:
        """What all providers offer: `"models"`, `"tools"`, `"resources"` or `"prompts"`. Starts them.

        A provider that has not answered after `wait` seconds (`host.hook_timeout` if None) is `pending`:
        it goes on, and `watch` tells when it has answered. With `math.inf` all are waited for, each as
        long as it may take to start.
        """
        self._check()
        return await self._catalogue.offers(thing, wait=wait)

    async def find(self, capability: str) -> list[Target]:
        """The models with this capability, as targets."""
        found = []
        for offer in await self.offers("models"):
            instance = self._registry.find("provider", offer.instance)
            for model in offer.items:
                if instance is not None and capability in model.capabilities:
                    target = Target(
                        offer.instance, name=model.name, plugin=instance.config.plugin, model=model
                    )
                    found.append(target)
        return found

    async def start(self) -> dict[str, bool]:
        """Start what is configured of providers at once; gives for each whether it then stands.

        Nothing needs it, as a provider starts with its first call. One that fails holds up no other,
        and `health` says why. What is installed and not configured starts when it is needed.
        """
        self._check()
        providers = self._registry.of_kind("provider")
        instances = [each for each in providers if each.config.enabled and not each.config.implicit]
        rows = await asyncio.gather(*(self._checks.started(instance) for instance in instances))
        return {row.name: row.connected for row in rows}

    async def provider_of(self, model: str) -> InstanceHealth | None:
        """Who is asked first for a model, under any name that a call may use, and how it fares.

        None where nobody has it. Starts providers only where none of those that write their models
        down has it, and their lists must be asked. Raises `AmbiguousModelError` as a call would.
        """
        self._check()
        instance = await self._router.holder(model)
        return None if instance is None else await self._checks.one(instance)

    async def tools(
        self,
        *,
        category: str | None = None,
        tags: Iterable[str] = (),
        set: str | None = None,
        wait: float | None = None,
    ) -> list[ToolInfo]:
        """All tools, or those of one category, with all of these tags, in one set of `[toolsets]`.

        Those that are kept back come last, and say why. Starts all providers; `wait` as in `offers`.
        """
        self._check()
        return await self.toolbox.all(category=category, tags=tags, set=set, wait=wait)

    async def find_tools(
        self, names: Iterable[str], *, wait: float | None = None
    ) -> list[tuple[str, str, Tool]]:
        """(name as given, full name, tool) of each tool that the names, patterns and sets mean.

        `wait` as in `offers`; without it, who is named in a pattern is waited for.
        """
        return await self.toolbox.find(names, wait=wait)

    async def searcher(self, model: str) -> tuple[tuple[str, Tool] | None, int | None]:
        """(full name, tool) of what searches among tools, and the model's context; None where unknown."""
        found = await self.toolbox.searcher()
        return found, None if found is None else await self.toolbox.context_tokens(model, Chat)

    async def health(self, deep: bool = False) -> list[InstanceHealth]:
        """How every instance fares. `deep` starts those not needed so far and asks more, free of charge."""
        self._check()
        return await self._checks.all(deep)

    def watch(self, watcher: Callable[[Change], None]) -> Callable[[], None]:
        """Call `watcher`, in the host's loop, with each change that an instance announces.

        A change of what it offers is to be asked for again with `offers`; one of a resource comes where
        that was subscribed to. Returns what ends the watching.
        """
        self._watchers.append(watcher)

        def unwatch() -> None:
            with suppress(ValueError):
                self._watchers.remove(watcher)

        return unwatch

    def mcp_server(self, **options: Any) -> Any:
        """An MCP server with everything that this host has, to be opened on stdio, HTTP or gRPC.

        Gives a `gleitzeit_plugin_mcp.serve.McpServer`; `options` are the fields of `ServeOptions` there,
        such as `tools=["git/*"]`. Make it before the first call: MCP servers that run already are not told
        that they may ask its clients. Raises `PluginNotFoundError` where that package is not installed.
        """
        try:
            serve = importlib.import_module("gleitzeit_plugin_mcp.serve")
        except ModuleNotFoundError as error:
            raise PluginNotFoundError(
                f"serving MCP needs a package that is not there: {error.name}",
                hint="pip install gleitzeit-plugin-mcp",
            ) from error
        server = serve.McpServer(self, serve.ServeOptions(**options), self._driver)
        self._services.servers.append(server)
        return server

    def snapshot(self) -> Snapshot:
        """What has been counted since the host was made: calls, attempts, times, tokens, breakers."""
        return self._pipeline.snapshot()

    def _entry(self, name: str, entry: Mapping[str, Any]) -> InstanceConfig:
        """An entry of `[servers]` written in code."""
        self._check()
        environ = {key: value for key, value in self._environ.items() if not key.startswith("GLEITZEIT_")}
        config = load(environ=environ, data={"servers": {name: dict(entry)}}, index=self._index)
        return next(each for each in config.instances if each.section == "servers")

    def _check(self) -> None:
        if self._loop is None:
            raise UsageError("the host is not open", hint="use `async with Host() as host:`")
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("the host belongs to another event loop", hint="open one host per loop")

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            from gleitzeit.wire.client import make_client

            settings, driver = self.config.host.http, self._http_driver()
            self._http = make_client(settings, None if driver is None else driver.transport(settings))
        return self._http

    def _http_driver(self) -> Any:
        """The configured HTTP plugin; where it cannot serve, nothing else may take its place unnoticed."""
        drivers = [instance for instance in self._registry.of_kind("http") if instance.config.enabled]
        if not drivers:
            return None
        first, *others = drivers
        if others:
            names = ", ".join(instance.name for instance in drivers)
            raise ConfigError(
                f"[http]: {names}: there is one HTTP transport", hint="set `enabled = false` in the others"
            )
        if first.object is None:
            raise first.error or PluginError(f"the HTTP plugin {first.name!r} has not started")
        return first.object

    async def _driver(self, kind: str, name: str) -> Any:
        return await self._registry.driver(kind, name)

    async def _tell(self) -> Mapping[str, Any]:
        return document(self.snapshot(), await self._checks.all())

    async def _secret_backend(self, name: str) -> Any:
        return await self._registry.driver("secrets", name)

    def _changed(self, name: str, resource: str | None) -> None:
        if resource is None:
            self._catalogue.forget(name)
            self._registry.bump()
        self._tell_watchers(Change(name, resource=resource))

    def _came(self, name: str) -> None:
        """An instance has told what it offers, after somebody went on without it."""
        self._registry.bump()
        self._tell_watchers(Change(name))

    def _tell_watchers(self, change: Change) -> None:
        for watcher in tuple(self._watchers):
            try:
                watcher(change)
            except Exception as error:  # noqa: BLE001 - the application's code, called from the loop
                logger.warning("a watcher of changes raised %s", type(error).__name__)


def _own(name: str, plugin: Any) -> Entry:
    """An entry for a plugin handed over in person; its kind by what it can do."""
    kind = next(
        (
            k.name
            for k in KINDS.values()
            if k.protocol is not None and isinstance(plugin, type) and issubclass(plugin, k.protocol)
        ),
        "plain",
    )
    where = f"{plugin.__module__}:{getattr(plugin, '__qualname__', name)}"
    return Entry(name, kind=kind, value=where, plugin=plugin)
