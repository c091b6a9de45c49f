"""Names become targets: configured route > alias > `instance/name` = exact id > pattern > live list."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import evolve, frozen

from gleitzeit.catalogue import Catalogue, Thing
from gleitzeit.config import Config, RouteConfig
from gleitzeit.errors import (
    AmbiguousModelError,
    ConfigError,
    GleitzeitError,
    InvalidRequestError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.registry import Instance, Registry
from gleitzeit.values import Attempt, Choice, Model, Operation, Prompt, Route, Target, Tool

__all__ = ["ORDERED", "Resolved", "Router"]

#: The strategy of a route that names none: its targets in the order in which they are written.
ORDERED: Final = "ordered"

#: What the target of an operation is; every other operation is one on models.
THINGS: Final[dict[str, Thing | None]] = {
    "tool_call": "tools",
    "get_prompt": "prompts",
    "invoke": None,
    "read_resource": None,
}


@frozen
class Resolved:
    """What a name stands for, all instances of it started, and the targets that cannot be reached."""

    route: Route
    failed: tuple[Attempt, ...] = ()


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
        target, instance = await self._target_of(name, operation, direct=bool(via))
        await instance.start()
        model = target.model
        if model is not None and model.operations and operation.kind not in model.operations:
            raise UnsupportedError(
                f"{target} does not serve {operation.kind}",
                hint=f"it serves {', '.join(sorted(model.operations))}",
                provider=instance.name,
                sent=False,
            )
        return Resolved(Route(name, operation=operation.kind, targets=(self._placed(target, instance),)))

    async def _target_of(
        self, name: str, operation: type[Operation], *, direct: bool
    ) -> tuple[Target, Instance]:
        """The one target of this name, before its instance is asked where it runs."""
        thing = THINGS.get(operation.kind, "models")
        if thing is None:
            instance = self._provider(name)
            if instance is None:
                raise self._unknown("provider", name, [i.name for i in self._providers()])
            return Target(instance.name, name=""), instance
        if thing == "models":
            instance, own, model = await self._model(name, direct=direct)
            return Target(instance.name, name=own, model=model), instance
        instance, own, item = await self._listed(name, thing)
        return Target(instance.name, name=own, tool=item if isinstance(item, Tool) else None), instance

    async def _route(
        self, route: RouteConfig, strategy: str, operation: type[Operation], via: tuple[str, ...]
    ) -> Resolved:
        choices: list[Choice] = []
        failed: list[Attempt] = []

        async def one(name: str) -> Resolved | Attempt:
            try:
                return await self.resolve(name, operation, via)
            except GleitzeitError as error:
                instance, _, own = name.partition("/")
                return Attempt(Target(instance, name=own), error=error)

        for found in await asyncio.gather(*(one(name) for name in route.targets)):
            if isinstance(found, Attempt):
                failed.append(found)
                continue
            inner = found.route
            flat = inner.name not in self._config.routes or inner.strategy == strategy == ORDERED
            choices += inner.targets if flat else (inner,)
            failed += found.failed
        if not choices and failed:
            raise failed[0].error.with_traceback(None)
        resolved = Route(
            route.name,
            operation=operation.kind,
            targets=_once(choices, {}),
            strategy=strategy,
            options=route.options,
        )
        return Resolved(resolved, tuple(failed))

    async def _model(self, name: str, *, direct: bool) -> tuple[Instance, str, Model | None]:
        claims: list[tuple[Instance, str, Model | None]] = []
        head, slash, tail = name.partition("/")
        instance = self._provider(head) if slash else None
        refused: GleitzeitError | None = None
        if instance is not None and tail:
            try:
                claims.append((instance, tail, await self._own_model(instance, tail)))
                if direct:
                    return claims[0]
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
        if len(claims) > 1:
            raise self._ambiguous("model", name, claims)
        if not claims:
            raise refused or self._unknown("model", name, self._model_names())
        return claims[0]

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

    async def _listed(self, name: str, thing: Thing) -> tuple[Instance, str, Tool | Prompt]:
        """A tool or prompt: `instance/name`, or a bare name that one instance alone offers."""
        head, slash, tail = name.partition("/")
        instance = self._provider(head) if slash else None
        if instance is not None:
            offer = await self._catalogue.offer(instance, thing)
            found = next((item for item in offer.items if item.name == tail), None)
            if found is not None:
                return instance, tail, found
            if offer.error is not None:
                raise offer.error
            raise self._unknown(thing[:-1], name, [f"{head}/{item.name}" for item in offer.items])
        claims: list[tuple[Instance, str, Tool | Prompt]] = []
        names: list[str] = []
        for offer in await self._catalogue.offers(thing, self._providers()):
            other = self._provider(offer.instance)
            for item in offer.items:
                names.append(f"{offer.instance}/{item.name}")
                if item.name == name and other is not None:
                    claims.append((other, name, item))
        if len(claims) > 1:
            raise self._ambiguous(thing[:-1], name, claims)
        if not claims:
            raise self._unknown(thing[:-1], name, names)
        return claims[0]

    def _placed(self, target: Target, instance: Instance) -> Target:
        """The target with what only a started instance knows."""
        return evolve(target, plugin=instance.config.plugin, local=instance.local, sandbox=instance.sandbox)

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
        full = tuple(f"{instance.name}/{own}" for instance, own, _ in claims)
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


def _names(config: Config) -> str:
    return ", ".join(config.routes) or "none"
