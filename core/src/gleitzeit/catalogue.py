"""What instances offer, asked once and kept until they announce a change."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError, PluginError
from gleitzeit.registry import Instance, Registry
from gleitzeit.registry.broadcast import ask
from gleitzeit.values import Model, Prompt, Resource, Tool

__all__ = ["Catalogue", "Offer", "Thing"]

Thing: TypeAlias = Literal["models", "tools", "resources", "prompts"]
Item = TypeVar("Item", Model, Tool, Resource, Prompt)
TYPES: Final[dict[Thing, Any]] = {"models": Model, "tools": Tool, "resources": Resource, "prompts": Prompt}


@frozen(kw_only=True)
class Offer:
    """What one instance offers of one thing; `error` says why it is not, or no longer, what it seems.

    With an error, `items` is what was known before (`stale`) or what needs no asking.
    """

    instance: str = field(kw_only=False)
    items: tuple[Any, ...] = ()
    error: GleitzeitError | None = None
    stale: bool = False


class Catalogue:
    """Offers by instance. Asking is single-flight; what is known is forgotten on `forget`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, Thing], Offer] = {}
        self._old: dict[tuple[str, Thing], Offer] = {}
        self._asking: dict[tuple[str, Thing], asyncio.Task[Offer]] = {}
        self._changes: Counter[str] = Counter()
        registry.watch(lambda instance: self.forget(instance.name))

    def known(self, instance: Instance, thing: Thing) -> Offer | None:
        """What was asked before, without asking."""
        return self._known.get((instance.name, thing)) or self._old.get((instance.name, thing))

    def static(self, instance: Instance) -> tuple[Model, ...]:
        """The models known without asking: last-known live ones, else static ones."""
        offer = self.known(instance, "models")
        return instance.models if offer is None or not offer.items else offer.items

    async def offer(self, instance: Instance, thing: Thing) -> Offer:
        """What the instance offers; it is started for that. Failures are in the offer."""
        key = instance.name, thing
        known = self._known.get(key)
        if known is not None:
            return known
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(
                self._ask(instance, thing), name=f"gleitzeit offer {key}"
            )
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def offers(self, thing: Thing, instances: Iterable[Instance] | None = None) -> list[Offer]:
        """What all providers, or the given ones, offer: asked at once."""
        if instances is None:
            instances = [
                instance for instance in self._registry.of_kind("provider") if instance.config.enabled
            ]
        return list(await asyncio.gather(*(self.offer(instance, thing) for instance in instances)))

    def forget(self, name: str) -> None:
        """What this instance offers has changed: ask again when next needed."""
        self._changes[name] += 1
        for key in [key for key in self._known if key[0] == name]:
            self._old[key] = self._known.pop(key)

    async def close(self) -> None:
        """Stop asking."""
        for task in tuple(self._asking.values()):
            task.cancel()
            await asyncio.wait({task})

    async def _ask(self, instance: Instance, thing: Thing) -> Offer:
        key = instance.name, thing
        fallback = self._old.get(key)
        items = fallback.items if fallback is not None else instance.models if thing == "models" else ()
        try:
            built = await instance.start()
        except GleitzeitError as error:
            return Offer(instance.name, items=items, error=error, stale=fallback is not None)
        hook = f"provide_{thing}"
        if hook not in instance.hooks:
            offer = self._known[key] = Offer(
                instance.name, items=instance.models if thing == "models" else ()
            )
            return offer
        changes = self._changes[instance.name]
        outcome = await ask(
            instance.name, hook, getattr(built, hook), self._registry.config.host.hook_timeout
        )
        if outcome.error is None:
            offer = _offer(instance, thing, outcome.value)
        else:
            cause = outcome.error
            failure = cause if isinstance(cause, GleitzeitError) else _failed(instance, hook, cause)
            offer = Offer(instance.name, items=items, error=failure, stale=fallback is not None)
        if offer.error is None and changes == self._changes[instance.name]:
            self._known[key] = offer
            self._old.pop(key, None)
        return offer


def _offer(instance: Instance, thing: Thing, value: Any) -> Offer:
    """Check what a hook gave; wrong items are an error, right ones stay."""
    if not isinstance(value, tuple):
        return Offer(
            instance.name, error=_wrong(instance, thing, f"gave {type(value).__name__}, not {thing}")
        )
    items = tuple(item for item in value if isinstance(item, TYPES[thing]))
    wrong = [type(item).__name__ for item in value if not isinstance(item, TYPES[thing])]
    if wrong:
        return Offer(
            instance.name, items=items, error=_wrong(instance, thing, f"gave {', '.join(sorted(set(wrong)))}")
        )
    names = [item.uri if isinstance(item, Resource) else item.name for item in items]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        return Offer(
            instance.name, items=items, error=_wrong(instance, thing, f"offers twice: {', '.join(twice)}")
        )
    return Offer(instance.name, items=items)


def _wrong(instance: Instance, thing: Thing, what: str) -> PluginError:
    return PluginError(
        f"provide_{thing} of {instance.name!r} {what}",
        hint=f"it must give distinct {TYPES[thing].__name__} values",
        provider=instance.name,
    )


def _failed(instance: Instance, hook: str, cause: BaseException) -> PluginError:
    error = PluginError(
        f"{hook} of {instance.name!r} raised {type(cause).__name__}: {instance.scrub(str(cause))}",
        hint="see the plugin",
        provider=instance.name,
    )
    error.__cause__ = cause
    return error
