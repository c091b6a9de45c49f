"""A child process without a launcher, for systems that cannot fork."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch

__all__ = ["Direct"]

AHEAD: Final = 2**20
#: Seconds for the event loop to notice a kill.
KILL: Final = 4.0


class Direct:
    """A process started by this one, as `gleitzeit.kinds.Process`.

    It ends with its host only if it heeds the end of its input, and what it started outside its
    process group stays; diagnostics say `guarded: False`.
    """

    guarded: Final = False

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.pid = process.pid
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr

    @classmethod
    async def start(cls, launch: Launch) -> Direct:
        """Start a process; raises `CannotConnectError` with the reason where that fails."""
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=AHEAD,
                env=dict(launch.env),
                cwd=launch.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise CannotConnectError(
                f"the command {launch.command[0]!r} cannot be started: {error}",
                hint=f"install it, or give its full path in `command`; PATH is {launch.env.get('PATH')!r}",
            ) from error
        return cls(process)

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end of the process."""
        # asyncio's own wait also waits for whoever inherited the pipes, and gives no event for the end alone.
        while self._process.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self._process.returncode

    def terminate(self) -> None:
        """Ask the process and its group to end."""
        self._signal("SIGTERM")

    async def kill(self) -> None:
        """End the process and its group. Idempotent."""
        self._signal("SIGKILL")
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL):
                await self.wait()
        self.stdin.close()
        for reader in (self.stdout, self.stderr):
            # Nothing public closes a pipe that a descendant still holds open.
            transport = getattr(reader, "_transport", None)
            if transport is not None:
                transport.close()
        await asyncio.sleep(0)

    def _signal(self, name: str) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.pid, getattr(signal, name))
            elif self._process.returncode is None:
                self._process.kill()
