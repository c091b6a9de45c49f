"""What a server offers: its lists, all pages of them, kept until they change or are too old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from gleitzeit.errors import UnsupportedError
from gleitzeit.values import Prompt, PromptArgument, Resource, Tool, ToolHints
from gleitzeit_plugin_mcp.health import stamp
from gleitzeit_plugin_mcp.kept import lasting
from gleitzeit_plugin_mcp.pool import Pool
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["Catalogue"]

#: Pages of one list; a server that has more is going in circles.
PAGES: Final = 1000
#: No list is read anew before so many seconds only because it has become old.
LEAST: Final = 1.0

T = TypeVar("T", Tool, Resource, Prompt)


class _Snapshot(Generic[T]):
    """One kind of things on offer, as last read."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: tuple[T, ...] | None = None
        self.source: Supervisor | None = None
        self.fresh = False
        self.lock = asyncio.Lock()
        self.expiry: asyncio.TimerHandle | None = None


class Catalogue:
    """Reads lists when asked, and again after a change, a new session, or the time that the server gave.

    While the server is down what it offered last is given, with `stale` and `stale_since` in its
    metadata. `on_old` hears when a list that was read has become too old.
    """

    def __init__(
        self, pool: Pool, tags: frozenset[str], logger: logging.Logger, on_old: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._tags = tags
        self._logger = logger
        self._on_old = on_old
        self._tools: _Snapshot[Tool] = _Snapshot("tools")
        self._resources: _Snapshot[Resource] = _Snapshot("resources")
        self._prompts: _Snapshot[Prompt] = _Snapshot("prompts")
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

    def renewed(self, supervisor: Supervisor) -> bool:
        """A session stands anew: what was read from the one before may be old. True where that is known."""
        found = False
        for snapshot in (self._tools, self._resources, self._prompts):
            if snapshot.source is supervisor and snapshot.items is not None:
                snapshot.fresh = False
                found = True
        return found

    def close(self) -> None:
        """Time no longer matters."""
        for snapshot in (self._tools, self._resources, self._prompts):
            if snapshot.expiry is not None:
                snapshot.expiry.cancel()

    async def _get(self, snapshot: _Snapshot[T], read: Callable[..., Any]) -> tuple[T, ...]:
        if snapshot.items is not None:
            best = self._pool.best
            if best is None or (best.connection is None and best.down_since is not None):
                since = None if best is None else best.down_since
                return tuple(_stale(item, since) for item in snapshot.items)
        async with snapshot.lock:
            if snapshot.items is not None and snapshot.fresh:
                return snapshot.items
            async with self._pool.holding() as supervisor:
                try:
                    connection = await supervisor.ready()
                except BaseException:
                    self.missed = True
                    raise
                snapshot.fresh = True  # a change while it is being read makes it old again
                ages: list[float] = []
                try:
                    snapshot.items = await read(connection, ages)
                except BaseException:
                    snapshot.fresh = False
                    raise
                snapshot.source = supervisor
                self._expire(snapshot, connection, ages)
            assert snapshot.items is not None, "it was just read"
            return snapshot.items

    def _expire(self, snapshot: _Snapshot[Any], connection: Connection, ages: list[float]) -> None:
        """Take the list for old when its time is over, unless the server tells of changes."""
        if snapshot.expiry is not None:
            snapshot.expiry.cancel()
            snapshot.expiry = None
        told = (connection.capabilities.get(snapshot.kind) or {}).get("listChanged")
        if told or not ages or not min(ages):
            return

        def old() -> None:
            snapshot.fresh = False
            self._on_old()

        snapshot.expiry = asyncio.get_running_loop().call_later(max(min(ages), LEAST), old)

    async def _read_tools(self, connection: Connection, ages: list[float]) -> tuple[Tool, ...]:
        found: dict[str, Tool] = {}
        for raw in await self._pages(connection, ages, "tools", "tools/list", "tools"):
            name = raw.get("name")
            if isinstance(name, str) and name not in found:
                if connection.admits(name, raw.get("inputSchema")):
                    found[name] = _tool(name, raw, self._tags)
                else:
                    self._logger.warning(
                        "MCP server %r: tool %r left out: invalid x-mcp-header", connection.name, name
                    )
        return tuple(found[name] for name in sorted(found))

    async def _read_resources(self, connection: Connection, ages: list[float]) -> tuple[Resource, ...]:
        found: dict[str, Resource] = {}
        for raw in await self._pages(connection, ages, "resources", "resources/list", "resources"):
            if isinstance(uri := raw.get("uri"), str):
                found.setdefault(uri, _resource(uri, raw, template=False))
        for raw in await self._pages(
            connection, ages, "resources", "resources/templates/list", "resourceTemplates"
        ):
            if isinstance(uri := raw.get("uriTemplate"), str):
                found.setdefault(uri, _resource(uri, raw, template=True))
        return tuple(found[uri] for uri in sorted(found))

    async def _read_prompts(self, connection: Connection, ages: list[float]) -> tuple[Prompt, ...]:
        found: dict[str, Prompt] = {}
        for raw in await self._pages(connection, ages, "prompts", "prompts/list", "prompts"):
            if isinstance(name := raw.get("name"), str):
                found.setdefault(name, _prompt(name, raw))
        return tuple(found[name] for name in sorted(found))

    async def _pages(
        self, connection: Connection, ages: list[float], capability: str, method: str, key: str
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
            ages.append(lasting(page))
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


def _stale(item: T, since: float | None) -> T:
    marks: dict[str, Any] = {"stale": True}
    if since is not None:
        marks["stale_since"] = stamp(since)
    return attrs.evolve(item, metadata={**item.metadata, **marks})
