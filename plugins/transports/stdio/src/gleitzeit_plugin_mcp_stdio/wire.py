"""One open connection to a server over the standard streams of its process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gleitzeit.errors import ProcessDiedError, ResetError, WireError
from gleitzeit.kinds import Endpoint, Frame, Process
from gleitzeit.process import Tail, abort, secrets_in
from gleitzeit.wire.jsonrpc import dump, messages
from gleitzeit_plugin_mcp_stdio.framing import Lines

__all__ = ["StdioWire"]

#: Bytes that wait for a server before further senders wait for room.
ROOM: Final = 2**16
CHUNK: Final = 2**18
#: Seconds from the end of a process to the end of its output, from that to the end of the process, and from
#: SIGTERM to SIGKILL for one that is not worth waiting for.
SETTLE: Final = 0.25
#: Lines of stderr that an error shows, and junk lines that diagnostics keep, with how much of each.
SHOWN: Final = 8
JUNK: Final = 5
JUNK_BYTES: Final = 4096


class StdioWire:
    """Lines of JSON on stdin and stdout; see `gleitzeit.kinds.Wire`. stderr is kept for errors."""

    def __init__(self, endpoint: Endpoint, process: Process, *, limit: int, kept: int, grace: float) -> None:
        self._name = endpoint.name
        self._command = os.path.basename(endpoint.command[0])
        self._process = process
        self._grace = grace
        self._lost = asyncio.Event()
        self._error: WireError | None = None
        self._closing = False
        self._given_up = asyncio.Event()
        self._ended = asyncio.Event()  # nothing more comes out of stdout
        self._lines = Lines(limit)
        self._ready: deque[Mapping[str, Any]] = deque()
        self._tail = Tail(kept, secrets_in(endpoint.env, endpoint.options.get("secrets", ())))
        self._junk: deque[bytes] = deque(maxlen=JUNK)
        self._junk_count = 0
        process.stdin.transport.set_write_buffer_limits(high=ROOM)
        self._stderr = asyncio.create_task(self._keep_stderr(), name=f"stdio: stderr of {self._name}")
        self._exit = asyncio.create_task(self._await_exit(), name=f"stdio: exit of {self._name}")

    @property
    def lost(self) -> asyncio.Event:
        """Set once nothing more will come or go."""
        return self._lost

    @property
    def error(self) -> WireError | None:
        """Why the wire was lost; None while it stands and after a wanted close."""
        return self._error

    async def send(self, frame: Frame) -> None:
        """Write a frame; waits while the server does not read, until cancelled or the wire is lost."""
        line = dump(frame.message, self._name) + b"\n"
        stdin = self._process.stdin
        transport = stdin.transport
        if not self._lost.is_set() and transport.get_write_buffer_size() > ROOM:
            with suppress(OSError):
                await stdin.drain()
        if self._lost.is_set() or transport.is_closing():
            raise await self._unsent()
        empty = transport.get_write_buffer_size() == 0
        stdin.write(line)
        if empty and transport.is_closing():  # refused at once: nobody holds the other end any more
            raise await self._unsent()

    async def _unsent(self) -> WireError:
        """The error for a frame of which no byte left, once it is known why."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * SETTLE):
                await self._lost.wait()
        why = self._error
        if why is None:
            what = f"the connection to server {self._name!r} is closed"
            return ResetError(what, provider=self._name, sent=False)
        return type(why)(why.message, hint=why.hint, provider=self._name, sent=False)

    def __aiter__(self) -> StdioWire:
        return self

    async def __anext__(self) -> Frame:
        while True:
            if self._ready:
                return Frame(self._ready.popleft())
            if self._ended.is_set():
                await self._finish()
                raise StopAsyncIteration
            try:
                chunk = await self._process.stdout.read(CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                self._ended.set()
                continue
            for line in self._lines.feed(chunk):
                found = messages(line)
                if found is None:
                    self._note_junk(line)
                else:
                    self._ready.extend(found)
            if self._lines.overflow:
                self._ended.set()
                self.give_up()
                self._lose(
                    ResetError(
                        f"server {self._name!r} sent a message of more than {self._lines.limit} bytes",
                        hint="raise `max_message_bytes` of the stdio transport if it needs that",
                        provider=self._name,
                    )
                )

    async def _finish(self) -> None:
        """The output has ended: leave the exit status a moment to arrive, as it is the better reason."""
        if not self._lost.is_set():
            await asyncio.wait({self._exit}, timeout=SETTLE)
        self._lose(
            ResetError(
                f"server {self._name!r} closed its output, although its process runs on",
                hint=self._last_words(),
                provider=self._name,
            )
        )

    async def _await_exit(self) -> None:
        status = await self._process.wait()
        # What it said last is still on its way; whoever inherited its streams must not hold this up.
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await asyncio.wait({self._stderr})
                await self._ended.wait()
        self._lose(
            ProcessDiedError(
                f"server {self._name!r}: the process {self._command!r} {_describe(status)}",
                hint=self._last_words(),
                provider=self._name,
            )
        )

    async def _keep_stderr(self) -> None:
        with suppress(OSError):
            while chunk := await self._process.stderr.read(CHUNK):
                self._tail.feed(chunk)

    def _lose(self, error: WireError) -> None:
        if not self._lost.is_set():
            self._error = None if self._closing else error
            self._lost.set()
            abort(self._process.stdin.transport)  # wakes senders that wait for room

    def _last_words(self) -> str:
        text = self._tail.text(SHOWN)
        return f"its last words on stderr:\n{text}" if text else "it wrote nothing to stderr"

    def _note_junk(self, line: bytes) -> None:
        self._junk_count += 1
        self._junk.append(bytes(line[:JUNK_BYTES]))  # cleaned when somebody asks: a flood must cost little

    def diagnostics(self) -> Mapping[str, Any]:
        """The process and what it said besides messages; free of the secrets that it was given."""
        return {
            "pid": self._process.pid,
            "exit_status": self._process.returncode,
            "guarded": getattr(self._process, "guarded", True),
            "stderr": self._tail.text(SHOWN),
            "stderr_bytes": self._tail.total,
            "junk_lines": self._junk_count,
            "junk": tuple(self._tail.clean(line.decode("utf-8", "replace"))[:200] for line in self._junk),
        }

    def give_up(self) -> None:
        """The server does not answer, or writes without end: `close` is not to wait for it either."""
        self._given_up.set()

    async def close(self) -> None:
        """End the process: close its input, wait, SIGTERM, wait, SIGKILL; then all that it started."""
        self._closing = True
        stdin = self._process.stdin
        # What a wedged server has not read by now stands between it and the end of its input.
        wedged = stdin.transport.get_write_buffer_size() > 0
        stdin.close()
        drain = asyncio.create_task(self._drain(), name=f"stdio: drain {self._name}")
        try:
            if not wedged:
                await self._ends_within(self._grace)
            if not self._exit.done() and (terminate := getattr(self._process, "terminate", None)):
                terminate()
                await self._ends_within(self._grace, hurried=min(self._grace, SETTLE))
            await self._process.kill()
        finally:
            tasks = (drain, self._stderr, self._exit)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._lose(ResetError("closed"))

    async def _ends_within(self, seconds: float, *, hurried: float = 0) -> None:
        """Give the process some time to end by itself; once it is given up, `hurried` seconds."""
        given_up = asyncio.create_task(self._given_up.wait(), name=f"stdio: patience with {self._name}")
        await asyncio.wait({self._exit, given_up}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if given_up.done() and hurried:
            await asyncio.wait({self._exit}, timeout=hurried)
        given_up.cancel()

    async def _drain(self) -> None:
        """Read on and throw away: a server that cannot write its last output does not come to its end."""
        with suppress(OSError, RuntimeError):  # RuntimeError: a reader is still in `__anext__`
            while await self._process.stdout.read(CHUNK):
                pass
        self._ended.set()


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
