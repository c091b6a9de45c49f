"""A child process that neither outlives its host nor leaves anything behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch
from gleitzeit.wire.closing import surely

__all__ = ["Child", "abort"]

LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
#: Variables without which an interpreter may not start.
INTERPRETER: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
#: Seconds for the launcher to report: it is a bare interpreter, but a busy machine may be slow.
START: Final = 20.0
#: Seconds for the launcher to end everything before it is killed itself.
KILL: Final = 4.0
#: Bytes read ahead of the reader before the pipe fills up.
AHEAD: Final = 2**20


class Child:
    """A process under a launcher of its own (`launcher.py`), as `gleitzeit.kinds.Process`.

    It ends with its host, however that ends, and on Linux so does all that it started. The launcher
    outlives the process by a moment, to end its descendants; `wait` waits for the process, `kill`
    for the launcher too. `kill` has to be called also after the process has ended by itself.
    """

    #: Do the process and its descendants end when this process is killed?
    guarded: Final = True

    pid: int
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._control: asyncio.StreamWriter | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._monitor: asyncio.Task[None] | None = None
        self._exited = asyncio.Event()
        self._returncode: int | None = None

    @classmethod
    async def start(cls, launch: Launch) -> Child:
        """Start a process; raises `CannotConnectError` with the reason where that fails.

        It gets exactly the variables of `launch`, three pipes, no other descriptor, and a session and
        process group of its own. The arguments of the launcher hold neither command nor variables.
        """
        if not _anywhere(launch):  # which a launcher would find out at the price of an interpreter
            raise _refused(launch, f"exec {errno.ENOENT} {os.strerror(errno.ENOENT)}")
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise _unlaunched(launch, error) from error
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220 - a vfork and exec, as asyncio does it
                [sys.executable, "-I", "-S", LAUNCHER, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={name: os.environ[name] for name in INTERPRETER if name in os.environ},
            )
        except OSError as error:
            ours.close()
            raise _unlaunched(launch, error) from error
        finally:
            theirs.close()
        child = cls(popen)
        try:
            async with asyncio.timeout(START):
                await child._connect(ours, launch)
        except BaseException as error:
            if child._control is None:
                ours.close()
            popen.kill()
            await surely(child._release())
            if isinstance(error, TimeoutError):
                raise CannotConnectError(
                    f"the launcher of {launch.command[0]!r} did not report in {START:g} s",
                    hint="is this machine overloaded?",
                ) from None
            raise
        return child

    async def _connect(self, ours: socket.socket, launch: Launch) -> None:
        loop = asyncio.get_running_loop()
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        reader, self._control = await asyncio.open_unix_connection(sock=ours)
        self.stdout = await self._reader(loop, self._popen.stdout)
        self.stderr = await self._reader(loop, self._popen.stderr)
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        transport, _ = await loop.connect_write_pipe(lambda: protocol, self._popen.stdin)
        self._transports.append(transport)
        self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        plan = json.dumps({"command": launch.command, "env": dict(launch.env), "cwd": launch.cwd}).encode()
        self._control.write(len(plan).to_bytes(4, "big") + plan)
        kind, _, rest = (await reader.readline()).decode(errors="replace").strip().partition(" ")
        if kind != "pid":
            raise _refused(launch, rest)
        self.pid = int(rest)
        self._monitor = loop.create_task(self._watch(reader), name=f"process: watch {self.pid}")

    async def _reader(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes]) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=AHEAD)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._transports.append(transport)
        return reader

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        """Note the exit status, then wait for the launcher to finish its sweep."""
        try:
            while line := await reader.readline():
                kind, _, rest = line.decode(errors="replace").strip().partition(" ")
                if kind == "exit":
                    self._returncode = int(rest)
                    self._exited.set()
        except OSError:
            pass
        finally:
            if self._returncode is None:
                # The launcher itself was killed, and the kernel kills the process with it.
                self._returncode = -signal.SIGKILL
                self._signal(signal.SIGKILL)
            self._exited.set()

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs, negative: the number of a signal."""
        return self._returncode

    async def wait(self) -> int:
        """Wait for the end of the process."""
        await self._exited.wait()
        assert self._returncode is not None
        return self._returncode

    def terminate(self) -> None:
        """Ask the process and its group to end (SIGTERM)."""
        self._ask(b"t")

    async def kill(self) -> None:
        """End the process and everything that it started, and free what it used. Idempotent."""
        self._ask(b"k")
        if self._monitor is not None and not self._monitor.done():
            await asyncio.wait({self._monitor}, timeout=KILL)
            if not self._monitor.done():  # a stopped or wedged launcher
                self._signal(signal.SIGKILL)
                self._popen.kill()
                await asyncio.wait({self._monitor}, timeout=KILL)
        await self._release()

    def _ask(self, what: bytes) -> None:
        if self._control is not None and not self._control.is_closing():
            self._control.write(what)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _release(self) -> None:
        """Reap the launcher, which is ending, and close every descriptor."""
        if self._monitor is not None:
            self._monitor.cancel()
        deadline = time.monotonic() + KILL
        while self._popen.poll() is None:
            if time.monotonic() > deadline:
                self._popen.kill()
            await asyncio.sleep(0.002)
        for transport in self._transports:
            if isinstance(transport, asyncio.WriteTransport):
                abort(transport)
            transport.close()
        if self._control is not None:
            self._control.close()
        for pipe in (self._popen.stdout, self._popen.stderr, self._popen.stdin)[len(self._transports) :]:
            if pipe is not None:
                pipe.close()
        await asyncio.sleep(0)  # the loop closes transports in its next turn


