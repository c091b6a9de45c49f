"""Names become targets: configured route > alias > `instance/name` = exact id > pattern > live list."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from attrs import evolve, field, frozen

from gleitzeit.catalogue import Catalogue, Offer, Thing
from gleitzeit.config import Config, RouteConfig
from gleitzeit.errors import (
    AmbiguousModelError,
    ConfigError,
    GleitzeitError,
    InvalidRequestError,
    SecurityDeniedError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.registry import Instance, Registry
from gleitzeit.shaping import Kept, said_of
from gleitzeit.values import Attempt, Choice, Model, Operation, Prompt, Route, Target, Tool

__all__ = ["BACKING", "ORDERED", "Resolved", "Router", "denial"]

Claim = TypeVar("Claim", bound="tuple[Instance, str, object]")

#: The strategy of a route that names none: its targets in the order in which they are written.
ORDERED: Final = "ordered"
#: Stands among the names that led to a tool which is the fallback of another: it has none of its own.
BACKING: Final = "(fallback)"

#: What the target of an operation is; every other operation is one on models.
THINGS: Final[dict[str, Thing | None]] = {
    "tool_call": "tools",
    "get_prompt": "prompts",
    "invoke": None,
    "read_resource": None,
}


@frozen
class Resolved:
    """What a name stands for, all instances of it started, and the targets that cannot be reached.

    `backed` are, by identity, the repeatable tools with another behind them, which is asked when they
    report a failure. `denied` are the tools that no method may reach either, by their provider's names.
    """

    route: Route
    failed: tuple[Attempt, ...] = ()
    backed: frozenset[int] = frozenset()
    denied: Mapping[str, Kept] = field(factory=dict)


class Router:
    """Resolves names. Asks providers only where what is known does not suffice."""

    def __init__(self, config: Config, registry: Registry, catalogue: Catalogue) -> None:
        self._config = config
        self._registry = registry
        self._catalogue = catalogue

    async def resolve(
        self,
        name: str,
        operation: type[Operation],
        via: tuple[str, ...] = (),
        *,
        strategy: str | None = None,
    ) -> Resolved:
        """The route behind `name` for this kind of operation, the instances of its targets started.

        `via` are the aliases and routes that led here; with any, `instance/name` is no question of
        luck but the operator's word. `strategy` replaces that of a configured route, where it allows
        it. Raises `UnknownModelError` with near names, `AmbiguousModelError`, `UnsupportedError`,
        `InvalidRequestError` for the strategy, or what keeps the only target from running.
        """
        if name not in via:
            route = self._config.routes.get(name)
            if route is not None:
                return await self._route(route, _strategy(route, strategy), operation, (*via, name))
            if name in self._config.aliases:
                alias = self._config.aliases[name]
                return await self.resolve(alias, operation, (*via, name), strategy=strategy)
        elif self._provider(name.partition("/")[0]) is None:
            raise ConfigError(
                f"{name!r} refers to itself: {' -> '.join((*via, name))}", hint="see [aliases], [routes]"
            )
        if strategy is not None:
            raise InvalidRequestError(
                f"{name!r} is no route: there is nothing for the strategy {strategy!r} to choose from",
                hint=f"configure [routes.NAME], or leave the strategy out; routes: {_names(self._config)}",
                sent=False,
            )
        if operation.kind == "tool_call":
            return await self._tool(name, operation, via)
        return await self._own(name, operation, direct=bool(via))

    async def holder(self, name: str, via: tuple[str, ...] = ()) -> Instance | None:
        """The instance that is asked first for this model; None where nobody has it.

        Starts only those that have to be asked for their models, so none where the name is written
        down. Raises `AmbiguousModelError`, or what keeps the one from running that would have to say.
        """
        if name not in via:
            route = self._config.routes.get(name)
            ways = route.targets if route is not None else ()
            if name in self._config.aliases:
                ways = (self._config.aliases[name],)
            refused: GleitzeitError | None = None
            for way in ways:
                try:
                    found = await self.holder(way, (*via, name))
                except GleitzeitError as error:  # a call would go on to the next
                    refused = refused or error
                    continue
                if found is not None:
                    return found
            if refused is not None:
                raise refused
            if ways:
                return None
        try:
            return (await self._model(name, direct=bool(via)))[0][0]
        except UnknownModelError:
            return None

    async def _own(self, name: str, operation: type[Operation], *, direct: bool) -> Resolved:
        """What instances themselves have under this name."""
        claims = await self._claims(name, operation, direct=direct)
        targets: list[Target] = []
        failed: list[Attempt] = []
        for target, instance in claims:
            try:
                built = await instance.start()
                await self._approved(instance, built, operation)
                targets.append(self._placed(_serving(target, operation), instance))
            except GleitzeitError as error:
                if len(claims) == 1:
                    raise
                failed.append(Attempt(target, error=error))
        if not targets:
            raise failed[0].error.with_traceback(None)
        denied: dict[str, Kept] = {}
        if operation.kind == "invoke" and self._catalogue.guards(claims[0][1]):
            offer = await self._catalogue.offer(claims[0][1], "tools")
            if offer.error is not None:
                raise offer.error  # what must not be called is not known
            denied = {kept.own: kept for kept in offer.kept}
        route = Route(name, operation=operation.kind, targets=tuple(targets))
        return Resolved(route, tuple(failed), denied=denied)

    async def _approved(self, instance: Instance, built: Any, operation: type[Operation]) -> None:
        """Raise where a model's answers come from a tool that is not as it was approved."""
        behind = getattr(built, "tool_behind", None)
        asks_model = THINGS.get(operation.kind, "models") == "models"
        if behind is None or not asks_model or self._config.host.tools_lock is None:
            return
        offer = await self._catalogue.offer(instance, "tools")
        if offer.error is not None:
            raise offer.error  # whether it is as approved is not known
        kept = {each.own: each for each in offer.kept if each.why == "quarantined"}
        if kept:
            own = behind(operation, (await self._catalogue.raw(instance, "tools")).items)
            if own in kept:
                raise denial(f"{instance.name}/{own}", kept[own])

    async def _tool(self, name: str, operation: type[Operation], via: tuple[str, ...]) -> Resolved:
        """A tool, and behind it the one that the operator names for when it fails."""
        spare = self._spare_of(name)
        targets: tuple[Choice, ...] = ()
        try:
            found = await self._own(name, operation, direct=True)
        except GleitzeitError as error:
            if spare is None or not error.fallback or isinstance(error, UnknownModelError):
                raise
            failed: tuple[Attempt, ...] = (_unreached(name, error),)
        else:
            targets, failed = found.route.targets, found.failed
            first = next(found.route.leaves())
            instance = self._provider(first.instance)
            spare = None if instance is None else said_of(instance.config, first.name).get("fallback")
        backed: frozenset[int] = frozenset()
        if spare is not None and BACKING not in via:
            try:
                more = await self.resolve(spare, operation, (*via, name, BACKING))
            except GleitzeitError as error:
                failed = (*failed, _unreached(spare, error))
            else:
                backed = frozenset(id(target) for target in targets)
                targets, failed = (*targets, *more.route.targets), (*failed, *more.failed)
        if not targets:
            raise failed[0].error.with_traceback(None)
        return Resolved(Route(name, operation=operation.kind, targets=targets), failed, backed)

    def _spare_of(self, name: str) -> str | None:
        """The fallback of a tool whose instance cannot even say what it offers."""
        head, _, tail = name.partition("/")
        instance = self._provider(head)
        if instance is None:
            return None
        renamed = [said for said in instance.config.tools.values() if said.get("rename") == tail]
        said = renamed[0] if renamed else said_of(instance.config, tail)
        return said.get("fallback")

    async def _claims(
        self, name: str, operation: type[Operation], *, direct: bool
    ) -> list[tuple[Target, Instance]]:
        """The target of this name, before its instance is asked where it runs.

        Several where their instances have priorities that settle who is asked first.
        """
        thing = THINGS.get(operation.kind, "models")
        if thing is None:
            instance = self._provider(name)
            if instance is None:
                raise self._unknown("provider", name, [i.name for i in self._providers()])
            return [(Target(instance.name, name=""), instance)]
        if thing == "models":
            return [
                (
                    Target(instance.name, name=own, model=self._catalogue.described(instance, own, model)),
                    instance,
                )
                for instance, own, model in await self._model(name, direct=direct)
            ]
        return [
            (Target(instance.name, name=own, tool=item if isinstance(item, Tool) else None), instance)
            for instance, own, item in await self._listed(name, thing)
        ]

    async def _route(
        self, route: RouteConfig, strategy: str, operation: type[Operation], via: tuple[str, ...]
    ) -> Resolved:
        choices: list[Choice] = []
        failed: list[Attempt] = []
        backed: frozenset[int] = frozenset()

        async def one(name: str) -> Resolved | Attempt:
            try:
                return await self.resolve(name, operation, via)
            except GleitzeitError as error:
                return _unreached(name, error)

        for found in await asyncio.gather(*(one(name) for name in route.targets)):
            if isinstance(found, Attempt):
                failed.append(found)
                continue
            inner = found.route
            alone = inner.name not in self._config.routes and not found.backed
            flat = alone or inner.strategy == strategy == ORDERED
            choices += inner.targets if flat else (inner,)
            failed += found.failed
            backed |= found.backed
        if not choices and failed:
            raise failed[0].error.with_traceback(None)
        resolved = Route(
            route.name,
            operation=operation.kind,
            targets=_once(choices, {}),
            strategy=strategy,
            options=route.options,
        )
        return Resolved(resolved, tuple(failed), backed)

    async def _model(self, name: str, *, direct: bool) -> list[tuple[Instance, str, Model | None]]:
        claims: list[tuple[Instance, str, Model | None]] = []
        head, slash, tail = name.partition("/")
        instance = self._provider(head) if slash else None
        refused: GleitzeitError | None = None
        if instance is not None and tail:
            try:
                claims.append((instance, tail, await self._own_model(instance, tail)))
                if direct:
                    return claims
            except UnknownModelError as error:
                refused = error
        for (
            other
        ) in self._providers():  # by what is written down: what was listed live depends on who asked before
            found = _named(other.models, name)
            if found is not None:
                claims.append((other, name, found))
        if not claims and refused is None:
            claims = [
                (other, name, None)
                for other in self._providers()
                if any(fnmatchcase(name, pattern) for pattern in other.patterns)
            ]
        if not claims:
            for offer in await self._catalogue.offers("models", self._providers()):
                found = _named(offer.items, name)
                offering = self._provider(offer.instance)
                if found is not None and offering is not None:
                    claims.append((offering, name, found))
        if not claims:
            raise refused or self._unknown("model", name, self._model_names())
        return self._settled("model", name, claims)

    async def _own_model(self, instance: Instance, name: str) -> Model | None:
        """The model of this instance by its own name; None where the instance takes any name."""
        found = _named(self._catalogue.static(instance), name)
        if found is not None:
            return found
        built = await instance.start()
        if not getattr(built, "complete", True) or any(
            fnmatchcase(name, pattern) for pattern in instance.patterns
        ):
            return None
        offer = await self._catalogue.offer(instance, "models")
        found = _named(offer.items, name)
        if found is None and offer.error is None:
            raise self._unknown(
                "model", f"{instance.name}/{name}", [f"{instance.name}/{m.name}" for m in offer.items]
            )
        return found

    async def _listed(self, name: str, thing: Thing) -> list[tuple[Instance, str, Tool | Prompt]]:
        """A tool or prompt: `instance/name`, or a bare name that one instance offers, or one first."""
        head, slash, tail = name.partition("/")
        instance = self._provider(head) if slash else None
        if instance is not None:
            offer = await self._catalogue.offer(instance, thing)
            found = next((item for item in offer.items if item.name == tail), None)
            if found is not None:
                return [(instance, offer.own.get(tail, tail), found)]
            _refuse_kept(name, tail, offer)
            if offer.error is not None:
                raise offer.error
            raise self._unknown(thing[:-1], name, [f"{head}/{item.name}" for item in offer.items])
        claims: list[tuple[Instance, str, Tool | Prompt]] = []
        names: list[str] = []
        offers = await self._catalogue.offers(thing, self._providers())
        for offer in offers:
            other = self._provider(offer.instance)
            for item in offer.items:
                names.append(f"{offer.instance}/{item.name}")
                if item.name == name and other is not None:
                    claims.append((other, offer.own.get(name, name), item))
        if not claims:
            for offer in offers:
                _refuse_kept(name, name, offer)
            raise self._unknown(thing[:-1], name, names)
        return self._settled(thing[:-1], name, claims)

    def _settled(self, what: str, name: str, claims: list[Claim]) -> list[Claim]:
        """The claims in the order of their instances' priorities, where one of them has the highest."""
        ranked = sorted(claims, key=lambda claim: -_priority(claim[0]))
        if len(ranked) > 1 and _priority(ranked[0][0]) == _priority(ranked[1][0]):
            raise self._ambiguous(what, name, claims)
        return ranked

    def _placed(self, target: Target, instance: Instance) -> Target:
        """The target with what only a started instance knows."""
        tool = target.tool is not None
        return evolve(
            target,
            plugin=instance.config.plugin,
            local=instance.local,
            sandbox=instance.sandbox,
            repeatable=tool and bool(said_of(instance.config, target.name).get("idempotent")),
        )

    def _provider(self, name: str) -> Instance | None:
        return self._registry.find("provider", name)

    def _providers(self) -> list[Instance]:
        return [instance for instance in self._registry.of_kind("provider") if instance.config.enabled]

    def _model_names(self) -> list[str]:
        models = [f"{i.name}/{model.name}" for i in self._providers() for model in self._catalogue.static(i)]
        return [*self._config.routes, *self._config.aliases, *models]

    def _unknown(self, what: str, name: str, names: list[str]) -> UnknownModelError:
        near = difflib.get_close_matches(name, names, 3, 0.5)
        if not near:
            bare = name.rpartition("/")[2]
            near = [full for full in names if full.rpartition("/")[2] == bare][:3]
        details: dict[str, Any] = (
            {}
            if near
            else {"hint": f"see `gleitzeit {what}s`" + (f"; known: {', '.join(names[:5])}" * bool(names))}
        )
        return UnknownModelError(f"no {what} {name!r}", near=tuple(near), sent=False, **details)

    def _ambiguous(
        self, what: str, name: str, claims: Iterable[tuple[Instance, str, object]]
    ) -> AmbiguousModelError:
        full = tuple(
            f"{instance.name}/{item.name if isinstance(item, Tool) else own}"
            for instance, own, item in claims
        )
        return AmbiguousModelError(
            f"{what} {name!r} is claimed by {' and '.join(full)}",
            claims=full,
            hint=f'settle it in the configuration: [aliases] "{name}" = "{full[0]}"',
            sent=False,
        )


