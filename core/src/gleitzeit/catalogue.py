"""What instances offer, asked once and kept until they announce a change."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

from attrs import evolve, field, frozen

from gleitzeit.contracts import Lock, Locked
from gleitzeit.errors import ConfigError, DeadlineError, GleitzeitError, PluginError
from gleitzeit.modeldata import Known
from gleitzeit.registry import Instance, Registry
from gleitzeit.registry.broadcast import ask
from gleitzeit.shaping import Kept, shape
from gleitzeit.values import Model, Prompt, Resource, Tool

__all__ = ["Catalogue", "Offer", "Thing"]

Thing: TypeAlias = Literal["models", "tools", "resources", "prompts"]
Item = TypeVar("Item", Model, Tool, Resource, Prompt)
TYPES: Final[dict[Thing, Any]] = {"models": Model, "tools": Tool, "resources": Resource, "prompts": Prompt}

#: Seconds beyond their time in which hooks that are given up end.
BREATH: Final = 0.5
#: Fields of a model that data files may know.
_OPEN: Final = ("context_tokens", "output_tokens", "metadata")


@frozen(kw_only=True)
class Offer:
    """What one instance offers of one thing; `error` says why it is not, or no longer, what it seems.

    With an error, `items` is what was known before (`stale`) or what needs no asking. `pending` is an
    instance that is still being asked, as it starts or is slow: a change is announced when it has
    answered. `kept` is what nobody may use, and `own` the provider's name for each tool that the
    operator has renamed.
    """

    instance: str = field(kw_only=False)
    items: tuple[Any, ...] = ()
    error: GleitzeitError | None = None
    stale: bool = False
    pending: bool = False
    kept: tuple[Kept, ...] = ()
    own: Mapping[str, str] = field(factory=dict)


class _Asking:
    """An instance that is being asked."""

    def __init__(self, task: asyncio.Task[Offer], since: float) -> None:
        self.task = task
        self.since = since
        #: Has somebody gone on without its answer?
        self.late = False


class Catalogue:
    """Offers by instance. Asking is single-flight; what is known is forgotten on `forget`.

    `on_late` hears of an instance that has answered after somebody went on without it.
    """

    def __init__(self, registry: Registry, on_late: Callable[[str], None] = lambda name: None) -> None:
        self._registry = registry
        self._on_late = on_late
        self._known: dict[tuple[str, Thing], Offer] = {}
        self._old: dict[tuple[str, Thing], Offer] = {}
        self._asking: dict[tuple[str, Thing], _Asking] = {}
        self._changes: Counter[str] = Counter()
        self._data = Known(registry.config.host.model_data)
        path = registry.config.host.tools_lock
        self._locked = None if path is None else Locked(path)
        #: What the operator has made of an offer: the offer, the lock of that moment, the result.
        self._shaped: dict[tuple[str, Thing], tuple[Offer, object, Offer]] = {}
        registry.watch(lambda instance: self.forget(instance.name))

    def known(self, instance: Instance, thing: Thing) -> Offer | None:
        """What was asked before, without asking."""
        return self._known.get((instance.name, thing)) or self._old.get((instance.name, thing))

    def static(self, instance: Instance) -> tuple[Model, ...]:
        """The models known without asking: last-known live ones, else static ones."""
        offer = self.known(instance, "models")
        return instance.models if offer is None or not offer.items else offer.items

    def described(self, instance: Instance, name: str, model: Model | None) -> Model | None:
        """The model with what data files know beside; None where nobody knows anything of the name."""
        said = {} if model is None else {key: getattr(model, key) for key in _OPEN}
        more = self._data.add(said, name, instance.config, instance.entry)
        if not more:
            return model
        return Model(name, **more) if model is None else evolve(model, **more)

    async def offer(self, instance: Instance, thing: Thing, wait: float = math.inf) -> Offer:
        """What the instance offers; it is started for that. Failures are in the offer.

        Where it has not answered within `wait` seconds after somebody first asked, the offer is `pending`.
        """
        return self._shape(instance, thing, await self.raw(instance, thing, wait))

    async def raw(self, instance: Instance, thing: Thing, wait: float = math.inf) -> Offer:
        """As `offer`, in the provider's own words, and with nothing kept back."""
        key = instance.name, thing
        known = self._known.get(key)
        if known is not None:
            return known
        asking = self._asking.get(key)
        if asking is None:
            task = asyncio.create_task(self._ask(instance, thing), name=f"gleitzeit offer {key}")
            asking = self._asking[key] = _Asking(task, time.monotonic())
            task.add_done_callback(lambda _: self._asked(key))
        if wait == math.inf:
            return await asyncio.shield(asking.task)
        left = asking.since + wait - time.monotonic()
        await asyncio.wait({asking.task}, timeout=max(left, 0.0))
        if asking.task.done():
            return asking.task.result()
        asking.late = True
        error = DeadlineError(
            f"{instance.name!r} has not said so far what {thing} it offers; it may be starting",
            hint="it is still being asked: ask again later, or see `gleitzeit health`",
            provider=instance.name,
            sent=False,
        )
        return self._instead(instance, thing, error, pending=True)

    async def offers(
        self, thing: Thing, instances: Iterable[Instance] | None = None, *, wait: float | None = None
    ) -> list[Offer]:
        """What all providers, or the given ones, offer: asked at once.

        Those that take more than `wait` seconds, `host.hook_timeout` if None, hold nobody up: see `Offer`.
        """
        if instances is None:
            instances = [
                instance for instance in self._registry.of_kind("provider") if instance.config.enabled
            ]
        if wait is None:  # a hook that is given up at its end says so itself
            wait = self._registry.config.host.hook_timeout + BREATH
        return list(await asyncio.gather(*(self.offer(instance, thing, wait) for instance in instances)))

    def forget(self, name: str) -> None:
        """What this instance offers has changed: ask again when next needed."""
        self._changes[name] += 1
        for key in [key for key in self._known if key[0] == name]:
            self._old[key] = self._known.pop(key)

    def drop(self, name: str) -> None:
        """The instance is gone for good."""
        self.forget(name)
        for key in [key for key in self._old if key[0] == name]:
            del self._old[key]
        for key in [key for key in self._shaped if key[0] == name]:
            del self._shaped[key]

    async def close(self) -> None:
        """Stop asking."""
        for asking in tuple(self._asking.values()):
            asking.late = False
            asking.task.cancel()
            await asyncio.wait({asking.task})

    def guards(self, instance: Instance) -> bool:
        """May tools of the instance be kept back?"""
        return self._locked is not None or bool(instance.config.tools)

    def approved(self) -> Lock | ConfigError | None:
        """What the lock file now says: the same object until it changes; None where none is enforced."""
        return None if self._locked is None else self._locked.now()

    def _shape(self, instance: Instance, thing: Thing, offer: Offer) -> Offer:
        """The offer as the operator wants it, with the lock file as it now is."""
        if thing == "models" or not self.guards(instance):
            return offer
        lock = self.approved()
        key = instance.name, thing
        before = self._shaped.get(key)
        if before is not None and before[0] is offer and before[1] is lock:
            return before[2]
        shaped = shape(instance.config, thing, offer.items, lock)
        found = evolve(offer, items=shaped.items, kept=shaped.kept, own=shaped.own)
        self._shaped[key] = offer, lock, found
        return found

    def _asked(self, key: tuple[str, Thing]) -> None:
        """The instance has answered."""
        asking = self._asking.pop(key)
        if asking.late and key in self._known:
            self._on_late(key[0])

    def _static(self, instance: Instance, thing: Thing) -> tuple[Model, ...]:
        """What needs no asking."""
        return self._described(instance, instance.models) if thing == "models" else ()

    def _instead(
        self, instance: Instance, thing: Thing, error: GleitzeitError, *, pending: bool = False
    ) -> Offer:
        """The offer of an instance that cannot be asked: what was known before, or what needs no asking."""
        known = self._old.get((instance.name, thing))
        items = self._static(instance, thing) if known is None else known.items
        return Offer(instance.name, items=items, error=error, stale=known is not None, pending=pending)

    async def _ask(self, instance: Instance, thing: Thing) -> Offer:
        key = instance.name, thing
        try:
            built = await instance.start()
        except GleitzeitError as error:
            return self._instead(instance, thing, error)
        hook = f"provide_{thing}"
        own = thing == "models" and _replaced(instance, built)
        if hook not in instance.hooks or own:
            offer = self._known[key] = Offer(instance.name, items=self._static(instance, thing))
            return offer
        changes = self._changes[instance.name]
        more = getattr(built, "warm_up", 0.0)
        patience = self._registry.config.host.hook_timeout + (more if isinstance(more, float) else 0.0)
        outcome = await ask(instance.name, hook, getattr(built, hook), patience)
        if outcome.error is None:
            offer = _offer(instance, thing, outcome.value)
            if thing == "models":
                offer = evolve(offer, items=self._described(instance, offer.items))
        else:
            cause = outcome.error
            failure = cause if isinstance(cause, GleitzeitError) else _failed(instance, hook, cause)
            offer = self._instead(instance, thing, failure)
        if offer.error is None and changes == self._changes[instance.name]:
            self._known[key] = offer
            self._old.pop(key, None)
        return offer

    def _described(self, instance: Instance, models: Iterable[Model]) -> tuple[Model, ...]:
        return tuple(self.described(instance, model.name, model) or model for model in models)


def _replaced(instance: Instance, built: Any) -> bool:
    """Does the operator's list take the place of the plugin's, which has not read it itself?"""
    return bool(instance.config.models) and not getattr(getattr(built, "config", None), "models", None)


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
    return Offer(instance.name, items=items, stale=any(item.metadata.get("stale") for item in items))


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
