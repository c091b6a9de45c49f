"""A host with a server that goes wrong and one beside it that must not notice, and what is seen of both."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from gleitzeit import Host, ToolCall
from gleitzeit.errors import DeadlineError, GleitzeitError
from tests.benchmarks.table import Progress

__all__ = ["HERE", "LOOK", "PATIENCE", "Asked", "Scene", "Seen", "alive", "remote", "reserved", "stdio"]

HERE: Final = Path(__file__).parent
#: Seconds for whatever must happen sooner or later; who waits so long has found a fault of ours.
PATIENCE: Final = 60.0
#: Seconds between two looks at what tells of itself in no other way, and between two calls of the sibling.
LOOK: Final = 0.005
#: Calls of the sibling in each scene, at least.
LEAST: Final = 20
#: Seconds for processes and descriptors to be gone.
SETTLE: Final = 10.0


@dataclass
class Asked:
    """One call, and how it ended."""

    timeout: float
    begun: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    text: str | None = None
    error: GleitzeitError | None = None


@dataclass
class Seen:
    """What was seen of one fault; times in seconds."""

    #: The call that was in flight, or that met the fault.
    met: Asked | None = None
    #: How long after the fault, or where only its deadline ended it, after that.
    late: float | None = None
    by_deadline: bool = False
    #: Calls of the sibling, those that were answered, and the longest time that one took.
    asked: int = 0
    answered: int = 0
    slowest: float = 0.0
    #: From the fault, or from its end, to the next good answer, without what the server took to start.
    healed: float | None = None
    #: Until all processes had ended, where the host itself was killed.
    gone: float | None = None
    #: In place of the one call, where there were many.
    summary: str = ""
    left: dict[str, int] = field(default_factory=dict)
    #: What else was to hold and did not.
    problems: list[str] = field(default_factory=list)

    def must(self, holds: bool, problem: str) -> None:
        """Note the problem unless this holds."""
        if not holds:
            self.problems.append(problem)


def stdio(log: Path, *, options: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The entry of a server over its standard streams."""
    told = json.dumps({"log": str(log), **(options or {})})
    entry = {"command": sys.executable, "args": [str(HERE / "rogue.py"), told], "mode": "modern"}
    return {**entry, "sandbox": "none", **fields}


@asynccontextmanager
async def remote(wire: str, log: Path, **options: Any) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """The process of a server over HTTP or gRPC, and its address, as soon as it listens."""
    told = json.dumps({"wire": wire, "log": str(log), **options})
    command = [sys.executable, str(HERE / "peer.py"), told]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        yield process, line.decode().strip()
    finally:
        process.kill()
        process.stdout.close()
        await asyncio.to_thread(process.wait)


