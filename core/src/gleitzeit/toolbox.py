"""The tools of all instances: listed, chosen by names, patterns, sets, categories and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from attrs import field, frozen

from gleitzeit.catalogue import Catalogue
from gleitzeit.config import Config
from gleitzeit.contracts import THINGS, Lock, Pin
from gleitzeit.deferral import SEARCH
from gleitzeit.errors import GleitzeitError, UnknownModelError
from gleitzeit.near import near
from gleitzeit.registry import Instance, Registry
from gleitzeit.routing import Router
from gleitzeit.shaping import Why
from gleitzeit.values import Operation, Resource, Tool, ToolCall

__all__ = ["ToolInfo", "Toolbox"]

#: What the manifest of a plugin says that offers the tool `search_tools`.
CAPABILITY: Final = "tool_search"
_PATTERN: Final = frozenset("*?[")


@frozen(kw_only=True)
class ToolInfo:
    """A tool of an instance. `name` is how it is called, `own` its provider's name for it.

    Where `why` is not None nobody can call it, and `reason` and `hint` say more.
    """

    name: str = field(kw_only=False)
    instance: str
    own: str
    tool: Tool
    why: Why | None = None
    reason: str = ""
    hint: str = ""


class Toolbox:
    """Finds tools. Asks every provider what it offers; where one fails, what was known last holds."""

    def __init__(self, config: Config, registry: Registry, catalogue: Catalogue, router: Router) -> None:
        self._config = config
        self._registry = registry
        self._catalogue = catalogue
        self._router = router

    async def all(
        self,
        *,
        category: str | None = None,
        tags: Iterable[str] = (),
        set: str | None = None,
        wait: float | None = None,
    ) -> list[ToolInfo]:
        """The tools of one category, with all of these tags, in one set; those kept back come last.

        `wait` as in `Host.offers`. Raises `UnknownModelError` for a set that is not configured.
        """
        wanted = frozenset((tags,) if isinstance(tags, str) else tags)
        infos = await self._infos(wait)
        members = None if set is None else {each.name for each in self._members(set.lstrip("@"), infos)}
        return [
            each
            for each in infos
            if (category is None or each.tool.category == category)
            and wanted <= each.tool.tags
            and (members is None or each.name in members)
        ]

    async def find(self, names: Iterable[str], *, wait: float | None = None) -> list[tuple[str, str, Tool]]:
        """(name as given, full name, tool) of each tool that the names, patterns and sets mean.

        `wait` as in `Host.offers`; without it an instance that a pattern names (`git/*`) is waited for as
        long as it may take to start. Raises what calling a name would raise, where it is none.
        """
        found: dict[str, tuple[str, str, Tool]] = {}
        infos: list[ToolInfo] | None = None
        for name in names:
            if name.startswith("@") or not _PATTERN.isdisjoint(name):
                if wait is None:
                    await self._awaited(name)
                infos = await self._infos(wait) if infos is None else infos
                for each in self._chosen(name, infos):
                    if each.why is None:
                        found[each.name] = each.name, each.name, each.tool
            else:
                resolved = await self._router.resolve(name, ToolCall)
                target = next(resolved.route.leaves())
                found[name] = name, name, target.tool or Tool(target.name)
        return list(found.values())

    async def contracts(self) -> tuple[Lock, Mapping[str, GleitzeitError]]:
        """What all instances promise now, as a lock, and why some could not be asked."""
        pins: dict[str, dict[str, Pin]] = {thing: {} for thing in THINGS}
        failed: dict[str, GleitzeitError] = {}
        for thing in THINGS:
            for instance in self._registry.of_kind("provider"):
                if not instance.config.enabled or _silent(instance, thing):
                    continue
                offer = await self._catalogue.raw(instance, thing)
                if offer.error is not None or offer.stale:
                    error = offer.error or GleitzeitError(f"{instance.name} is down")
                    failed[instance.name] = error
                    continue
                for item in offer.items:
                    if isinstance(item, Resource) and not item.template:
                        continue
                    name = item.uri if isinstance(item, Resource) else item.name
                    pins[thing][f"{instance.name}/{name}"] = Pin.of(item)
        return Lock(pins), failed

    def approved(self) -> object:
        """What was approved, as the lock file now says: the same object until that changes."""
        return self._catalogue.approved()

    async def context_tokens(self, name: str, operation: type[Operation]) -> int | None:
        """The smallest context of the models behind a name; None where one is not known."""
        try:
            resolved = await self._router.resolve(name, operation)
        except GleitzeitError:
            return None  # the call itself will tell
        sizes = [leaf.model.context_tokens if leaf.model else None for leaf in resolved.route.leaves()]
        return min((size for size in sizes if size), default=None) if all(sizes) else None

    async def searcher(self) -> tuple[str, Tool] | None:
        """(full name, tool) of what searches among tools: of the first instance whose plugin says it does."""
        for instance in self._registry.of_kind("provider"):
            manifest = instance.entry.manifest if instance.entry is not None else None
            if instance.config.enabled and manifest is not None and CAPABILITY in manifest.capabilities:
                for tool in (await self._catalogue.offer(instance, "tools")).items:
                    if tool.name == SEARCH:
                        return f"{instance.name}/{tool.name}", tool
        return None

    async def _awaited(self, pattern: str) -> None:
        """Wait for the instance that a pattern names."""
        head, slash, _ = pattern.partition("/")
        instance = self._registry.find("provider", head) if slash else None
        if instance is not None and instance.config.enabled:
            await self._catalogue.offer(instance, "tools")

    async def _infos(self, wait: float | None) -> list[ToolInfo]:
        offered: list[ToolInfo] = []
        kept: list[ToolInfo] = []
        for offer in await self._catalogue.offers("tools", wait=wait):
            offered += [
                ToolInfo(
                    f"{offer.instance}/{tool.name}",
                    instance=offer.instance,
                    own=offer.own.get(tool.name, tool.name),
                    tool=tool,
                )
                for tool in offer.items
            ]
            kept += [
                ToolInfo(
                    f"{offer.instance}/{each.name}",
                    instance=offer.instance,
                    own=each.own,
                    tool=each.item,
                    why=each.why,
                    reason=each.reason,
                    hint=each.hint,
                )
                for each in offer.kept
            ]
        return offered + kept

    def _chosen(self, word: str, infos: Iterable[ToolInfo]) -> list[ToolInfo]:
        """The tools that a name, a pattern or a set means."""
        if word.startswith("@"):
            return self._members(word[1:], infos)
        return [
            each
            for each in infos
            if fnmatchcase(each.name, word) or ("/" not in word and fnmatchcase(each.tool.name, word))
        ]

    def _members(self, name: str, infos: Iterable[ToolInfo]) -> list[ToolInfo]:
        toolset = self._config.toolsets.get(name)
        if toolset is None:
            known = list(self._config.toolsets)
            hint = None if known else f"write [toolsets.{name}]"
            close = tuple(f"@{each}" for each in near(name, known)) or tuple(f"@{each}" for each in known)
            raise UnknownModelError(f"there is no set of tools @{name}", near=close, hint=hint, sent=False)
        infos = list(infos)
        chosen = {each.name for word in toolset.tools for each in self._chosen(word, infos)}
        chosen -= {each.name for word in toolset.exclude for each in self._chosen(word, infos)}
        return [
            each
            for each in infos
            if each.name in chosen
            and (not toolset.categories or each.tool.category in toolset.categories)
            and (not toolset.tags or not each.tool.tags.isdisjoint(toolset.tags))
        ]


def _silent(instance: Instance, thing: str) -> bool:
    """Does its plugin say that it never offers such a thing?"""
    manifest = instance.entry.manifest if instance.entry is not None else None
    return manifest is not None and bool(manifest.hooks) and f"provide_{thing}" not in manifest.hooks
