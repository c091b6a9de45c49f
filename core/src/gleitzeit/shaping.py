"""What an operator says of the tools of an instance, laid over what its provider offers.

Tools that are hidden, not as they were approved, or not to be told apart are kept back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from gleitzeit.config import InstanceConfig
from gleitzeit.contracts import Item, Lock
from gleitzeit.errors import ConfigError
from gleitzeit.near import near
from gleitzeit.values import Resource, Tool

__all__ = ["Kept", "Shaped", "Why", "said_of", "shape"]

logger = logging.getLogger(__name__)

#: Why something on offer is kept back.
Why: TypeAlias = Literal["hidden", "quarantined", "clash"]


@frozen(kw_only=True)
class Kept:
    """Something that a provider offers and that nobody may use; `own` is its provider's name for it."""

    item: Any = field(kw_only=False)
    own: str
    why: Why
    reason: str
    hint: str

    @property
    def name(self) -> str:
        """The name that it would be offered under, or its URI."""
        return self.item.uri if isinstance(self.item, Resource) else str(self.item.name)


@frozen
class Shaped:
    """The items on offer, those kept back, and for renamed ones the provider's own name."""

    items: tuple[Any, ...]
    kept: tuple[Kept, ...] = ()
    own: Mapping[str, str] = field(factory=dict)


_NOTHING: Final[Mapping[str, Any]] = {}


def said_of(config: InstanceConfig, own: str) -> Mapping[str, Any]:
    """What the operator says of the tool that its provider calls so; later globs go over earlier ones."""
    if not config.tools:
        return _NOTHING
    found: dict[str, Any] = {}
    for glob, said in config.tools.items():
        if fnmatchcase(own, glob):
            found.update(said)
            if "rename" in said:
                found["rename"] = _renamed(own, glob, said["rename"])
    return found


def shape(
    config: InstanceConfig, thing: str, items: Iterable[Item], lock: Lock | ConfigError | None
) -> Shaped:
    """What is on offer of tools, prompts or resources. With a broken lock nothing is that it would pin."""
    offered: list[tuple[str, Item]] = []
    kept: list[Kept] = []
    for item in items:
        name = item.uri if isinstance(item, Resource) else item.name
        said = said_of(config, name) if isinstance(item, Tool) else _NOTHING
        shown = _shown(item, said) if isinstance(item, Tool) and said else item
        # First, as a hidden tool may still stand for a model.
        fault = _fault(lock, thing, f"{config.name}/{name}", item)
        if fault is not None:
            kept.append(Kept(shown, own=name, why="quarantined", reason=fault[0], hint=fault[1]))
            continue
        if said.get("hidden"):
            hint = f"take out `hidden` in [{config.key}.tools]"
            kept.append(Kept(shown, own=name, why="hidden", reason="the operator hides it", hint=hint))
            continue
        offered.append((name, shown))
    if thing == "tools":
        _idle(config, [name for name, _ in offered] + [each.own for each in kept])
    if thing != "tools" or all(name == shown.name for name, shown in offered):
        return Shaped(tuple(shown for _, shown in offered), tuple(kept))
    good, clashing = _told_apart(config, offered)
    names = {id(shown): name for name, shown in offered}
    own = {str(shown.name): names[id(shown)] for shown in good if shown.name != names[id(shown)]}
    return Shaped(tuple(good), (*kept, *clashing), own)


def _idle(config: InstanceConfig, names: list[str]) -> None:
    """Warn of what is said of no tool: a name that is not right hides nothing."""
    for glob in config.tools if names else ():
        if not any(fnmatchcase(name, glob) for name in names):
            close = "".join(f"; did you mean {each!r}?" for each in near(glob, names)[:1])
            logger.warning("[%s.tools] %s: %s offers no such tool%s", config.key, glob, config.name, close)


def _shown(tool: Tool, said: Mapping[str, Any]) -> Tool:
    return evolve(
        tool,
        name=said.get("rename", tool.name),
        description=said.get("description", tool.description),
        category=said.get("category", tool.category),
        tags=tool.tags | frozenset(said.get("tags", ())),
    )


def _renamed(own: str, glob: str, new: str) -> str:
    if "*" not in new:
        return new
    before, _, after = glob.partition("*")
    return new.replace("*", own[len(before) : len(own) - len(after)])


def _fault(lock: Lock | ConfigError | None, thing: str, name: str, item: Item) -> tuple[str, str] | None:
    """Why the item is quarantined, and the next step; None where it is not."""
    if lock is None or (isinstance(item, Resource) and not item.template):
        return None
    if isinstance(lock, ConfigError):
        return lock.message, lock.hint or "write it: gleitzeit tools lock"
    what = lock.fault(thing, name, item)
    if what is None:
        return None
    return f"{what} since the tools were locked", f"gleitzeit tools diff; gleitzeit tools approve {name!r}"


def _told_apart(config: InstanceConfig, pairs: Iterable[tuple[str, Item]]) -> tuple[list[Item], list[Kept]]:
    """The items whose name no other has; the others are kept back, all of them."""
    groups: dict[str, list[tuple[str, Item]]] = {}
    for pair in pairs:
        groups.setdefault(str(pair[1].name), []).append(pair)
    good, bad = [], []
    for name, group in groups.items():
        if len(group) == 1:
            good.append(group[0][1])
            continue
        reason = f"{' and '.join(repr(own) for own, _ in group)} would both be called {name!r}"
        hint = f"give each its own `rename` in [{config.key}.tools]"
        bad += [Kept(item, own=own, why="clash", reason=reason, hint=hint) for own, item in group]
    return good, bad
