"""What clients see: the lists of all instances as one, under names that lead back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from attrs import evolve, field, frozen

from gleitzeit.values import Prompt, Resource, Tool
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_mcp.serve.options import ServeOptions, matches
from gleitzeit_plugin_mcp.serve.templates import Template

if TYPE_CHECKING:
    from gleitzeit.catalogue import Offer, Thing
    from gleitzeit.host import Host

__all__ = ["LISTS", "Published", "Publisher"]

LISTS: Final = ("tools", "resources", "templates", "prompts")
#: Marks of this host's own, which are nobody else's business, and how an upstream wants tools to be called:
#: by this host, which sees to it.
_OURS: Final = frozenset({"stale", "stale_since", "execution"})


@frozen(kw_only=True)
class Published:
    """One state of the lists, in the protocol's shape, and who is behind each entry."""

    lists: Mapping[str, tuple[dict[str, Any], ...]]
    #: Name for clients -> instance and the name that it has there.
    tools: Mapping[str, tuple[str, str]]
    prompts: Mapping[str, tuple[str, str]]
    resources: Mapping[str, tuple[str, str]]
    #: What URIs of a template look like, its own URI, its instance, and the template there.
    templates: tuple[tuple[Template, str, str, str], ...]
    schemas: Mapping[str, Any] = field(repr=False)
    #: Is somebody still being asked, whose things are missing?
    pending: bool = False

    def behind(self, uri: str) -> tuple[str, str] | None:
        """The instance that a resource, or a template, belongs to, and its URI there."""
        found = self.resources.get(uri)
        if found is not None:
            return found
        for pattern, shown, instance, template in self.templates:
            if uri == shown:
                return instance, template
            if pattern.fits(uri):
                return instance, uri
        return None

    def changed(self, before: Published) -> frozenset[str]:
        """The lists that differ from those of `before`."""
        return frozenset(name for name in LISTS if self.lists[name] != before.lists[name])


class Publisher:
    """Makes the lists when they are first asked for, and anew after a change."""

    def __init__(self, host: Host, options: ServeOptions, own: Iterable[dict[str, Any]]) -> None:
        self._host = host
        self._options = options
        self._own = tuple(own)
        self._lock = asyncio.Lock()
        self._old = True
        self.last: Published | None = None
        #: What was approved when the lists were made; nobody announces that this has changed.
        self._approved: object = None
        #: Called where it has.
        self.on_approved: Callable[[], None] = lambda: None

    @property
    def old(self) -> bool:
        """Has something changed since the lists were made?"""
        return self._old

    def expire(self) -> None:
        """Something may have changed."""
        self._old = True

    async def current(self) -> Published:
        """The lists as they are now; what an instance cannot tell is left out, or as it was last.

        One that has not answered within `host.list_timeout` seconds holds nobody up: what it offers is
        told as a change.
        """
        if self.last is not None and self._approved is not self._host.toolbox.approved():
            self.expire()
            self.on_approved()
        if self.last is not None and not self._old:
            return self.last
        async with self._lock:
            if self.last is None or self._old:
                self._old = False  # a change from here on makes it old again
                self._approved = self._host.toolbox.approved()
                try:
                    self.last = await self._make(self._host.config.host.list_timeout)
                except BaseException:
                    self._old = True
                    raise
            return self.last

    async def whole(self) -> Published:
        """As `current`, after waiting for everybody who is still being asked."""
        found = await self.current()
        if not found.pending:
            return found
        things: tuple[Thing, ...] = ("tools", "resources", "prompts")
        await asyncio.gather(*(self._host.offers(thing, wait=math.inf) for thing in things))
        self.expire()
        return await self.current()

    async def behind(self, uri: str) -> tuple[str, str] | None:
        """As `Published.behind`; whom it may belong to is waited for."""
        return (await self.current()).behind(uri) or (await self.whole()).behind(uri)

    async def _make(self, wait: float) -> Published:
        offers = self._host.offers
        tools, offered, resources, prompts = await asyncio.gather(
            self._tools(wait),
            offers("tools", wait=wait),
            offers("resources", wait=wait),
            offers("prompts", wait=wait),
        )
        names = _Names(self._options, (tool["name"] for tool in self._own))
        listed = [*self._own]
        schemas = {}
        for instance, tool in tools:
            shown = names.add(instance, tool.name)
            listed.append(_tool(shown, tool))
            schemas[shown] = tool.input_schema
        calls = names.behind
        names = _Names(self._options)
        templates = [
            _prompt(names.add(instance, prompt.name), prompt)
            for instance, prompt in _each(prompts, self._options.prompts)
        ]
        found = _Resources()
        for instance, resource in _each(resources, self._options.resources):
            found.add(instance, resource)
        return Published(
            lists={
                "tools": tuple(listed),
                "prompts": tuple(templates),
                "resources": tuple(found.listed),
                "templates": tuple(found.shapes),
            },
            tools=calls,
            prompts=names.behind,
            resources=found.behind,
            templates=tuple(found.patterns),
            schemas=schemas,
            pending=any(each.pending for each in (*offered, *resources, *prompts)),
        )

    async def _tools(self, wait: float) -> list[tuple[str, Tool]]:
        if self._options.tools == ("*",):
            return list(_each(await self._host.offers("tools", wait=wait), ("*",)))
        found = []
        for _, full, tool in await self._host.find_tools(self._options.tools, wait=wait):
            instance, _, name = full.partition("/")
            found.append((instance, tool if tool.name == name else _named(tool, name)))
        return found


