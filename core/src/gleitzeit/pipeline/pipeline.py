"""Runs calls: finds or compiles their corridor, holds their deadline, counts how they end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from attrs import evolve, field, frozen

from gleitzeit.config import Config
from gleitzeit.errors import (
    DeadlineError,
    GleitzeitError,
    PluginError,
    SecurityDeniedError,
    ToolFailedError,
)
from gleitzeit.kinds import Balancer, Handler, Middleware
from gleitzeit.pipeline.asking import asking
from gleitzeit.pipeline.attempts import Attempts
from gleitzeit.pipeline.gates import Gates
from gleitzeit.pipeline.legs import Leg, Watcher, arrange, legs
from gleitzeit.pipeline.tools import leading_on, refusing
from gleitzeit.pipeline.votes import Voters, vote
from gleitzeit.registry import Hook, Instance, Registry
from gleitzeit.resilience import Clock, Deadline
from gleitzeit.routing import ORDERED, Resolved, Router
from gleitzeit.stats import CallStats, Statistics
from gleitzeit.values import (
    Attempt,
    Health,
    Operation,
    Reply,
    Request,
    Route,
    Snapshot,
    Stream,
    StreamEnd,
    Target,
)
from gleitzeit.values.operations import dated

__all__ = ["Corridor", "Pipeline"]

MAX_MEMO: Final = 4096
MAX_COMPILES: Final = 100
HEAL_AFTER: Final = 1.0
#: The name under which calls are counted whose own name leads nowhere.
UNRESOLVED: Final = "(unresolved)"


@frozen(kw_only=True)
class Corridor:
    """A compiled route; valid while the registry's epoch is `epoch`."""

    epoch: int
    #: When to look again for targets that could not be reached, in `time.monotonic()` seconds.
    until: float
    legs: tuple[Leg, ...]
    failed: tuple[Attempt, ...]
    voters: Voters
    handler: Handler = field(repr=False)
    stats: CallStats = field(repr=False)


