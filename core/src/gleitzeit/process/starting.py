"""Which way of starting a process this system allows."""

from __future__ import annotations

import os
import sys

from gleitzeit.kinds import Launch
from gleitzeit.process.child import Child
from gleitzeit.process.direct import Direct

__all__ = ["start", "supported"]


async def start(launch: Launch) -> Child | Direct:
    """Start a process; its `guarded` says whether all that it starts surely ends with it and with us.

    The caller owns it, and ends it by `kill`. Nothing is left where starting is cancelled. Raises
    `CannotConnectError` with the reason, and nothing was sent, where the command cannot be started.
    """
    return await (Child if supported() else Direct).start(launch)


def supported() -> bool:
    """Can this system run the launcher? It forks, and needs the interpreter as a program."""
    if os.name != "posix" or getattr(sys, "frozen", False):
        return False
    return "py" in os.path.basename(sys.executable or "")  # else it is a program that embeds Python
