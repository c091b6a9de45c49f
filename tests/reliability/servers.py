"""An MCP server that dies again and again under load: each call ends once, and a new process comes soon."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from gleitzeit import Host, ToolCall
from gleitzeit.errors import GleitzeitError, WireError
from tests.benchmarks.process import ROOT
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.held import held, settled

__all__ = ["QUIET", "arrived", "brisk", "measure", "scale", "storm"]

SCRIPT: Final = ROOT / "plugins" / "providers" / "mcp" / "tests" / "server.py"
WIDTH: Final = 32
#: Nothing is repeated by the host, so that what arrived can be counted.
QUIET: Final = {"retry": {"max_retries": 0}, "circuit_breaker": {"failure_threshold": 1_000_000}}
DEADLINE: Final = 60.0
#: Seconds from the loss of a session to the start of the next, at most.
PROMPT: Final = 0.05


async def measure(progress: Progress, quick: bool) -> Group:
    """Ten thousand calls over two hundred crashes, or short forms of both."""
    calls, crashes = scale(quick)
    group = Group("servers", f"{calls} calls over an MCP server that dies {crashes} times")
    # The thread that imports it stays with the loop.
    await asyncio.to_thread(importlib.import_module, "gleitzeit_plugin_mcp.session")

    pauses: list[float] = []
    before = held()
    with tempfile.TemporaryDirectory() as folder, brisk():
        log = Path(folder) / "heard.jsonl"
        entry = {"command": sys.executable, "args": [str(SCRIPT), json.dumps({"log": str(log)})]}
        config = {"servers": {"mortal": {**entry, "sandbox": "none", "mode": "modern"}}, "host": QUIET}
        async with Host(config, environ={}) as host:
            answered, failed, wrong = await storm(host, "mortal", calls, crashes, pauses, progress)
        came = arrived(log)
    after = await settled(before, 5.0)
    group.add("calls without exactly one end", calls - answered - failed + len(wrong), "", limit=0)
    group.add("calls that arrived twice", sum(count > 1 for count in came.values()), "", limit=0)
    group.add("answers to calls that never arrived", max(0, answered - len(came)), "", limit=0)
    group.add("calls that failed", failed, "", note="they were with the server when it died")
    limit = None if quick else 1000 * PROMPT  # a short form says nothing of time
    group.add("from a death to the next start, median", 1000 * median(pauses), "ms", limit=limit)
    group.add("processes that came after a death", len(pauses), "")
    for name, now, then in zip(before._fields, after, before, strict=True):
        group.add(f"{name} left behind", max(0, now - then), "", limit=0)
    return group


def scale(quick: bool) -> tuple[int, int]:
    """How many calls, and over how many crashes."""
    return (400, 6) if quick else (10_000, 200)


@contextmanager
def brisk() -> Iterator[None]:
    """Each crash is healed as the first; else it would be waited out longer than the one before."""
    from gleitzeit_plugin_mcp import supervisor

    usual = supervisor.PAUSE
    supervisor.PAUSE = (usual[0], usual[0])  # type: ignore[misc]
    try:
        yield
    finally:
        supervisor.PAUSE = usual  # type: ignore[misc]


async def storm(
    host: Host, server: str, calls: int, crashes: int, pauses: list[float], progress: Progress
) -> tuple[int, int, list[str]]:
    """(answered, failed, what went otherwise) of so many calls, while the server is made to die.

    `pauses` gets the seconds from each death to the next start.
    """
    numbers = iter(range(calls))
    answered = failed = 0
    wrong: list[str] = []
    await host.call(ToolCall({}).to(f"{server}/who"))
    pool: Any = host._registry.find("provider", server).object._pool  # type: ignore[union-attr]
    watched = pool.members[0].supervisor
    lost = 0.0
    turned = watched._on_turn

    def turn(supervisor: Any) -> None:
        nonlocal lost
        if supervisor.phase == "backoff" and not lost:
            lost = time.monotonic()
        elif supervisor.phase == "starting" and lost:
            pauses.append(time.monotonic() - lost)
            lost = 0.0
        turned(supervisor)

    watched._on_turn = turn

    async def caller() -> None:
        nonlocal answered, failed
        for number in numbers:
            try:
                request = ToolCall({"text": f"c{number}"}).to(f"{server}/echo", timeout=DEADLINE)
                reply = await host.call(request)
            except WireError:
                failed += 1
            except GleitzeitError as error:
                wrong.append(repr(error))
            else:
                answered += 1
                if reply.text != f"c{number}":
                    wrong.append(f"{number}: {reply.text}")
            if number % 100 == 0:
                progress.at(number, calls)

    async def reaper() -> None:
        for _ in range(crashes):
            try:
                await host.call(ToolCall({}).to(f"{server}/die", timeout=DEADLINE))
            except WireError:
                continue

    await asyncio.gather(reaper(), *(caller() for _ in range(WIDTH)))
    await host.call(ToolCall({}).to(f"{server}/who"))
    return answered, failed, wrong


def arrived(log: Path) -> Counter[str]:
    """How often each call has reached a server."""
    lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    texts = (line["params"]["arguments"].get("text") for line in lines if line.get("method") == "tools/call")
    return Counter(text for text in texts if text)