class Pipeline:
    """Runs calls. One per host."""

    def __init__(self, config: Config, registry: Registry, router: Router) -> None:
        self._config = config
        self._registry = registry
        self._router = router
        self._clock = Clock()
        self._statistics = Statistics()
        self._gates = Gates(config, registry, self._statistics)
        self._memo: dict[tuple[str, type[Operation], str | None], Corridor] = {}
        self._under_way = 0
        self._quiet: asyncio.Event | None = None

    async def call(self, request: Request) -> Reply:
        """The whole answer; a stream that a provider gives anyway is collected."""
        if request.deadline is None:
            request = self._dated(request)
        with Deadline(request.deadline, "the call to ", self._clock, of=request.target):
            self._under_way += 1
            try:
                answer = await self._run(request)
                return answer if isinstance(answer, Reply) else await _collected(answer)
            finally:
                self._end()

    def stream(self, request: Request) -> Stream:
        """The answer as a stream, asked for when it is entered or read."""

        async def open() -> Stream:
            begun = self._dated(request).evolve(stream=True)
            with Deadline(begun.deadline, "the call to ", self._clock, of=begun.target):
                self._under_way += 1
                try:
                    answer = await self._run(begun)
                finally:
                    self._end()  # from here on the stream's lease speaks for it
                return answer if isinstance(answer, Stream) else Stream.of(answer)

        return Stream.opening(open)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` until no call is under way, wherever on its way it may be."""
        if self._under_way:
            self._quiet = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._clock.close()

    def snapshot(self) -> Snapshot:
        """What has been counted so far."""
        return self._statistics.snapshot(self._gates.gauges())

    def drop(self, instance: str) -> None:
        """The instance is gone for good: another of its name begins anew."""
        self._gates.drop(instance)

    def probed(self, instance: str, health: Health) -> None:
        """Targets of an instance that a probe found ill are the last choice until one finds it well."""
        for gate in self._gates.of_instance(instance):
            if health.status == "error":
                gate.shun(2 * self._config.host.health_interval)
            elif health.status == "ok":
                gate.shun(0)

    def _end(self) -> None:
        self._under_way -= 1
        if self._quiet is not None and not self._under_way:
            self._quiet.set()

    def _dated(self, request: Request) -> Request:
        """The request with a deadline: its own, or the host's."""
        if request.deadline is not None:
            return request
        return dated(request, time.monotonic() + self._config.host.timeout)

    async def _run(self, request: Request) -> Reply | Stream:
        """Walk the corridor, and count how it ended: for a stream, when it ends."""
        begun = time.monotonic()
        key = str(request.target), type(request.operation), request.strategy
        corridor = self._memo.get(key)
        if (
            corridor is None
            or corridor.epoch != self._registry.epoch
            or (corridor.failed and corridor.until < begun)
        ):
            corridor = await self._counted(key, begun, request.deadline)
        stats = corridor.stats
        stats.in_flight += 1
        try:
            if corridor.voters:
                votes = vote(corridor.voters, request, None)
                if votes is not None:
                    await votes
            answer = await corridor.handler(request)
        except BaseException as error:
            stats.in_flight -= 1
            stats.call(_word(error, request.deadline), time.monotonic() - begun)
            if isinstance(error, Exception) and not isinstance(error, GleitzeitError):
                raise PluginError(
                    f"a middleware of {key[0]!r} raised {type(error).__name__}: {error}",
                    hint="this is a fault of its plugin",
                ) from error
            raise
        if answer.attempts and answer.attempts[0].target != answer.target:
            stats.fallbacks += 1
        if isinstance(answer, Stream):
            answer.tap(on_end=_counter(stats, begun))
        else:
            stats.in_flight -= 1
            stats.call(ToolFailedError.code if answer.is_error else "ok", time.monotonic() - begun)
        return answer

    async def _counted(
        self, key: tuple[str, type[Operation], str | None], begun: float, deadline: float | None
    ) -> Corridor:
        """A new corridor; a name that leads nowhere is counted as such."""
        try:
            return await self._compile(*key)
        except BaseException as error:
            # What is quarantined is there all the same, and its denials are those of its name.
            denied = isinstance(error, SecurityDeniedError) and key[0].startswith(f"{error.provider}/")
            stats = self._statistics.call(key[0] if denied else UNRESOLVED, key[1].kind)
            stats.call(_word(error, deadline), time.monotonic() - begun)
            raise

    async def _compile(self, name: str, operation: type[Operation], wanted: str | None) -> Corridor:
        """A corridor for what is alive now. Published only if nothing has changed meanwhile."""
        for _ in range(MAX_COMPILES):
            await self._check_guards()
            epoch = self._registry.epoch
            resolved = await self._router.resolve(name, operation, strategy=wanted)
            balancers: dict[str, Balancer | None] = {}
            await self._balancers(resolved.route, balancers)
            if epoch != self._registry.epoch:
                continue  # starting an instance is such a change; from here on nothing is awaited
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            corridor = self._fold(name, operation, resolved, balancers, epoch)
            self._memo[name, operation, wanted] = corridor
            return corridor
        raise PluginError(
            f"the plugins change faster than {name!r} can be resolved", hint="see `gleitzeit plugins`"
        )

    async def _balancers(self, route: Route, found: dict[str, Balancer | None]) -> None:
        """The balancers of a route and of the routes inside it, their strategies started."""
        strategy = None
        if route.strategy != ORDERED:
            strategy = await self._registry.driver("strategy", route.strategy)
        for choice in route.targets:
            if isinstance(choice, Route):
                await self._balancers(choice, found)
        try:
            found[route.name] = None if strategy is None else strategy.balancer(route)
        except GleitzeitError:
            raise
        except Exception as error:
            raise PluginError(
                f"the strategy {route.strategy!r} raised {type(error).__name__} for {route.name!r}: {error}",
                hint=f"see [routes.{route.name}] options, or its plugin",
                sent=False,
            ) from error

    def _fold(
        self,
        name: str,
        operation: type[Operation],
        resolved: Resolved,
        balancers: dict[str, Balancer | None],
        epoch: int,
    ) -> Corridor:
        attempt_hooks, call_hooks = self._registry.hooks("wrap_attempt"), self._registry.hooks("wrap_call")

        def leg(target: Target, watchers: tuple[Watcher, ...]) -> Leg:
            instance = self._instance(target)
            gate = self._gates.of(target, instance)
            innermost = asking(target, instance, self._gates.timeouts(gate, operation), self._clock)
            if resolved.denied:
                innermost = refusing(innermost, target, resolved.denied)
            if target.repeatable and id(target) in resolved.backed:
                innermost = leading_on(innermost, target)
            return Leg(target, _wrap(innermost, attempt_hooks, target), gate, watchers)

        tree = arrange(resolved.route, leg, balancers)
        voters = _named(self._registry.hooks("security_check"))
        attempts = Attempts(
            tree,
            failed=resolved.failed,
            voters=voters,
            deciders=_named(self._registry.hooks("retry_policy")),
        )
        return Corridor(
            epoch=epoch,
            until=time.monotonic() + HEAL_AFTER,
            legs=tuple(legs(tree)),
            failed=resolved.failed,
            voters=voters,
            handler=_wrap(attempts, call_hooks, evolve(resolved.route, name=name)),
            stats=self._statistics.call(name, operation.kind),
        )

    def _instance(self, target: Target) -> Instance:
        instance = self._registry.find("provider", target.instance)
        assert instance is not None, "the router gives targets of instances that there are"
        return instance

    async def _check_guards(self) -> None:
        """A configured guard that is not active, and does not become so now, denies every call."""
        if self._registry.missing_guards:
            await self._registry.start(self._registry.missing_guards)
        missing = self._registry.missing_guards
        if missing:
            votes = tuple(f"{guard.name}: {guard.reason or guard.state.value}" for guard in missing)
            raise SecurityDeniedError(
                f"a configured guard is not active: {'; '.join(votes)}",
                votes=votes,
                hint="mend it, or remove it from the configuration",
                provider=missing[0].name,
                sent=False,
            )


async def _collected(stream: Stream) -> Reply:
    """The whole answer; a `Deadline` that ends it hears who was answering."""
    try:
        return await stream.collect()
    except asyncio.CancelledError as error:
        if stream.target is not None:
            error.provider = stream.target.instance  # type: ignore[attr-defined]  # a `Deadline` hands it on
        raise


def _named(hooks: tuple[Hook, ...]) -> tuple[tuple[str, Callable[..., Any]], ...]:
    return tuple((hook.instance.name, hook.function) for hook in hooks)


def _word(error: BaseException, deadline: float | None = None) -> str:
    if isinstance(error, GleitzeitError):
        return error.code
    if isinstance(error, Exception):
        return PluginError.code
    # The `Deadline` around a call makes an error of its own cancellation only after it was counted here.
    return DeadlineError.code if deadline is not None and time.monotonic() >= deadline else "cancelled"


def _counter(stats: CallStats, begun: float) -> Callable[[StreamEnd], None]:
    """Counts the end of a stream."""

    def ended(end: StreamEnd) -> None:
        stats.in_flight -= 1
        if end.outcome == "finished":
            word = ToolFailedError.code if end.is_error else "ok"
        else:
            word = "cancelled" if end.error is None else _word(end.error)
        stats.call(word, time.monotonic() - begun)

    return ended


def _wrap(handler: Handler, hooks: tuple[Hook, ...], about: Any) -> Handler:
    """Fold the middlewares that the hooks give around `handler`, the first hook outermost."""
    for hook in reversed(hooks):
        try:
            middleware: Middleware | None = hook.function(about)
        except Exception as error:
            raise PluginError(
                f"{hook.function.__name__} of {hook.instance.name!r} raised {type(error).__name__}: "
                + hook.instance.scrub(str(error)),
                hint="a middleware cannot be left out silently; mend or disable the plugin",
                provider=hook.instance.name,
            ) from error
        if middleware is not None:
            handler = _around(middleware, handler)
    return handler


def _around(middleware: Middleware, handler: Handler) -> Handler:
    return lambda request: middleware(request, handler)
