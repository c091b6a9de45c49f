"""`gleitzeit health`: how every instance fares."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from gleitzeit.cli.failures import UNHEALTHY
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.cli.table import Column
from gleitzeit.wire.codec import to_json

if TYPE_CHECKING:
    from gleitzeit.host import Host, InstanceHealth

__all__ = ["STYLES", "run"]

STYLES = {"ok": "green", "degraded": "yellow", "error": "red"}
_COLUMNS = (
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

    async def work(host: Host) -> list[InstanceHealth]:
        return await host.health(deep=options.deep)

    found = with_host(options, output, work)
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


def _row(each: InstanceHealth) -> tuple[str, ...]:
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
