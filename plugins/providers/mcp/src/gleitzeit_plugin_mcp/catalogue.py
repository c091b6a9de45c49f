"""What a server offers: its lists, all pages of them, kept until they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from gleitzeit.errors import UnsupportedError
from gleitzeit.values import Prompt, PromptArgument, Resource, Tool, ToolHints
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Catalogue"]

#: Pages of one list; a server that has more is going in circles.
PAGES: Final = 1000

T = TypeVar("T", Tool, Resource, Prompt)


class _Snapshot(Generic[T]):
    """One kind of things on offer, as last read."""

    def __init__(self) -> None:
        self.items: tuple[T, ...] | None = None
        self.source: Connection | None = None
        self.fresh = False
        self.lock = asyncio.Lock()


class Catalogue:
    """Reads lists when asked, and again after a change or a new session.

    While the server is down what it offered last is given, marked `stale` in its metadata.
    """

    def __init__(self, supervisor: Supervisor, tags: frozenset[str], logger: logging.Logger) -> None:
        self._supervisor = supervisor
        self._tags = tags
        self._logger = logger
        self._tools: _Snapshot[Tool] = _Snapshot()
        self._resources: _Snapshot[Resource] = _Snapshot()
        self._prompts: _Snapshot[Prompt] = _Snapshot()
        #: Did somebody ask while there was no session, and get nothing?
        self.missed = False

    async def tools(self) -> tuple[Tool, ...]:
        """Every tool, by name."""
        return await self._get(self._tools, self._read_tools)

    async def resources(self) -> tuple[Resource, ...]:
        """Every resource and resource template, by URI."""
        return await self._get(self._resources, self._read_resources)

    async def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt, by name."""
        return await self._get(self._prompts, self._read_prompts)

    def changed(self, kind: str) -> bool:
        """Read the list of `kind` anew when next asked; False where nobody has asked so far."""
        snapshot: _Snapshot[Any] = getattr(self, f"_{kind}")
        snapshot.fresh = False
        return snapshot.items is not None

    async def _get(self, snapshot: _Snapshot[T], read: Callable[[Connection], Any]) -> tuple[T, ...]:
        connection = self._supervisor.connection
        if connection is None and snapshot.items is not None:
            return tuple(_stale(item) for item in snapshot.items)
        async with snapshot.lock:
            try:
                connection = await self._supervisor.ready()
            except BaseException:
                self.missed = True
                raise
            if snapshot.items is None or not snapshot.fresh or snapshot.source is not connection:
                snapshot.fresh = True  # a change while it is being read makes it old again
                try:
                    snapshot.items = await read(connection)
                except BaseException:
                    snapshot.fresh = False
                    raise
                snapshot.source = connection
            return snapshot.items

    async def _read_tools(self, connection: Connection) -> tuple[Tool, ...]:
        found: dict[str, Tool] = {}
        for raw in await self._pages(connection, "tools", "tools/list", "tools"):
            name = raw.get("name")
            if isinstance(name, str) and name not in found:
                if connection.admits(name, raw.get("inputSchema")):
                    found[name] = _tool(name, raw, self._tags)
                else:
                    self._logger.warning(
                        "MCP server %r: tool %r left out: invalid x-mcp-header", connection.name, name
                    )
        return tuple(found[name] for name in sorted(found))

    async def _read_resources(self, connection: Connection) -> tuple[Resource, ...]:
        found: dict[str, Resource] = {}
        for raw in await self._pages(connection, "resources", "resources/list", "resources"):
            if isinstance(uri := raw.get("uri"), str):
                found.setdefault(uri, _resource(uri, raw, template=False))
        for raw in await self._pages(
            connection, "resources", "resources/templates/list", "resourceTemplates"
        ):
            if isinstance(uri := raw.get("uriTemplate"), str):
                found.setdefault(uri, _resource(uri, raw, template=True))
        return tuple(found[uri] for uri in sorted(found))

    async def _read_prompts(self, connection: Connection) -> tuple[Prompt, ...]:
        found: dict[str, Prompt] = {}
        for raw in await self._pages(connection, "prompts", "prompts/list", "prompts"):
            if isinstance(name := raw.get("name"), str):
                found.setdefault(name, _prompt(name, raw))
        return tuple(found[name] for name in sorted(found))

    async def _pages(
        self, connection: Connection, capability: str, method: str, key: str
    ) -> list[Mapping[str, Any]]:
        """The entries of every page; nothing where the server does not offer the list."""
        if capability not in connection.capabilities:
            return []
        entries: list[Mapping[str, Any]] = []
        seen: set[str] = set()
        cursor: str | None = None
        while True:
            try:
                page = await connection.request(method, {"cursor": cursor} if cursor is not None else {})
            except UnsupportedError:
                return entries
            rows = page.get(key)
            entries += [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return entries
            if cursor in seen or len(seen) >= PAGES:
                self._logger.warning(
                    "MCP server %r: %s goes in circles; read %d pages", connection.name, method, len(seen)
                )
                return entries
            seen.add(cursor)


def _rest(raw: Mapping[str, Any], *known: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in known and value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tool(name: str, raw: Mapping[str, Any], tags: frozenset[str]) -> Tool:
    schema, output = raw.get("inputSchema"), raw.get("outputSchema")
    said = raw.get("annotations")
    hints = said if isinstance(said, Mapping) else {}

    def hint(key: str) -> bool | None:
        value = hints.get(key)
        return value if isinstance(value, bool) else None

    return Tool(
        name,
        description=_text(raw.get("description")),
        input_schema=schema if isinstance(schema, Mapping) else {"type": "object"},
        output_schema=output if isinstance(output, Mapping) else None,
        title=_text(raw.get("title")) or _text(hints.get("title")) or None,
        hints=ToolHints(
            read_only=hint("readOnlyHint"),
            destructive=hint("destructiveHint"),
            idempotent=hint("idempotentHint"),
            open_world=hint("openWorldHint"),
        ),
        tags=tags,
        metadata=_rest(raw, "name", "description", "inputSchema", "outputSchema", "title", "annotations"),
    )


def _resource(uri: str, raw: Mapping[str, Any], *, template: bool) -> Resource:
    size = raw.get("size")
    return Resource(
        uri,
        name=_text(raw.get("name")),
        description=_text(raw.get("description")),
        media_type=_text(raw.get("mimeType")) or None,
        size=size if isinstance(size, int) else None,
        template=template,
        metadata=_rest(raw, "uri", "uriTemplate", "name", "description", "mimeType", "size"),
    )


def _prompt(name: str, raw: Mapping[str, Any]) -> Prompt:
    rows = raw.get("arguments")
    arguments = tuple(
        PromptArgument(
            row["name"], description=_text(row.get("description")), required=row.get("required") is True
        )
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("name"), str)
    )
    return Prompt(
        name,
        description=_text(raw.get("description")),
        arguments=arguments,
        metadata=_rest(raw, "name", "description", "arguments"),
    )


def _stale(item: T) -> T:
    return attrs.evolve(item, metadata={**item.metadata, "stale": True})
