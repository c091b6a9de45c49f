"""The corridor: compiles a route once, then every call of every kind walks it.

resolve → deadline → votes on the request → wrap_call ( attempts: votes on the target →
lease → wrap_attempt ( provider.call ) ) → reply or stream
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from gleitzeit.config import Config
from gleitzeit.errors import DeadlineError, GleitzeitError, PluginError, SecurityDeniedError
from gleitzeit.kinds import Handler, Middleware, Strategy
from gleitzeit.registry import Hook, Instance, Registry
from gleitzeit.resilience import Deadline, StreamGuard
from gleitzeit.routing import Resolved, Router
from gleitzeit.values import Attempt, Operation, Reply, Request, Route, Stream, Target, Verdict

__all__ = ["Corridor", "Pipeline"]

MAX_MEMO: Final = 4096
MAX_COMPILES: Final = 100
HEAL_AFTER: Final = 1.0
ORDERED: Final = "ordered"
Voter: TypeAlias = Callable[[Request, Target | None], Verdict | None | Awaitable[Verdict | None]]
Order: TypeAlias = Callable[[Request], Sequence["_Leg"]]


@frozen
class _Leg:
    """One target of a corridor: its instance, and its call with what is wrapped around an attempt."""

    target: Target
    instance: Instance
    handler: Handler


@frozen(kw_only=True)
class Corridor:
    """A compiled route; valid while the registry's epoch is `epoch`."""

    epoch: int
    #: When to look again for targets that could not be reached, in `time.monotonic()` seconds.
    until: float
    route: Route
    legs: tuple[_Leg, ...]
    failed: tuple[Attempt, ...]
    voters: tuple[tuple[str, Voter], ...]
    handler: Handler = field(repr=False)


class Pipeline:
    """Runs calls. One per host."""

    def __init__(self, config: Config, registry: Registry, router: Router) -> None:
        self._config = config
        self._registry = registry
        self._router = router
        self._memo: dict[tuple[str, type[Operation]], Corridor] = {}
        self._under_way = 0
        self._quiet: asyncio.Event | None = None

    async def call(self, request: Request) -> Reply:
        """The whole answer; a stream that a provider gives anyway is collected."""
        request = self._dated(request)
        with Deadline(request.deadline, f"the call to {request.target}"):
            self._begin()
            try:
                answer = await self._run(request)
                return await answer.collect() if isinstance(answer, Stream) else answer
            finally:
                self._end()

    def stream(self, request: Request) -> Stream:
        """The answer as a stream, asked for when it is entered or read."""

        async def open() -> Stream:
            begun = self._dated(request).evolve(stream=True)
            with Deadline(begun.deadline, f"the call to {begun.target}"):
                self._begin()
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

    def _begin(self) -> None:
        self._under_way += 1

    def _end(self) -> None:
        self._under_way -= 1
        if self._quiet is not None and not self._under_way:
            self._quiet.set()

    def _dated(self, request: Request) -> Request:
        """The request with a deadline: its own, or the host's."""
        if request.deadline is not None:
            return request
        return request.evolve(deadline=time.monotonic() + self._config.host.timeout)

    async def _run(self, request: Request) -> Reply | Stream:
        name, operation = str(request.target), type(request.operation)
        corridor = self._memo.get((name, operation))
        if (
            corridor is None
            or corridor.epoch != self._registry.epoch
            or (corridor.failed and corridor.until < time.monotonic())
        ):
            corridor = await self._compile(name, operation)
        if corridor.voters:
            await _vote(corridor.voters, request, None)
        try:
            return await corridor.handler(request)
        except GleitzeitError:
            raise
        except Exception as error:
            raise PluginError(
                f"a middleware of {name!r} raised {type(error).__name__}: {error}",
                hint="this is a fault of its plugin",
            ) from error

    async def _compile(self, name: str, operation: type[Operation]) -> Corridor:
        """A corridor for what is alive now. Published only if nothing has changed meanwhile."""
        for _ in range(MAX_COMPILES):
            await self._check_guards()
            epoch = self._registry.epoch
            resolved = await self._router.resolve(name, operation)
            strategy = None
            if resolved.strategy != ORDERED:
                strategy = await self._registry.driver("strategy", resolved.strategy)
            if epoch != self._registry.epoch:
                continue  # starting an instance is such a change; from here on nothing is awaited
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            corridor = self._memo[name, operation] = self._fold(name, operation, resolved, strategy, epoch)
            return corridor
        raise PluginError(
            f"the plugins change faster than {name!r} can be resolved", hint="see `gleitzeit plugins`"
        )

    def _fold(
        self, name: str, operation: type[Operation], resolved: Resolved, strategy: Strategy | None, epoch: int
    ) -> Corridor:
        route = Route(
            name,
            operation=operation.kind,
            targets=tuple(target for target, _ in resolved.targets),
            strategy=resolved.strategy,
        )
        attempt_hooks, call_hooks = self._registry.hooks("wrap_attempt"), self._registry.hooks("wrap_call")
        legs = tuple(
            _Leg(target, instance, _wrap(_asking(target, instance), attempt_hooks, target))
            for target, instance in resolved.targets
        )
        order = None if strategy is None else _order(strategy, route, legs)
        voters = tuple((hook.instance.name, hook.function) for hook in self._registry.hooks("security_check"))
        handler = _wrap(_attempts(legs, resolved.failed, voters, order), call_hooks, route)
        return Corridor(
            epoch=epoch,
            until=time.monotonic() + HEAL_AFTER,
            route=route,
            legs=legs,
            failed=resolved.failed,
            voters=voters,
            handler=handler,
        )

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


