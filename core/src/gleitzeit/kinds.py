"""The kinds of plugins, what the host wants of each, and what it gives to each.

A plugin need not inherit from these protocols; `gleitzeit.plugin` has bases that already fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError
from gleitzeit.policy import Policy
from gleitzeit.values import Choice, Elicitation, Elicited, Reply, Request, Route, Snapshot, Stream, Tool

if TYPE_CHECKING:
    import logging

    import httpx2

__all__ = [
    "KINDS",
    "Balancer",
    "Context",
    "Ending",
    "Endpoint",
    "Exporter",
    "Frame",
    "Handler",
    "HttpSettings",
    "HttpTransport",
    "Kind",
    "Launch",
    "Listener",
    "Middleware",
    "PolicySource",
    "Process",
    "Provider",
    "Sandbox",
    "Secrets",
    "Strategy",
    "Transport",
    "Wire",
]

Handler: TypeAlias = Callable[[Request], Awaitable[Reply | Stream]]
#: Runs around a handler: `async def middleware(request, call_next): return await call_next(request)`.
Middleware: TypeAlias = Callable[[Request, Handler], Awaitable[Reply | Stream]]


class Context(Protocol):
    """What the host gives to an instance."""

    @property
    def name(self) -> str:
        """The instance's name."""

    @property
    def http(self) -> httpx2.AsyncClient:
        """The host's one HTTP client, made at first use. Never close it; it does no retries."""

    @property
    def logger(self) -> logging.Logger:
        """A logger of the instance's own. Content and secrets stay out of it."""

    @property
    def may_ask(self) -> bool:
        """Does the operator allow `ask`?"""

    @property
    def may_elicit(self) -> bool:
        """Does the application put questions to a person?"""

    @property
    def serves(self) -> bool:
        """Are there clients of a server of the application's, who may be asked during their own calls?"""

    def changed(self, resource: str | None = None) -> None:
        """Announce that what this instance offers has changed, or one `resource` by its URI. Thread-safe."""

    async def ask(self, request: Request) -> Reply:
        """Ask the host's own models (sampling), where the operator allows it.

        Raises `PermissionDeniedError` where the instance's configuration lacks `may_ask = true`.
        """

    async def elicit(self, question: Elicitation) -> Elicited:
        """Put a question to the application's person; declined where it has nobody to ask."""

    async def tools(self, names: Iterable[str] = ("*",)) -> Sequence[tuple[str, Tool]]:
        """(full name, tool) of each of the host's tools that the names, patterns and sets mean.

        Only what is on offer; asks every provider where that is not known. Not while it is itself starting.
        """

    async def secret(self, reference: str) -> str:
        """The value behind `secret://backend/path#field`; raises `ConfigError` where there is none."""

    async def renewed(self, config: Any) -> Any:
        """The instance's configuration with every secret in it asked for anew, as after a refused key.

        It is equal to `config` where nothing has changed. Raises `ConfigError` where a secret is gone.
        """

    async def personal(self, config: Any, principal: str, *, fresh: bool = False) -> Any:
        """The instance's configuration with the secrets of `principal` where `{principal}` refers to them.

        With `fresh` every secret in it is asked for anew. Raises `ConfigError` where one is missing. Only
        for plugins that name keys for it in `personal`.
        """

    async def driver(self, kind: str, name: str) -> Any:
        """The running instance of a driver plugin, such as `("transport", "stdio")`.

        Raises `PluginError` where it is not installed or does not start.
        """


@runtime_checkable
class Provider(Protocol):
    """Answers calls."""

    async def call(self, request: Request) -> Reply | Stream:
        """Answer; `request.target` is the target that the route picked.

        A `Stream` when `request.stream`, else a `Reply`; the host converts where the other comes.
        Cancellation must reach the upstream.
        """