def _once(choices: Iterable[Choice], known: dict[str, Route]) -> tuple[Choice, ...]:
    """The choices, where a route that is reached on several ways is the same object each time.

    It has one balancer, which knows its choices by identity.
    """
    found: list[Choice] = []
    for choice in choices:
        if isinstance(choice, Route):
            if choice.name not in known:
                known[choice.name] = evolve(choice, targets=_once(choice.targets, known))
            found.append(known[choice.name])
        else:
            found.append(choice)
    return tuple(found)


def denial(name: str, kept: Kept) -> GleitzeitError:
    """What is raised where something is called that is kept back."""
    if kept.why != "quarantined":
        return UnknownModelError(f"{name} is not offered: {kept.reason}", hint=kept.hint, sent=False)
    vote = f"{name} is quarantined: {kept.reason}"
    provider = name.partition("/")[0]
    return SecurityDeniedError(vote, votes=(vote,), hint=kept.hint, provider=provider, sent=False)


def _refuse_kept(name: str, tail: str, offer: Offer) -> None:
    """Raise what keeps this tool or prompt back, if anything does."""
    for kept in offer.kept:
        if tail in (kept.name, kept.own):
            raise denial(f"{offer.instance}/{kept.own}", kept)
    for shown, own in offer.own.items():
        if tail == own:
            what = f"no tool {name!r}: it is offered under another name"
            raise UnknownModelError(what, near=(f"{offer.instance}/{shown}",), sent=False)