class _Names:
    """Names for clients, each for one thing."""

    def __init__(self, options: ServeOptions, taken: Iterable[str] = ()) -> None:
        self._bare = options.bare
        self._taken = set(taken)
        self._wire = WireNames()
        self.behind: dict[str, tuple[str, str]] = {}

    def add(self, instance: str, name: str) -> str:
        shown = name if matches(instance, self._bare) and name not in self._taken else None
        if shown is None:
            shown = self._wire.encode(f"{instance}/{name}")
        self._taken.add(shown)
        self.behind[shown] = instance, name
        return shown


class _Resources:
    """URIs stay as they are, since results refer to them; of two equal ones the second is rewritten."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []
        self.behind: dict[str, tuple[str, str]] = {}
        self.patterns: list[tuple[Template, str, str, str]] = []
        self._shown: set[str] = set()

    def add(self, instance: str, resource: Resource) -> None:
        uri = resource.uri
        if uri in self._shown:
            uri = f"gleitzeit://{quote(instance, safe='')}/{quote(uri, safe='{}')}"
        self._shown.add(uri)
        entry = _resource(uri, resource)
        if resource.template:
            self.shapes.append(entry)
            self.patterns.append((Template.of(resource.uri), uri, instance, resource.uri))
        else:
            self.listed.append(entry)
            self.behind[uri] = instance, resource.uri


def _each(offers: Iterable[Offer], patterns: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for offer in offers:
        for item in offer.items:
            name = item.uri if isinstance(item, Resource) else item.name
            if matches(f"{offer.instance}/{name}", patterns):
                yield offer.instance, item


def _named(tool: Tool, name: str) -> Tool:
    return evolve(tool, name=name)


def _rest(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _OURS}


def _tool(name: str, tool: Tool) -> dict[str, Any]:
    schema = dict(tool.input_schema)
    schema.setdefault("type", "object")
    entry: dict[str, Any] = {"name": name, "inputSchema": schema}
    if tool.title:
        entry["title"] = tool.title
    if tool.description:
        entry["description"] = tool.description
    if tool.output_schema is not None:
        entry["outputSchema"] = dict(tool.output_schema)
    hints = tool.hints
    said = {
        "readOnlyHint": hints.read_only,
        "destructiveHint": hints.destructive,
        "idempotentHint": hints.idempotent,
        "openWorldHint": hints.open_world,
    }
    if said := {key: value for key, value in said.items() if value is not None}:
        entry["annotations"] = said
    return {**_rest(tool.metadata), **entry}


def _prompt(name: str, prompt: Prompt) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name}
    if prompt.description:
        entry["description"] = prompt.description
    if prompt.arguments:
        entry["arguments"] = [
            {
                "name": each.name,
                **({"description": each.description} if each.description else {}),
                "required": each.required,
            }
            for each in prompt.arguments
        ]
    return {**_rest(prompt.metadata), **entry}


def _resource(uri: str, resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "uriTemplate" if resource.template else "uri": uri,
        "name": resource.name or resource.uri,
    }
    if resource.description:
        entry["description"] = resource.description
    if resource.media_type:
        entry["mimeType"] = resource.media_type
    if resource.size is not None:
        entry["size"] = resource.size
    return {**_rest(resource.metadata), **entry}
