"""How a server fares: by the state of its session, by its traffic, and only then by asking."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Health
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["examine"]

#: Traffic within so many seconds is proof enough of life.
RECENT: Final = 5.0
#: Seconds for a server to answer.
CHECK: Final = 5.0


async def examine(supervisor: Supervisor, sandbox: str | None, *, deep: bool) -> Health:
    """The health of the server that `supervisor` keeps; waits out its first start, opens no session."""
    await supervisor.settled()
    connection = supervisor.connection
    facts = _facts(supervisor, sandbox, connection)
    if connection is None:
        detail = str(supervisor.error or supervisor.phase.value)
        idle = supervisor.phase in (Phase.IDLE, Phase.STOPPED)
        return Health("unknown" if idle else "error", detail=detail, data=facts)
    if supervisor.phase is Phase.DEGRADED:
        return Health("degraded", detail="silent; being pinged", data=facts)
    if not deep and time.monotonic() - connection.seen < RECENT:
        return Health("ok", detail=connection.server, data=facts)
    try:
        async with asyncio.timeout(CHECK):
            latency = await connection.ping()
    except TimeoutError:
        return Health("degraded", detail=f"no answer within {CHECK:g} s", data=facts)
    except GleitzeitError as error:
        return Health("error", detail=str(error), data=_facts(supervisor, sandbox, None))
    return Health("ok", detail=connection.server, latency=latency, data=facts)


def _facts(supervisor: Supervisor, sandbox: str | None, connection: Connection | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "state": supervisor.phase.value,
        "restarts": max(0, supervisor.generation - 1),
        "sandbox": sandbox,
    }
    if connection is not None:
        diagnostics = connection.wire.diagnostics()
        facts |= {"era": connection.era, "protocol": connection.version, "server": connection.server}
        facts |= {key: diagnostics[key] for key in ("pid", "guarded", "junk_lines") if key in diagnostics}
    return facts