def _unreached(name: str, error: GleitzeitError) -> Attempt:
    instance, _, own = name.partition("/")
    return Attempt(Target(instance, name=own), error=error)


def _named(models: Iterable[Model], name: str) -> Model | None:
    return next((model for model in models if model.name == name), None)


def _strategy(route: RouteConfig, wanted: str | None) -> str:
    """The strategy of the route, or the one that the request wants instead."""
    allowed = (route.strategy, *route.allow_strategies)
    if wanted is None or wanted in allowed:
        return wanted or route.strategy
    raise InvalidRequestError(
        f"route {route.name!r} does not allow the strategy {wanted!r}",
        hint=f'allowed: {", ".join(allowed)}; set allow_strategies = ["{wanted}"] in [routes.{route.name}]',
        sent=False,
    )


def _priority(instance: Instance) -> int:
    """The operator's word on who goes first, as servers have it."""
    given = instance.config.values.get("priority")
    return given if isinstance(given, int) and instance.config.section == "servers" else 0


def _serving(target: Target, operation: type[Operation]) -> Target:
    """The target; raises `UnsupportedError` where its model does not serve the operation."""
    model = target.model
    if model is not None and model.operations and operation.kind not in model.operations:
        raise UnsupportedError(
            f"{target} does not serve {operation.kind}",
            hint=f"it serves {', '.join(sorted(model.operations))}",
            provider=target.instance,
            sent=False,
        )
    return target


def _names(config: Config) -> str:
    return ", ".join(config.routes) or "none"
