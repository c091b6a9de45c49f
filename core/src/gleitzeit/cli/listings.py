"""`gleitzeit plugins`, `models` and `tools`: what is known without asking, or with --live."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from gleitzeit import listing
from gleitzeit.cli.failures import explain
from gleitzeit.cli.output import Output
from gleitzeit.cli.settings import read
from gleitzeit.cli.table import Column
from gleitzeit.records import replace

if TYPE_CHECKING:
    from gleitzeit.catalogue import Offer, Thing
    from gleitzeit.host import Host, InstanceHealth

__all__ = ["matches", "models", "names", "offered", "plugins", "tools"]

_STATES: Final = {
    "active": "green",
    "degraded": "yellow",
    "disabled": "dim",
    "failed": "red",
    "incompatible": "red",
    "invalid": "red",
    "missing": "red",
}
_PLUGINS: Final = (
    Column("INSTANCE", 9),
    Column("PLUGIN", 8),
    Column("KIND", 5),
    Column("STATE", 7, least=12),
    Column("SANDBOX", 10),
    Column("DISTRIBUTION", 1, least=22),
    Column("VERSION", 2),
    Column("ABOUT", 4, least=24),
)
_MODELS: Final = (
    Column("MODEL", 9, least=24),
    Column("OPERATIONS", 4, least=10),
    Column("CAPABILITIES", 5, least=10),
    Column("CONTEXT", 1, right=True),
    Column("$/M IN", 1, right=True, least=6),
    Column("$/M OUT", 1, right=True, least=7),
    Column("AS OF", 0, least=10),
    Column("FROM", 2),
    Column("ABOUT", 3, least=22),
)
_TOOLS: Final = (
    Column("TOOL", 9, least=16),
    Column("SANDBOX", 10),
    Column("CATEGORY", 3),
    Column("ABOUT", 1, least=22),
)


def plugins(options: Namespace, output: Output) -> int:
    """`gleitzeit plugins`"""
    config, index = read(options, output)
    rows = listing.plugins(index, config)
    if options.live:
        rows = _alive(rows, _ask(options, output, _health))
    if output.json:
        output.document({"plugins": [vars(row) for row in rows]})
    elif not rows:
        output.note("no plugin is installed; try: pip install gleitzeit-plugin-scripted")
    else:
        cells = [
            (
                row.instance,
                row.plugin,
                row.kind,
                row.state,
                row.sandbox,
                row.distribution,
                row.version,
                row.reason or row.summary,
            )
            for row in rows
        ]
        output.table(_PLUGINS, cells, style=_plugin_style)
    return 0


def models(options: Namespace, output: Output) -> int:
    """`gleitzeit models`"""
    errors: dict[str, Any] = {}
    config, index = read(options, output)
    rows = listing.models(index, config, options.capability)
    if options.live:
        routes = [row for row in rows if not row.instance]
        rows = [*routes, *_live_models(options, output, errors)]
    else:
        errors = _unusable(listing.plugins(index, config), output)
    if options.names:
        names(output, [row.name for row in rows])
    elif output.json:
        output.document({"models": [vars(row) for row in rows], "errors": errors})
    elif not rows:
        what = f"with capability {options.capability!r} " if options.capability else ""
        output.note(f"no model {what}is known" + ("" if options.live else "; --live asks the providers"))
    else:
        cells = [
            (
                row.name,
                " ".join(row.operations),
                " ".join(row.capabilities),
                str(row.context_tokens or ""),
                _dollars(row, "input"),
                _dollars(row, "output"),
                row.price_date,
                row.source,
                row.note,
            )
            for row in rows
        ]
        output.table(_MODELS, cells)
    return 0


def tools(options: Namespace, output: Output) -> int:
    """`gleitzeit tools`"""
    schemas: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    if options.live:
        rows, schemas = _live_tools(options, output, errors)
    else:
        config, index = read(options, output)
        rows = listing.tools(index, config, options.pattern)
        errors = _unusable(listing.plugins(index, config), output)
    if options.names:
        names(output, [row.name for row in rows])
    elif output.json:
        shown = [{**vars(row), **schemas.get(row.name, {})} for row in rows]
        output.document({"tools": shown, "errors": errors})
    elif not rows:
        output.note(f"no tool {f'like {options.pattern!r} ' if options.pattern else ''}is known")
    else:
        cells = [(row.name, row.sandbox, row.category, row.note or row.description) for row in rows]
        output.table(_TOOLS, cells, style=_sandbox_style)
    return 0


def _unusable(rows: Iterable[listing.PluginRow], output: Output) -> dict[str, Any]:
    """The configured providers that cannot be asked, told on standard error as well."""
    errors = {}
    for row in rows:
        if row.instance and row.kind == "provider" and row.state not in ("discovered", "disabled"):
            output.note(f"{row.instance} is {row.state}: {row.reason}", "red")
            errors[row.instance] = {"message": row.reason}
    return errors


def _alive(rows: Iterable[listing.PluginRow], healths: Sequence[InstanceHealth]) -> list[listing.PluginRow]:
    """The static rows with what the host says of their instances."""
    known = {(each.kind, each.name): each for each in healths}
    found = []
    for row in rows:
        each = known.get((row.kind, row.instance))
        if each is not None:
            bad = each.state.value != "active" or each.health.status in ("error", "degraded")
            row = replace(
                row,
                state=each.state.value,
                sandbox=each.sandbox or row.sandbox,
                reason=each.health.detail if bad else "",
            )
        found.append(row)
    return found


def _live_models(options: Namespace, output: Output, errors: dict[str, Any]) -> list[listing.ModelRow]:
    rows: list[listing.ModelRow] = []
    for plugin, offer in offered(options, output, "models", errors):
        source = "last known" if offer.stale else "live" if offer.error is None else "static"
        rows += [
            listing.ModelRow(
                f"{offer.instance}/{model.name}",
                instance=offer.instance,
                plugin=plugin,
                operations=tuple(sorted(model.operations)),
                capabilities=tuple(sorted(model.capabilities)),
                context_tokens=model.context_tokens,
                output_tokens=model.output_tokens,
                **listing.priced(model.metadata),
                source=source,
                note=model.description,
            )
            for model in offer.items
            if options.capability is None or options.capability in model.capabilities
        ]
    return rows


def _live_tools(
    options: Namespace, output: Output, errors: dict[str, Any]
) -> tuple[list[listing.ToolRow], dict[str, Any]]:
    from gleitzeit.wire.codec import to_json

    rows, schemas = [], {}
    boxes: dict[str, str] = {}
    members: set[str] | None = None
    if options.pattern is not None and options.pattern.startswith("@"):
        found = _ask(options, output, lambda host: host.tools(set=options.pattern, wait=math.inf))
        members = {each.name for each in found}
    for plugin, offer in offered(options, output, "tools", errors, boxes):
        kept = [(each.item, f"{each.why}: {each.reason}; {each.hint}") for each in offer.kept]
        for tool, note in [*((tool, "") for tool in offer.items), *kept]:
            name = f"{offer.instance}/{tool.name}"
            if members is not None:
                wanted = name in members
            else:
                wanted = matches(options.pattern, name, tool.name)
            if wanted:
                sandbox = boxes.get(offer.instance, "")
                rows.append(
                    listing.ToolRow(
                        name,
                        instance=offer.instance,
                        plugin=plugin,
                        sandbox=sandbox,
                        category=tool.category or "",
                        tags=tuple(sorted(tool.tags)),
                        description=tool.description,
                        note=note,
                    )
                )
                schemas[name] = {"tool": to_json(tool)}
    return rows, schemas


def matches(pattern: str | None, *texts: str) -> bool:
    """Is one of the names like the pattern? None: every name is."""
    return pattern is None or any(fnmatchcase(text, pattern) for text in texts)


def offered(
    options: Namespace,
    output: Output,
    thing: Thing,
    errors: dict[str, Any],
    boxes: dict[str, str] | None = None,
) -> list[tuple[str, Offer]]:
    """(plugin, offer) of every provider; those that failed are told on standard error, and in `errors`."""

    async def ask(host: Host) -> tuple[list[Offer], list[InstanceHealth]]:
        # There is no later for whoever ends with the list: those that start slowly are waited for.
        return await host.offers(thing, wait=math.inf), await host.health()

    offers, healths = _ask(options, output, ask)
    plugin = {each.name: each.plugin for each in healths if each.kind == "provider"}
    if boxes is not None:
        boxes.update({each.name: each.sandbox or "" for each in healths if each.kind == "provider"})
    for offer in offers:
        if offer.error is not None:
            output.note(f"{offer.instance}: {offer.error}", "red")
            errors[offer.instance] = explain(offer.error)
    return [(plugin.get(offer.instance, ""), offer) for offer in offers]


async def _health(host: Host) -> list[InstanceHealth]:
    return await host.health(deep=True)


def _ask(options: Namespace, output: Output, work: Any) -> Any:
    from gleitzeit.cli.run import with_host  # the host, and with it asyncio: not for static listings

    return with_host(options, output, work)


def _dollars(row: listing.ModelRow, word: str) -> str:
    """A price of a row, without zeros that say nothing."""
    amount = (row.price or {}).get(word)
    return f"{amount:.6g}" if type(amount) in (int, float) else ""


def names(output: Output, found: Iterable[str]) -> None:
    """The names that stand for something, one a line."""
    text = "\n".join(name for name in found if not name.endswith("/…"))
    if text:
        output.text(text)


def _plugin_style(title: str, text: str) -> str | None:
    if title == "SANDBOX":
        return "yellow" if text == "none" else None
    return _STATES.get(text) if title == "STATE" else None


def _sandbox_style(title: str, text: str) -> str | None:
    return _plugin_style(title, text) if title == "SANDBOX" else None
