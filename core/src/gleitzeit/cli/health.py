"""`gleitzeit health`: how every instance fares, once or again and again."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.cli.failures import UNHEALTHY
from gleitzeit.cli.output import Output
from gleitzeit.cli.table import Column
from gleitzeit.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit.host import Host, InstanceHealth

__all__ = ["STYLES", "run"]

STYLES: Final = {"ok": "green", "degraded": "yellow", "error": "red", "half_open": "yellow", "open": "red"}
_COLUMNS: Final = (
    Column("INSTANCE", 9),
    Column("KIND", 2, least=9),
    Column("PLUGIN", 3),
    Column("STATE", 7, least=12),
    Column("HEALTH", 8),
    Column("LATENCY", 4, right=True),
    Column("SANDBOX", 10),
    Column("DETAIL", 5, least=24),
)


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit health`"""
    for name in ("interval", "count"):
        if getattr(options, name) is not None and not options.watch:
            raise UsageError(f"--{name} says nothing without --watch", hint="add --watch")
    if options.of is not None and options.deep:
        raise UsageError("--deep and --of do not go together", hint="ask the application without --deep")
    if options.watch or options.of is not None:
        from gleitzeit.cli.watch import watch

        return watch(options, output)
    return _once(options, output)


def _once(options: Namespace, output: Output) -> int:
    from gleitzeit.cli.run import with_host
    from gleitzeit.wire.codec import to_json

    async def work(host: Host) -> list[InstanceHealth]:
        return await host.health(deep=options.deep)

    found = with_host(options, output, work, drains=False)
    if output.json:
        output.document({"instances": [{"name": each.name, **to_json(each)} for each in found]})
    elif not found:
        output.note("nothing is installed or configured; see `gleitzeit plugins`")
    else:
        output.table(
            _COLUMNS,
            [_row(each) for each in found],
            style=lambda title, text: STYLES.get(text) if title == "HEALTH" else None,
        )
    return UNHEALTHY if any(each.health.status == "error" for each in found) else 0


def _row(each: Any) -> tuple[str, ...]:
    latency = each.health.latency
    return (
        each.name,
        each.kind,
        each.plugin,
        each.state.value,
        each.health.status,
        "" if latency is None else f"{latency * 1000:.0f} ms",
        each.sandbox or "",
        each.health.detail,
    )