async def _vote(voters: tuple[tuple[str, Voter], ...], request: Request, target: Target | None) -> None:
    """Hear every vote; raises `SecurityDeniedError` with all denials if there is one."""
    denials: list[str] = []
    for name, check in voters:
        try:
            verdict: Any = check(request, target)
            if verdict is None:
                continue
            if not isinstance(verdict, Verdict) and inspect.isawaitable(verdict):
                verdict = await verdict
            if verdict is None or (isinstance(verdict, Verdict) and verdict.allowed is True):
                continue
            reason = (
                verdict.reason
                if isinstance(verdict, Verdict)
                else f"gave {type(verdict).__name__}, not a Verdict"
            )
            denials.append(f"{name}: {reason}")
        except Exception as error:  # noqa: BLE001 - no vote may get lost: an exception is a deny
            denials.append(f"{name}: raised {type(error).__name__}")
    if denials:
        raise SecurityDeniedError(
            f"denied by {'; '.join(denials)}",
            votes=tuple(denials),
            provider=target.instance if target else None,
            sent=False,
        )


def _attempts(
    legs: tuple[_Leg, ...],
    failed: tuple[Attempt, ...],
    voters: tuple[tuple[str, Voter], ...],
    order: Order | None,
) -> Handler:
    """Ask the targets in order until one answers, moving on only where nothing can happen twice."""

    async def attempts(request: Request) -> Reply | Stream:
        errors = failed
        chosen = legs if order is None else order(request)
        for leg in chosen:
            attempt = request.evolve(target=leg.target)
            try:
                if voters:
                    await _vote(voters, attempt, leg.target)
                if request.data_class == "private" and not leg.target.local:
                    raise _leaving(leg.target)
                answer = await leg.handler(attempt)
                if isinstance(answer, Reply):
                    return answer.evolve(target=leg.target, attempts=errors)
                await answer.prime()
            except GleitzeitError as error:
                error.attempts = errors
                if leg is chosen[-1] or not _may_move_on(error, request.operation):
                    raise
                errors = (
                    *errors,
                    Attempt(leg.target, error=error, usage=getattr(error.partial, "usage", None)),
                )
            else:
                answer.target, answer.attempts = leg.target, errors
                return answer
        raise PluginError("the strategy of the route chose no target", hint="see its plugin")

    return attempts


def _leaving(target: Target) -> SecurityDeniedError:
    """No guard is needed to keep a private request here."""
    reason = f"the request is private and {target} is not local"
    return SecurityDeniedError(
        f"denied by the host: {reason}",
        votes=(f"host: {reason}",),
        hint="choose a local target, or set local = true where no byte leaves this machine",
        provider=target.instance,
        sent=False,
    )


def _order(strategy: Strategy, route: Route, legs: tuple[_Leg, ...]) -> Order:
    by_target = {id(leg.target): leg for leg in legs}

    def order(request: Request) -> list[_Leg]:
        return [by_target[id(target)] for target in strategy.order(route, request)]

    return order


def _may_move_on(error: GleitzeitError, operation: Operation) -> bool:
    if isinstance(error, SecurityDeniedError):
        return True  # of this target; another may be allowed, and is asked
    return error.fallback and (error.sent is False or operation.idempotent)


def _asking(target: Target, instance: Instance) -> Handler:
    """The provider's `call` under a lease, its failures typed."""
    name, built = target.instance, instance.object
    ask = built.call

    def typed(error: BaseException) -> BaseException:
        if isinstance(error, GleitzeitError):
            error.provider = error.provider or name
            return error
        if isinstance(error, TimeoutError):
            return DeadlineError(f"{name}: {str(error) or 'timed out'}", provider=name)
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            return error
        return PluginError(
            f"provider {name!r} raised {type(error).__name__}: {instance.scrub(str(error))}",
            hint="this is a fault of the plugin",
            provider=name,
        )

    async def asking(request: Request) -> Reply | Stream:
        if instance.object is not built:  # while the call waited for a vote, a middleware, another target
            raise PluginError(f"{name!r} was stopped before the call reached it", provider=name, sent=False)
        lease = Deadline(None, "")
        with lease:
            instance.leases.add(lease)
            try:
                answer = await ask(request)
                if isinstance(answer, Stream):
                    guard = StreamGuard(request.deadline, f"the stream from {target}", typed)
                    instance.leases.add(guard)
                    answer.watch(guard).tap(on_end=lambda end: instance.release(guard))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and lease.cancelled:
                    raise
                failure = typed(error)
                if failure is error:
                    raise
                raise failure from error
            finally:
                instance.release(lease)
        if not isinstance(answer, (Reply, Stream)):
            raise PluginError(
                f"provider {name!r} answered with {type(answer).__name__}",
                hint="`call` must give a Reply or a Stream",
            )
        return answer

    return asking


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