def _words(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Endpoint:
    """Where and how an MCP server is reached; commands come from operator configuration only."""

    name: str = field(kw_only=False)
    command: tuple[str, ...] = field(default=(), converter=_words)
    #: The whole environment of the process, nothing is inherited beyond it.
    env: Mapping[str, str] = field(factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    #: The name of the sandbox plugin that launches the process, or "none".
    sandbox: str = "none"
    policy: Policy = field(factory=Policy)
    options: Mapping[str, Any] = field(factory=dict, repr=False)
    #: Whose credentials these are; None: everybody's. What is kept for one is not for others.
    principal: str | None = None


@frozen(kw_only=True)
class Frame:
    """One JSON-RPC message with the headers that travel beside it (empty where a wire has none)."""

    message: Mapping[str, Any] = field(kw_only=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)


class Wire(Protocol):
    """An open connection to one MCP server. Iterating gives its frames, until the wire is lost.

    It may have a method `give_up()`, called where the server does not answer: its close waits for nothing.
    """

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""

    @property
    def error(self) -> GleitzeitError | None:
        """Why the wire was lost; None while it stands and after a wanted close.

        A `WireError`, or an `AccessError` where the other side refused who we are.
        """

    async def send(self, frame: Frame) -> None:
        """Write a frame. Raises `WireError`, with `sent` False only if surely no byte left.

        Where each message is an exchange of its own, it lasts until the other side has taken it, and
        raises what a refusal means; cancelling breaks the exchange off.
        """

    def __aiter__(self) -> AsyncIterator[Frame]: ...

    def diagnostics(self) -> Mapping[str, Any]:
        """What helps a person: pid, exit status, the tail of stderr."""


@runtime_checkable
class Transport(Protocol):
    """Opens MCP wires."""

    def connect(self, endpoint: Endpoint) -> AbstractAsyncContextManager[Wire]:
        """Open a wire; leaving the context closes it and frees what it used, whatever happened."""


@runtime_checkable
class Listener(Protocol):
    """The other side of a transport: lets MCP clients in. A transport may be both."""

    def listen(
        self, address: str, serve: Callable[[Wire], Awaitable[None]], options: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[str]:
        """Open a door; gives the address under which clients find it, with the port really taken.

        `serve` runs in a task of its own for each client and gets its wire, which is closed when it
        returns. Leaving the context cancels those that run, and closes the door. Raises `ConfigError`
        where the door cannot be opened or would be unsafe.
        """


@frozen(kw_only=True)
class Launch:
    """A process to start."""

    command: tuple[str, ...] = field(kw_only=False, converter=_words)
    env: Mapping[str, str] = field(factory=dict, repr=False)
    cwd: str | None = None


class Process(Protocol):
    """A launched process with its pipes."""

    pid: int
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""

    async def wait(self) -> int:
        """Wait for the end."""

    async def kill(self) -> None:
        """End the process and everything that it started. Idempotent."""


@runtime_checkable
class Sandbox(Protocol):
    """Launches processes under a policy and proves what it enforces."""

    async def proven(self) -> frozenset[str]:
        """The capability atoms that a self-test has just proven on this machine."""

    async def launch(self, launch: Launch, policy: Policy) -> Process:
        """Start a process; raises `SandboxUnavailableError` before that if the policy cannot be met."""


@runtime_checkable
class PolicySource(Protocol):
    """A named, installable policy."""

    def policy(self) -> Policy:
        """The policy."""


@runtime_checkable
class Exporter(Protocol):
    """Reads snapshots of the host's statistics; never raises into, or waits in, the way of a call."""

    async def export(self, snapshot: Snapshot) -> None:
        """Send or keep a snapshot."""


@runtime_checkable
class Secrets(Protocol):
    """Resolves `secret://name/path#field`."""

    async def resolve(self, path: str, field: str | None) -> str:
        """The secret's value; raises `ConfigError` where there is none."""


@frozen(kw_only=True, slots=False)  # half the time to make one, at every call that a balancer hears of
class Ending:
    """How an attempt at a choice ended; times in seconds.

    "neutral" says nothing about the choice: the caller went away or erred, or it was not asked at
    all. `first` is the time to the first event of a stream; for a whole answer it equals `seconds`.
    """

    outcome: Literal["ok", "failed", "neutral"] = field(kw_only=False)
    seconds: float
    first: float
    error: GleitzeitError | None = None


class Balancer(Protocol):
    """Orders the choices of one route, and hears how they fare."""

    def order(self, request: Request) -> Iterable[Choice]:
        """The choices for one request, best first, taken one by one; those left out are not asked."""

    def begun(self, choice: Choice, request: Request) -> None:
        """An attempt at the choice, or at something inside it, begins."""

    def ended(self, choice: Choice, request: Request, ending: Ending) -> None:
        """It has ended: exactly once for each `begun`."""


@runtime_checkable
class Strategy(Protocol):
    """A way of choosing among the choices of a route."""

    def balancer(self, route: Route) -> Balancer:
        """What orders the choices of this route; asked when the route is compiled, and again whenever it
        is compiled anew, so that what must be remembered belongs to the strategy."""


class HttpSettings(Protocol):
    """The operator's `[host.http]`, as it stands in `gleitzeit.config.HttpConfig`."""

    @property
    def verify_ssl(self) -> bool:
        """Are certificates verified? `wire.client.tls_context` makes a context of this and `ca_file`."""

    @property
    def ca_file(self) -> str | None:
        """A file of additional trusted certificates."""

    @property
    def proxy(self) -> str | None:
        """The URL of a proxy; without it the environment's hold. Neither holds for loopback addresses."""

    @property
    def max_connections(self) -> int | None:
        """Most connections at once; None is the core's default."""


@runtime_checkable
class HttpTransport(Protocol):
    """Supplies the transport under the host's HTTP client. Only one can be configured."""

    def transport(self, http: HttpSettings) -> httpx2.AsyncBaseTransport:
        """A transport that holds to the operator's settings; the host closes it.

        Called once, in the host's loop. It does no retries, follows no redirects and keeps no cookies, takes
        its timeouts from `request.extensions["timeout"]`, and raises the exceptions of httpx2. Raises
        `ConfigError` for a setting that it cannot keep.
        """


@frozen(kw_only=True)
class Kind:
    """A kind of plugin: its entry-point group, its section in the configuration, its protocol."""

    name: str = field(kw_only=False)
    group: str
    section: str
    protocol: type | None = None


KINDS: Final[Mapping[str, Kind]] = {
    name: Kind(name, group=f"gleitzeit.{section}", section=section, protocol=protocol)
    for name, section, protocol in (
        ("provider", "providers", Provider),
        ("transport", "transports", Transport),
        ("sandbox", "sandboxes", Sandbox),
        ("policy", "policies", PolicySource),
        ("exporter", "exporters", Exporter),
        ("secrets", "secrets", Secrets),
        ("strategy", "strategies", Strategy),
        ("http", "http", HttpTransport),
        ("plain", "plugins", None),
    )
}
