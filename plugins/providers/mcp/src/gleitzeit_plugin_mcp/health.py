"""How a server fares: by the state of its session, by its traffic, and only then by asking."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Health
from gleitzeit_plugin_mcp.pace import Pace
from gleitzeit_plugin_mcp.pool import Pool
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["examine", "stamp"]

#: Traffic within so many seconds is proof enough of life.
RECENT: Final = 5.0
#: Seconds for a server to start or to answer.
CHECK: Final = 5.0


async def examine(
    pool: Pool, sandbox: str | None, pace: Pace, slow_after: float | None, *, deep: bool
) -> Health:
    """The health of a server; waits a while for its first start, opens no session and wakes nobody.

    One whose answers of late took longer than `slow_after` seconds is degraded.
    """
    supervisor = pool.best
    if supervisor is None:
        return Health("unknown", detail=Phase.STOPPED.value, data={"state": Phase.STOPPED.value})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHECK):
            await supervisor.settled()
    supervisor = pool.best or supervisor
    connection = supervisor.connection
    facts = _facts(pool, supervisor, sandbox, connection)
    if connection is None:
        detail = str(supervisor.error or supervisor.phase.value)
        return Health("unknown" if supervisor.error is None else "error", detail=detail, data=facts)
    if supervisor.phase is Phase.DEGRADED:
        return Health("degraded", detail="silent; being pinged", data=facts)
    down = [member for member in pool.shared if member.down]
    if down:
        detail = f"{len(down)} of {len(pool.shared)} instances are down: {down[0].supervisor.error}"
        return Health("degraded", detail=detail, data=facts)
    took = pace.mean
    if slow_after is not None and took is not None and took > slow_after:
        detail = f"slow: its last answers took {took:.3g} s on average (slow_after = {slow_after:g})"
        return Health("degraded", detail=detail, latency=took, data=facts)
    if not deep and time.monotonic() - connection.seen < RECENT:
        return Health("ok", detail=connection.server, data=facts)
    try:
        async with asyncio.timeout(CHECK):
            latency = await connection.ping()
    except TimeoutError:
        return Health("degraded", detail=f"no answer within {CHECK:g} s", data=facts)
    except GleitzeitError as error:
        return Health("error", detail=str(error), data=_facts(pool, supervisor, sandbox, None))
    if slow_after is not None and latency > slow_after:
        detail = f"slow: it took {latency:.3g} s to answer a ping (slow_after = {slow_after:g})"
        return Health("degraded", detail=detail, latency=latency, data=facts)
    return Health("ok", detail=connection.server, latency=latency, data=facts)


def _facts(
    pool: Pool, supervisor: Supervisor, sandbox: str | None, connection: Connection | None
) -> dict[str, Any]:
    members = pool.members
    facts: dict[str, Any] = {
        "state": supervisor.phase.value,
        "restarts": sum(member.supervisor.restarts for member in members),
        "instances": len(members),
        "sandbox": sandbox,
    }
    if len(members) > 1:
        facts["ready"] = sum(member.ready for member in members)
    if supervisor.down_since is not None:
        facts["down_since"] = stamp(supervisor.down_since)
    if connection is not None:
        diagnostics = connection.wire.diagnostics()
        facts |= {"era": connection.era, "protocol": connection.version, "server": connection.server}
        facts |= {key: diagnostics[key] for key in ("pid", "guarded", "junk_lines") if key in diagnostics}
    return facts


def stamp(seconds: float) -> str:
    """A time of the epoch, for people: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
