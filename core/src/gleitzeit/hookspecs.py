"""The hooks that any instance of any kind may implement, and the check of implementations.

pluggy keeps the registry of them; how they are called is ours (`gleitzeit.registry`).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias, TypeVar

import pluggy

from gleitzeit.errors import GleitzeitError, PluginLoadError
from gleitzeit.kinds import Middleware
from gleitzeit.values import (
    Health,
    Model,
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

__all__ = ["HOOKS", "PROJECT", "HookSpecs", "Offers", "check_hooks", "hookimpl", "hookspec", "mark"]

PROJECT: Final = "gleitzeit"
hookspec = pluggy.HookspecMarker(PROJECT)
#: Only for ordering (`@hookimpl(tryfirst=True)`): the bases in `gleitzeit.plugin` mark hooks by themselves.
hookimpl = pluggy.HookimplMarker(PROJECT)

T = TypeVar("T")
#: Hooks that offer something may be plain functions, generators, coroutines or async generators.
Offers: TypeAlias = Iterable[T] | Awaitable[Iterable[T]] | AsyncIterable[T]


class HookSpecs:
    """The hooks. Synchronous implementations must not block: no deadline can stop them."""

    @hookspec
    def provide_models(self) -> Offers[Model]:
        """What models are on offer. Drained under a deadline, cached, refreshed on `context.changed()`."""
        raise NotImplementedError

    @hookspec
    def provide_tools(self) -> Offers[Tool]:
        """What tools are on offer."""
        raise NotImplementedError

    @hookspec
    def provide_resources(self) -> Offers[Resource]:
        """What resources are on offer."""
        raise NotImplementedError

    @hookspec
    def provide_prompts(self) -> Offers[Prompt]:
        """What prompt templates are on offer."""
        raise NotImplementedError

    @hookspec
    async def call(self, request: Request) -> Reply | Stream:
        """Answer a call; asked of the one provider that the route picked."""
        raise NotImplementedError

    @hookspec
    async def health(self, deep: bool = False) -> Health:
        """How the instance fares; `deep` may take longer, but never costs money."""
        raise NotImplementedError

    @hookspec
    def security_check(
        self, request: Request, target: Target | None
    ) -> Verdict | None | Awaitable[Verdict | None]:
        """Vote on a call: once with no target, then for each target about to be asked.

        One deny wins, an exception is a deny, None abstains. May be a coroutine function.
        """
        raise NotImplementedError

    @hookspec
    def wrap_call(self, route: Route) -> Middleware | None:
        """A middleware for every call on this route; asked when the route is compiled."""
        raise NotImplementedError

    @hookspec
    def wrap_attempt(self, target: Target) -> Middleware | None:
        """A middleware for every attempt at this target; asked when the route is compiled."""
        raise NotImplementedError

    @hookspec
    def retry_policy(self, request: Request, error: GleitzeitError, tries: int) -> Retry | None:
        """Whether a target that failed is asked again; it has been asked `tries` times for this call.

        The first plugin that has an opinion decides instead of the configured policy; None is no
        opinion. An exception is logged, and the configured policy holds.
        """
        raise NotImplementedError

    @hookspec
    def lifespan(self) -> AbstractAsyncContextManager[Any]:
        """Entered before first use and left after the last, by one task that the host owns."""
        raise NotImplementedError


HOOKS: Final = tuple(
    name for name, value in vars(HookSpecs).items() if getattr(value, f"{PROJECT}_spec", None)
)
_COROUTINES: Final = frozenset({"call", "health"})
#: Nobody awaits what these give.
_PLAIN: Final = frozenset({"wrap_call", "wrap_attempt", "retry_policy", "lifespan"})


def mark(cls: type, base: type) -> None:
    """Mark the hooks that `cls` overrides of `base` as implementations, where they are not marked yet."""
    for name in HOOKS:
        method = vars(cls).get(name)
        if method is not None and callable(method) and not hasattr(method, f"{PROJECT}_impl"):
            inherited = getattr(getattr(base, name, None), f"{PROJECT}_impl", None)
            hookimpl(**(inherited or {}))(method)


def check_hooks(instance: object, plugin: str) -> tuple[str, ...]:
    """The hooks that `instance` implements; raises `PluginLoadError` naming method, place and fix."""
    found = []
    for name in HOOKS:
        method = getattr(instance, name, None)
        if method is None:
            continue
        marked = getattr(method, f"{PROJECT}_impl", None) is not None
        if not marked:
            if (
                getattr(inspect.unwrap(getattr(method, "__func__", method)), "__module__", "")
                == f"{PROJECT}.plugin"
            ):
                continue  # the default of our own base
            raise _wrong(
                method, plugin, f"`{name}` has a hook's name but is not marked", "decorate it with @hookimpl"
            )
        _check_signature(method, name, plugin)
        found.append(name)
    return tuple(found)


def _check_signature(method: Any, name: str, plugin: str) -> None:
    wanted = list(inspect.signature(getattr(HookSpecs, name)).parameters.values())[1:]
    signature = ", ".join(str(p) if p.default is not p.empty else p.name for p in wanted)
    fix = f"write `{'async ' if name in _COROUTINES else ''}def {name}(self{', ' * bool(wanted)}{signature})`"
    try:
        given = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError) as error:
        raise _wrong(method, plugin, f"the signature of `{name}` cannot be read: {error}", fix) from None
    names = [p.name for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) != len(given) or names != [p.name for p in wanted]:
        raise _wrong(method, plugin, f"`{name}` takes ({', '.join(map(str, given))})", fix)
    if name in _COROUTINES and not inspect.iscoroutinefunction(method):
        raise _wrong(method, plugin, f"`{name}` is not a coroutine function", fix)
    if name in _PLAIN and inspect.iscoroutinefunction(method):
        raise _wrong(method, plugin, f"`{name}` is a coroutine function, and nobody awaits it", fix)


def _wrong(method: Any, plugin: str, what: str, fix: str) -> PluginLoadError:
    code = getattr(inspect.unwrap(getattr(method, "__func__", method)), "__code__", None)
    place = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return PluginLoadError(f"plugin {plugin!r}: {what}{place}", hint=fix, provider=plugin)