@contextmanager
def reserved() -> Iterator[int]:
    """A port that stays somebody's while the server that listens there is killed and started anew."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class Scene:
    """Everything of one fault; the host lives inside of `open`."""

    def __init__(self, folder: Path, progress: Progress, *, quick: bool) -> None:
        self.folder = folder
        self.progress = progress
        self.quick = quick
        self.seen = Seen()
        self.at = 0.0
        #: Processes that must be gone in the end, beside those that name the folder in their command.
        self.pids: set[int] = set()
        self.host: Any = None
        self._turns: Turns | None = None

    def log(self, name: str) -> Path:
        """Where a server writes what it hears."""
        return self.folder / f"{name}.jsonl"

    @asynccontextmanager
    async def open(
        self,
        victim: Mapping[str, Any],
        sibling: Mapping[str, Any] | None = None,
        *,
        warm: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Self]:
        """A host with both; the sibling is called on and on. `warm`: the victim stands before anything."""
        servers = {"victim": dict(victim), "sibling": dict(sibling or stdio(self.log("sibling")))}
        async with Host({"servers": servers, "host": settings or {}}, environ={}) as self.host:
            await self._one(0, "sibling", PATIENCE)
            first = await self.said("health", "sibling")
            if warm:
                await self.good()
                self._turns = Turns(self.instance())
            over = asyncio.Event()
            others = asyncio.create_task(self._others(over))
            try:
                yield self
                await self.until(lambda: self.seen.asked > LEAST)
            finally:
                over.set()
                await asyncio.wait({others})
            last = await self.said("health", "sibling")
            self.seen.must(first == last, f"the sibling was touched: {first}, {last}")

    async def said(self, what: str, name: str) -> Any:
        """The state of a server: its process and how often it was started anew."""
        instance = self.instance(name)
        data = (await instance.health()).data
        return {key: data.get(key) for key in ("pid", "restarts", "state")}

    def instance(self, name: str = "victim") -> Any:
        """The provider of a server."""
        found = self.host._registry.find("provider", name)
        return found.object

    async def pid(self) -> int:
        """The process of the victim."""
        pid = int((await self.said("pid", "victim"))["pid"])
        self.pids.add(pid)
        return pid

    async def good(self, timeout: float = PATIENCE) -> None:
        """A call of the victim that is answered as it should."""
        await self._one(-1, "victim", timeout)

    async def ask(self, tool: str, timeout: float = PATIENCE, **arguments: Any) -> Asked:
        """A call of the victim, to its end."""
        call = Asked(timeout)
        try:
            reply = await self.host.call(ToolCall(arguments).to(f"victim/{tool}", timeout=timeout))
            call.text = reply.text
        except GleitzeitError as error:
            call.error = error.with_traceback(None)
        call.ended = time.monotonic()
        return call

    async def flying(self, tool: str = "gate", timeout: float = PATIENCE) -> asyncio.Task[Asked]:
        """A call of the victim that has reached it."""
        before = self.heard(tool)
        task = asyncio.create_task(self.ask(tool, timeout))
        await self.until(lambda: self.heard(tool) > before)
        return task

    def heard(self, tool: str) -> int:
        """How often the victim was asked for a tool."""
        log = self.log("victim")
        return log.read_text(encoding="utf-8").count(f'"{tool}"') if log.exists() else 0

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait for what tells of itself in no other way."""
        end = time.monotonic() + PATIENCE
        while not check():
            if time.monotonic() > end:
                raise TimeoutError("it never came")
            await asyncio.sleep(LOOK)

    def strike(self) -> None:
        """The fault happens now."""
        self.at = time.monotonic()

    async def met(self, call: Awaitable[Asked]) -> Asked:
        """Wait for the call that meets the fault."""
        seen = self.seen
        seen.met = asked = await call
        seen.by_deadline = isinstance(asked.error, DeadlineError)
        seen.late = asked.ended - (asked.begun + asked.timeout if seen.by_deadline else self.at)
        return asked

    async def heals(self, *, since: float | None = None, restart: bool = True) -> None:
        """Call until there is a good answer; `restart`: by a new process, whose start does not count."""
        self._turns = self._turns or Turns(self.instance())
        since = self.at if since is None else since
        end = time.monotonic() + PATIENCE
        while True:
            try:
                await self.good()
                break
            except GleitzeitError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(LOOK)
        self.seen.healed = time.monotonic() - since - (self._turns.start if restart else 0.0)

    async def _one(self, number: int, server: str, timeout: float) -> None:
        reply = await self.host.call(ToolCall({"text": f"n{number}"}).to(f"{server}/echo", timeout=timeout))
        if reply.text != f"n{number}":
            self.seen.problems.append(f"{server} answered {reply.text[:40]!r} to {number}")

    async def _others(self, over: asyncio.Event) -> None:
        seen = self.seen
        while not over.is_set():
            seen.asked += 1
            begun = time.monotonic()
            try:
                await self._one(seen.asked, "sibling", PATIENCE)
                seen.answered += 1
            except GleitzeitError as error:
                seen.problems.append(f"the sibling: {error!r}")
            seen.slowest = max(seen.slowest, time.monotonic() - begun)
            await asyncio.sleep(LOOK)

    async def remaining(self) -> int:
        """Processes of this scene that still run, after they had time to end."""
        end = time.monotonic() + SETTLE
        while (found := self._running()) and time.monotonic() < end:
            await asyncio.sleep(LOOK)
        return len(found)

    def _running(self) -> set[int]:
        found = {pid for pid in self.pids if alive(pid)}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.folder).encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                    found.add(int(path.parent.name))
            except OSError:
                continue  # it has just ended
        return found


class Turns:
    """How long the last start of a server took, from its first step to the session that stands."""

    def __init__(self, provider: Any) -> None:
        self.start = 0.0
        self._begun: float | None = None
        supervisor = provider._pool.members[0].supervisor
        turned = supervisor._on_turn

        def turn(one: Any) -> None:
            now = time.monotonic()
            if one.phase == "starting":
                self._begun = now
            elif one.phase == "ready" and self._begun is not None:
                self.start, self._begun = now - self._begun, None
            turned(one)

        if supervisor.phase == "starting":
            self._begun = supervisor.since
        supervisor._on_turn = turn


def alive(pid: int) -> bool:
    """Does the process run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
