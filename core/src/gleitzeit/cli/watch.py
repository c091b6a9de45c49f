"""`gleitzeit health --watch` and `--of`: instances beside what their calls come to."""

from __future__ import annotations

import asyncio
import itertools
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.cli.failures import UNHEALTHY, explain
from gleitzeit.cli.health import STYLES
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import run, with_host
from gleitzeit.cli.table import Column, clean, cut
from gleitzeit.errors import CannotConnectError
from gleitzeit.host import Host
from gleitzeit.status import document, read
from gleitzeit.values.snapshot import Snapshot
from gleitzeit.wire.codec import from_json

__all__ = ["rows", "watch"]

#: Seconds between two rounds.
INTERVAL: Final = 2.0
_COLUMNS: Final = (
    Column("INSTANCE", 20),
    Column("STATE", 13),
    Column("HEALTH", 19),
    Column("LATENCY", 8, right=True),
    Column("BREAKER", 16, least=4),
    Column("COOLING", 9, right=True, least=4),
    Column("QUEUED", 10, right=True, least=4),
    Column("IN FLIGHT", 15, right=True, least=4),
    Column("CALLS", 17, right=True, least=6),
    Column("FAILED", 18, right=True, least=4),
    Column("RETRIES", 9, right=True, least=7),
    Column("REFUSED", 9, right=True, least=7),
    Column("P50", 12, right=True, least=7),
    Column("P95", 14, right=True, least=7),
    Column("FIRST EVENT", 11, right=True, least=7),
    Column("TOKENS", 7, right=True, least=6),
    Column("DETAIL", 6, least=16),
)
_Ask: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]


def watch(options: Namespace, output: Output) -> int:
    """Show the health and statistics of a host: of our own, or of the application that serves `--of`.

    A signal is the way to end a watch, and no failure.
    """
    try:
        if options.of is not None:
            return run(_rounds(lambda: read(options.of), options, output))

        async def work(host: Host) -> int:
            async def ask() -> Mapping[str, Any]:
                return document(host.snapshot(), await host.health(deep=options.deep))

            return await _rounds(ask, options, output)

        return with_host(options, output, work, drains=False)
    except KeyboardInterrupt:
        if not options.watch:
            raise
        return 0


async def _rounds(ask: _Ask, options: Namespace, output: Output) -> int:
    """Ask and show until the rounds are made; gives the exit code of the last one."""
    last = options.count if options.watch else 1
    code = 0
    for number in itertools.count(1):
        try:
            found = await ask()
        except CannotConnectError as error:
            if number == 1:
                raise
            _lost(error, output)  # the application may come back
            code = UNHEALTHY
        else:
            _show(found, output, live=options.watch)
            statuses = [each["health"]["status"] for each in found["instances"]]
            code = UNHEALTHY if "error" in statuses else 0
        if number == last:
            break
        await asyncio.sleep(INTERVAL if options.interval is None else options.interval)
    return code


def _lost(error: CannotConnectError, output: Output) -> None:
    if output.json:
        output.event({"error": explain(error)})
    else:
        output.redraw([_line(error.message, "red", output)])


def _show(found: Mapping[str, Any], output: Output, *, live: bool) -> None:
    if output.json:
        (output.event if live else output.document)(dict(found))
        return
    snapshot = from_json(Snapshot, found["snapshot"])
    body = rows(found["instances"], snapshot)
    calls = snapshot.total_calls()
    heading = (
        f"{time.strftime('%H:%M:%S', time.localtime(snapshot.at))}  up {_span(snapshot.uptime)}, "
        f"{calls.count} calls, {calls.failed} failed, {calls.in_flight} in flight"
    )
    if live:
        lines = output.lines(_COLUMNS, body, style=_style)
        output.redraw([_line(heading, "dim", output), *lines])
    else:
        output.note(heading)
        output.table(_COLUMNS, body, style=_style)


def _style(title: str, text: str) -> str | None:
    return STYLES.get(text) if title in ("HEALTH", "BREAKER") else None


def _line(text: str, style: str, output: Output) -> str:
    text = clean(text)
    return output.style(text if output.cells is None else cut(text, output.cells, "~"), style)


def rows(instances: list[Mapping[str, Any]], snapshot: Snapshot) -> list[tuple[str, ...]]:
    """The cells of each instance; empty where there is nothing to tell."""
    states = {each.name: each for each in snapshot.instances}
    body: list[tuple[str, ...]] = []
    for each in instances:
        health, name = each["health"], each["name"]
        total, state = snapshot.total(name), states.get(name)
        cooling = max(total.cooling, state.cooling if state is not None else 0.0)
        asked = total.count or total.in_flight or total.refused
        tokens = total.input_tokens + total.output_tokens
        body.append(
            (
                name,
                each["state"],
                health["status"],
                _time(health.get("latency")),
                state.breaker if state is not None else "",
                _span(cooling) if cooling else "",
                str(state.queued) if state is not None and state.queued else "",
                str(total.in_flight) if asked else "",
                str(total.count) if asked else "",
                str(total.failed) if asked else "",
                str(total.retries) if total.retries else "",
                str(total.refused) if total.refused else "",
                _time(total.duration.quantile(0.5)),
                _time(total.duration.quantile(0.95)),
                _time(total.first_event.quantile(0.5)),
                str(tokens) if tokens else "",
                health.get("detail", ""),
            )
        )
    return body


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= 10:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


def _span(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