def _anywhere(launch: Launch) -> bool:
    """Is there any file that the command may mean? Whether it can be run is for the kernel to say."""
    command, folder = launch.command[0], launch.cwd or ""
    if os.sep in command:
        return os.path.exists(os.path.join(folder, command)) or not os.path.isdir(folder or ".")
    places = launch.env.get("PATH", os.defpath).split(os.pathsep)
    return any(os.path.exists(os.path.join(folder, place, command)) for place in places)


def _unlaunched(launch: Launch, error: OSError) -> CannotConnectError:
    """Why not even the launcher could be started."""
    hints = {
        errno.EMFILE: "raise the limit of open files (`ulimit -n`): a process takes four",
        errno.ENFILE: "this machine has too many open files",
        errno.EAGAIN: "raise the limit of processes (`ulimit -u`)",
        errno.ENOMEM: "this machine has no memory left",
    }
    reason = error.strerror or error
    return CannotConnectError(
        f"the launcher of {launch.command[0]!r} does not start: {reason}",
        hint=hints.get(error.errno or 0, f"it needs the interpreter {sys.executable!r}"),
    )


def _refused(launch: Launch, report: str) -> CannotConnectError:
    """Why the launcher could not start the command, from its report `failed STAGE ERRNO TEXT`."""
    stage, _, rest = report.partition(" ")
    number, _, said = rest.partition(" ")
    text = said or "the launcher ended without a word"
    command = launch.command[0]
    if stage == "cwd":
        return CannotConnectError(
            f"the working directory {launch.cwd!r} of {command!r}: {text}",
            hint="correct `cwd`, or create the directory",
        )
    if number == str(errno.E2BIG):
        hint = "shorten `args` or `env`, or write what is long into a file"
    elif os.sep not in command:
        hint = f"install it, or give its full path in `command`; PATH is {launch.env.get('PATH')!r}"
    elif os.path.exists(os.path.join(launch.cwd or "", command)):
        hint = "check its permissions and the interpreter in its first line"
    else:
        hint = "correct the path in `command`"
    return CannotConnectError(f"the command {command!r} cannot be started: {text}", hint=hint)


def abort(transport: asyncio.WriteTransport) -> None:
    """Close now and drop what was not written; harmless on a transport that is closed already."""
    # asyncio's own abort fails on a pipe whose end was noticed before.
    if not transport.is_closing() or transport.get_write_buffer_size():
        transport.abort()
