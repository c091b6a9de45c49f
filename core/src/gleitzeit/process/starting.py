"""Which way of starting a process this system allows."""

from __future__ import annotations

import os
import sys

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch
from gleitzeit.process.child import Child
from gleitzeit.process.direct import Direct

__all__ = ["start", "supported"]


async def start(launch: Launch) -> Child | Direct:
    """Start a process; its `guarded` says whether all that it starts surely ends with it and with us.

    The caller owns it, and ends it by `kill`. Nothing is left where starting is cancelled. Raises
    `CannotConnectError` with the reason, and nothing was sent, where the command cannot be started.
    """
    _check(launch)
    return await (Child if supported() else Direct).start(launch)


def _check(launch: Launch) -> None:
    """Say what no system could pass on, and where; values, which may be secret, are not quoted."""
    command = launch.command[0]
    texts = {f"argument {number}": text for number, text in enumerate(launch.command) if number}
    texts |= {f"the variable {name!r}": text for name, text in launch.env.items()}
    places = {"the command": command, "the working directory": launch.cwd or "", **texts}
    for place, text in places.items():
        if (fault := _fault(text)) is not None:
            raise CannotConnectError(f"{command!r}: {place} {fault}", hint="correct the entry", sent=False)
    for name in launch.env:
        fault = "is none: it is empty, or has a =" if not name or "=" in name else _fault(name)
        if fault is not None:
            raise CannotConnectError(
                f"{command!r}: the name of the variable {name!r} {fault}", hint="correct `env`", sent=False
            )


def _fault(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "holds a character that is none"
    return None


def supported() -> bool:
    """Can this system run the launcher? It forks, and needs the interpreter as a program."""
    if os.name != "posix" or getattr(sys, "frozen", False):
        return False
    return "py" in os.path.basename(sys.executable or "")  # else it is a program that embeds Python
