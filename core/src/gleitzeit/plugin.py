"""Bases for plugin authors: override a hook and it is registered, nothing else to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

from gleitzeit.errors import GleitzeitError
from gleitzeit.hookspecs import Offers, hookimpl, mark
from gleitzeit.kinds import Balancer, Context, Ending, Middleware
from gleitzeit.values import (
    Choice,
    Health,
    Model,
    Operation,
    Prompt,
    Reply,
    Request,
    Resource,
    Retry,
    Route,
    Stream,
    Target,
    Tool,
    Verdict,
)

__all__ = ["Plugin", "Provider", "Strategy", "hookimpl"]


class Plugin:
    """Base of a plugin of any kind.

    `Config` is a pydantic model of the plugin's configuration, or None for none. The host builds
    an instance as `cls(config, context)`, in the event loop: constructors must not block.
    """

    Config: ClassVar[Any] = None
    #: Keys of the configuration that may refer to secrets of whoever calls (`{principal}`); what stands
    #: for such a secret there is the reference itself, and `Context.personal` puts the secrets in.
    personal: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__:
            return  # a base of ours: its defaults are no implementations
        for base in cls.__mro__[1:]:
            mark(cls, base)

    async def health(self, deep: bool = False) -> Health:
        """How the instance fares; without an override the host judges by the instance's state."""
        return Health("unknown")

    def security_check(
        self, request: Request, target: Target | None
    ) -> Verdict | None | Awaitable[Verdict | None]:
        """Vote on a call; see `HookSpecs.security_check`."""
        return None

    def wrap_call(self, route: Route) -> Middleware | None:
        """A middleware around every call on a route; see `HookSpecs.wrap_call`."""
        return None

    def wrap_attempt(self, target: Target) -> Middleware | None:
        """A middleware around every attempt at a target; see `HookSpecs.wrap_attempt`."""
        return None

    def retry_policy(self, request: Request, error: GleitzeitError, tries: int) -> Retry | None:
        """Whether a failed target is asked again; see `HookSpecs.retry_policy`."""
        return None

    def lifespan(self) -> AbstractAsyncContextManager[Any]:
        """Resources held from before the first use until after the last."""
        return _nothing()


class Provider(Plugin):
    """Base of a plugin that answers calls."""

    #: True: `provide_models` lists every model there is. False: other names are passed on as well.
    complete: ClassVar[bool] = True

    @property
    def warm_up(self) -> float:
        """Seconds beyond `host.hook_timeout` that its lists may take, as something has to start first."""
        return 0.0

    @property
    def local(self) -> bool:
        """Does every byte of a call stay on this machine? The operator may overrule with `local = …`."""
        return False

    @property
    def sandbox(self) -> str | None:
        """What encloses the process behind the instance; None where there is no process."""
        return None

    def provide_models(self) -> Offers[Model]:
        """What models are on offer; see `HookSpecs.provide_models`."""
        return ()

    def provide_tools(self) -> Offers[Tool]:
        """What tools are on offer."""
        return ()

    def provide_resources(self) -> Offers[Resource]:
        """What resources are on offer."""
        return ()

    def provide_prompts(self) -> Offers[Prompt]:
        """What prompt templates are on offer."""
        return ()

    def tool_behind(self, operation: type[Operation], tools: Sequence[Tool]) -> str | None:
        """Which of its own tools answers such operations on its models; None where none does.

        A model whose tool is not as it was approved is not asked.
        """
        return None

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a call; see `kinds.Provider.call`."""
        raise NotImplementedError(f"{type(self).__name__} does not override `call`")


class Strategy(Plugin):
    """Base of a plugin that orders the choices of routes.

    Override `order` where nothing need be remembered from call to call, `balancer` where it must.
    """

    def order(self, route: Route, request: Request) -> Iterable[Choice]:
        """The choices of the route for one request, best first; those left out are not asked."""
        return route.targets

    def balancer(self, route: Route) -> Balancer:
        """What orders the choices of one route; see `kinds.Strategy`."""
        return _Orderly(self, route)


class _Orderly:
    """The balancer of a strategy that only orders."""

    def __init__(self, strategy: Strategy, route: Route) -> None:
        self._strategy = strategy
        self._route = route

    def order(self, request: Request) -> Iterable[Choice]:
        return self._strategy.order(self._route, request)

    def begun(self, choice: Choice, request: Request) -> None:
        """Nothing to remember."""

    def ended(self, choice: Choice, request: Request, ending: Ending) -> None:
        """Nothing to learn."""


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield
