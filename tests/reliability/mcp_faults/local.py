"""Faults of servers over their standard streams."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Final

from tests.reliability import servers
from tests.reliability.mcp_faults.scene import HERE, Scene, alive, stdio

__all__ = [
    "HUGE",
    "always_failing",
    "beyond_the_limit",
    "ending_at_the_probe",
    "ending_well",
    "endless_line",
    "flood",
    "frozen",
    "frozen_at_the_close",
    "garbage",
    "grandchildren",
    "host_killed",
    "hundred_megabytes",
    "killed",
    "killed_idle",
    "launcher_killed",
    "load",
    "missing",
    "no_descriptor",
    "silent_at_the_probe",
    "slow",
    "wedged",
]

BRIEF: Final = 0.5  # seconds of calls that only their deadline ends
HANG: Final = 0.2  # seconds that a silent server gets to answer a ping
HUGE: Final = 100_000_000
FEW: Final = 256  # descriptors that a process may have which is to run out of them


async def killed(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        call, pid = await scene.flying(), await scene.pid()
        scene.strike()
        os.kill(pid, signal.SIGKILL)
        await scene.met(call)
        await scene.heals()


async def killed_idle(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        supervisor = scene.instance()._pool.members[0].supervisor
        pid = await scene.pid()
        scene.strike()
        os.kill(pid, signal.SIGKILL)
        await scene.until(lambda: supervisor.connection is None)
        await scene.met(scene.ask("echo", text="x"))
        await scene.heals()


async def frozen(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"), hang_timeout=HANG)):
        call, pid = await scene.flying(timeout=BRIEF), await scene.pid()
        scene.strike()
        os.kill(pid, signal.SIGSTOP)
        asked = await scene.met(call)
        await scene.heals(since=asked.ended + HANG)


async def frozen_at_the_close(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        os.kill(await scene.pid(), signal.SIGSTOP)
        scene.strike()
    await scene.until(lambda: not any(map(alive, scene.pids)))
    scene.seen.gone = time.monotonic() - scene.at


async def wedged(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"), hang_timeout=HANG)):
        await scene.pid()
        await scene.ask("deaf")
        scene.strike()
        asked = await scene.met(scene.ask("echo", BRIEF, text="x" * 1_000_000))
        await scene.heals(since=asked.ended + HANG)


async def garbage(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        call = await scene.flying()
        scene.strike()
        await scene.ask("garbage", bytes=5_000_000)
        junk = (await scene.instance().health()).data["junk_lines"]
        scene.seen.must(junk == 5_000_000 // 64, f"{junk} lines of garbage were counted")
        await scene.ask("release")
        await scene.met(call)
        await _unharmed(scene)


async def flood(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        call = await scene.flying()
        scene.strike()
        await scene.ask("flood", bytes=20_000_000)
        await scene.ask("release")
        await scene.met(call)
        await _unharmed(scene)


async def _unharmed(scene: Scene) -> None:
    """It was the same process all the time."""
    restarts = (await scene.said("health", "victim"))["restarts"]
    scene.seen.must(restarts == 0, f"started anew {restarts} times")
    since = time.monotonic()
    await scene.heals(since=since, restart=False)


async def endless_line(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        await scene.pid()
        scene.strike()
        asked = await scene.met(scene.ask("endless"))
        scene.seen.must("max_message_bytes" in str(asked.error), f"no word of the limit: {asked.error}")
        await scene.heals(since=asked.ended)


async def beyond_the_limit(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        call = await scene.flying()
        scene.strike()
        asked = await scene.ask("large", size=HUGE)
        scene.seen.must("max_message_bytes" in str(asked.error), f"no word of the limit: {asked.error}")
        await scene.met(call)
        await scene.heals(since=asked.ended)


async def hundred_megabytes(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"), options={}) | {"options": {"max_message_bytes": 2**28}}):
        scene.strike()
        asked = await scene.met(scene.ask("large", size=HUGE))
        scene.seen.must(len(asked.text or "") == HUGE, "not all of it came")
        asked.text = ""
        await _unharmed(scene)


async def missing(scene: Scene) -> None:
    command = scene.folder / "server"
    entry = stdio(scene.log("victim"))
    async with scene.open({**entry, "command": str(command)}, warm=False):
        scene.strike()
        await scene.met(scene.ask("echo", text="x"))
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        await scene.heals(since=time.monotonic())


async def always_failing(scene: Scene) -> None:
    needed = scene.folder / "needed"
    async with scene.open(stdio(scene.log("victim"), options={"needs": str(needed)}), warm=False):
        await scene.ask("echo", text="x")
        supervisor = scene.instance()._pool.members[0].supervisor
        await scene.until(lambda: supervisor.phase == "open")
        scene.strike()
        await scene.met(scene.ask("echo", text="x"))
        needed.touch()
        await scene.heals(since=time.monotonic())


async def no_descriptor(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        pid = await scene.pid()
        with _exhausted():
            scene.strike()
            os.kill(pid, signal.SIGKILL)
            supervisor = scene.instance()._pool.members[0].supervisor
            await scene.until(lambda: supervisor.failures > 0)
            await scene.met(scene.ask("echo", text="x"))
        await scene.heals(since=time.monotonic())


@contextmanager
def _exhausted() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def silent_at_the_probe(scene: Scene) -> None:
    old = {"era": "legacy", "unknown": "silent"}
    async with scene.open(
        stdio(scene.log("victim"), options=old, mode="auto", probe_timeout=BRIEF), warm=False
    ):
        scene.strike()
        await scene.met(scene.ask("echo", text="x"))
        await _era_is_remembered(scene)


async def ending_at_the_probe(scene: Scene) -> None:
    old = {"era": "legacy", "unknown": "exit"}
    async with scene.open(stdio(scene.log("victim"), options=old, mode="auto"), warm=False):
        scene.strike()
        await scene.met(scene.ask("echo", text="x"))
        await _era_is_remembered(scene)


async def _era_is_remembered(scene: Scene) -> None:
    pid = await scene.pid()
    scene.strike()
    os.kill(pid, signal.SIGKILL)
    await scene.heals()
    probes = scene.heard("server/discover")
    scene.seen.must(probes == 1, f"probed {probes} times")


async def grandchildren(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        child = int((await scene.ask("spawn")).text or "")
        call, pid = await scene.flying(), await scene.pid()
        scene.strike()
        os.kill(pid, signal.SIGKILL)
        await scene.met(call)
        await scene.heals()
        await scene.until(lambda: not alive(child))
        scene.pids.add(int((await scene.ask("spawn")).text or ""))  # it ends with the host's close


async def launcher_killed(scene: Scene) -> None:
    """The process that looks after the server is killed; the server goes with it."""
    async with scene.open(stdio(scene.log("victim"))):
        call, pid = await scene.flying(), await scene.pid()
        launcher = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        scene.strike()
        os.kill(launcher, signal.SIGKILL)
        await scene.met(call)
        await scene.heals()


async def ending_well(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        child = int((await scene.ask("spawn")).text or "")
        call = await scene.flying()
        await scene.pid()
        scene.strike()
        last = asyncio.create_task(scene.ask("die", status=0))
        await scene.met(call)
        await scene.heals()
        await last
        await scene.until(lambda: not alive(child))


async def slow(scene: Scene) -> None:
    async with scene.open(stdio(scene.log("victim"))):
        scene.strike()
        await scene.met(scene.ask("wait", BRIEF, seconds=3 * BRIEF))
        await scene.heals(since=time.monotonic() + 2 * BRIEF, restart=False)


async def host_killed(scene: Scene) -> None:
    """The host is a process of its own here, whose servers have started processes themselves."""
    command = [sys.executable, str(HERE / "hosted.py"), str(scene.folder)]
    host = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert host.stdout is not None
    try:
        line = await asyncio.to_thread(host.stdout.readline)
        scene.pids.update(map(int, line.split()))
        scene.seen.must(len(scene.pids) == 4, f"the host started {scene.pids}")
        scene.seen.must(all(map(alive, scene.pids)), "they did not run")
    finally:
        scene.strike()
        host.kill()
        host.stdout.close()
        await asyncio.to_thread(host.wait)
    await scene.until(lambda: not any(map(alive, scene.pids)))
    scene.seen.gone = time.monotonic() - scene.at


async def load(scene: Scene) -> None:
    """It is made to die again and again under thousands of calls."""
    calls, crashes = servers.scale(scene.quick)
    pauses: list[float] = []
    log = scene.log("victim")
    with servers.brisk():
        async with scene.open(stdio(log), settings=servers.QUIET):
            answered, failed, wrong = await servers.storm(
                scene.host, "victim", calls, crashes, pauses, scene.progress
            )
    came = servers.arrived(log)
    seen = scene.seen
    lost = calls - answered - failed
    seen.must(lost == 0 and not wrong, f"{lost} calls without an end; {wrong[:3]}")
    twice = sum(count > 1 for text, count in came.items() if text.startswith("c"))
    seen.must(twice == 0, f"{twice} calls arrived twice")
    seen.summary = f"{answered:,} answered, {failed:,} `WireError`, each once"
    seen.healed = median(pauses)
