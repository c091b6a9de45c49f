"""Faults of servers over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from tests.reliability.mcp_faults.scene import LOOK, Asked, Scene, remote, reserved
from tests.reliability.servers import QUIET

__all__ = ["answer_of", "forgotten", "frozen", "killed", "load", "redirected", "refused", "too_long"]

BRIEF: Final = 0.5  # seconds of calls that only their deadline ends
#: Calls, and how often the server is killed under them; so many of them at once.
LOAD: Final = (2000, 5)
WIDTH: Final = 16
Way: TypeAlias = Callable[[Scene], Awaitable[None]]


def _entry(wire: str, url: str, mode: str) -> dict[str, Any]:
    """What the configuration says of such a server."""
    return {"url": url, "mode": mode, **({"transport": "sse"} if wire == "sse" else {})}


@asynccontextmanager
async def _both(
    scene: Scene,
    wire: str,
    mode: str,
    *,
    warm: bool = True,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """The victim's process and address, in a host with a sibling of the same kind."""
    with reserved() as port:
        async with (
            remote(wire, scene.log("victim"), port=port, **options) as (process, url),
            remote(wire, scene.log("sibling")) as (_, other),
            scene.open(_entry(wire, url, mode), _entry(wire, other, mode), warm=warm, settings=settings),
        ):
            yield process, url


@asynccontextmanager
async def _anew(scene: Scene, wire: str, url: str) -> AsyncIterator[float]:
    """The server again, at the address it had; gives the moment since which it listens."""
    async with remote(wire, scene.log("victim"), port=urlsplit(url).port):
        yield time.monotonic()


def killed(wire: str, mode: str) -> Way:
    """The server is killed in a call, and started anew."""

    async def way(scene: Scene) -> None:
        async with _both(scene, wire, mode) as (process, url):
            call = await scene.flying()
            scene.strike()
            process.kill()
            await scene.met(call)
            await asyncio.to_thread(process.wait)
            async with _anew(scene, wire, url) as since:
                await scene.heals(since=since, restart=False)

    return way


def load(wire: str, mode: str) -> Way:
    """The server is killed and started anew several times under many calls."""

    async def way(scene: Scene) -> None:
        calls, kills = LOAD
        ends: dict[int, Asked] = {}
        numbers = iter(range(calls))

        async def caller() -> None:
            for number in numbers:
                while True:
                    asked = await scene.ask("echo", text=f"c{number}")
                    if asked.error is None or asked.error.sent is not False:
                        break
                    await asyncio.sleep(10 * LOOK)  # it was not sent, so it may be made again
                ends[number] = asked

        async with AsyncExitStack() as stack:
            process, url = await stack.enter_async_context(_both(scene, wire, mode, settings=QUIET))
            callers = asyncio.gather(*(caller() for _ in range(WIDTH)))
            for turn in range(kills):
                enough = (2 * turn + 1) * calls // (2 * kills + 1)
                await scene.until(partial(lambda most: len(ends) > most, enough))
                process.kill()
                await asyncio.to_thread(process.wait)
                again = remote(wire, scene.log("victim"), port=urlsplit(url).port)
                process, _ = await stack.enter_async_context(again)
            await callers
        _once(scene, ends, calls)

    return way


def _once(scene: Scene, ends: dict[int, Asked], calls: int) -> None:
    """Each call has ended, with its own answer or an error, and none has arrived twice."""
    seen, lines = scene.seen, scene.log("victim").read_text(encoding="utf-8").splitlines()
    came = Counter(text for _, text in map(json.loads, lines) if text is not None and text.startswith("c"))
    answered = [number for number, asked in ends.items() if asked.error is None]
    errors = {type(asked.error).__name__ for asked in ends.values() if asked.error is not None}
    seen.must(len(ends) == calls, f"{calls - len(ends)} calls without an end")
    seen.must(all(ends[number].text == f"c{number}" for number in answered), "an answer of somebody else")
    seen.must(max(came.values()) == 1, f"{sum(count > 1 for count in came.values())} calls arrived twice")
    seen.must(all(came[f"c{number}"] for number in answered), "an answer to what never arrived")
    seen.must("DeadlineError" not in errors, "a call was told nothing until its deadline")
    names = ", ".join(f"`{name}`" for name in sorted(errors))
    seen.summary = f"{len(answered):,} answered, {calls - len(answered):,} {names}, each once"


def forgotten(wire: str, mode: str) -> Way:
    """The server is started anew between two calls, and knows no session any more."""

    async def way(scene: Scene) -> None:
        async with _both(scene, wire, mode) as (process, url):
            process.kill()
            await asyncio.to_thread(process.wait)
            async with _anew(scene, wire, url):
                scene.strike()
                before = scene.heard("echo")
                await scene.met(scene.ask("echo", text="x"))
                scene.seen.must(scene.heard("echo") == before + 1, "it did not arrive once")
                await scene.heals(since=time.monotonic(), restart=False)

    return way


def frozen(wire: str, mode: str) -> Way:
    """The server is stopped for a while."""

    async def way(scene: Scene) -> None:
        async with _both(scene, wire, mode) as (process, _):
            call = await scene.flying(timeout=BRIEF)
            scene.strike()
            os.kill(process.pid, signal.SIGSTOP)
            await scene.met(call)
            os.kill(process.pid, signal.SIGCONT)
            await scene.heals(since=time.monotonic(), restart=False)

    return way


def answer_of(tool: str, mode: str, timeout: float = 30.0) -> Way:
    """The server answers as the tool of this name does."""

    async def way(scene: Scene) -> None:
        async with _both(scene, "http", mode):
            scene.strike()
            await scene.met(scene.ask(tool, timeout))
            await scene.heals(since=time.monotonic(), restart=False)
            heard = scene.heard(tool)
            scene.seen.must(heard == 1, f"it was asked {heard} times")

    return way


def too_long(wire: str, mode: str, size: int) -> Way:
    """The server answers with so many bytes in one message."""

    async def way(scene: Scene) -> None:
        async with _both(scene, wire, mode):
            scene.strike()
            await scene.met(scene.ask("echo", size=size))
            await scene.heals(since=time.monotonic(), restart=False)

    return way


def refused(mode: str) -> Way:
    """The server lets nobody in, then everybody."""

    async def way(scene: Scene) -> None:
        async with _both(scene, "http", mode, warm=False, status=401) as (process, url):
            scene.strike()
            await scene.met(scene.ask("echo", text="x"))
            [offer] = [each for each in await scene.host.offers("tools") if each.instance == "victim"]
            scene.seen.must(offer.error is not None, "an empty list instead of an error")
            process.kill()
            await asyncio.to_thread(process.wait)
            async with _anew(scene, "http", url) as since:
                await scene.heals(since=since, restart=False)

    return way


def redirected(mode: str) -> Way:
    """The server sends its clients to somebody else."""

    async def way(scene: Scene) -> None:
        async with remote("http", scene.log("stranger")) as (_, stranger):
            away = _both(scene, "http", mode, warm=False, status=307, location=stranger)
            async with away as (process, url):
                scene.strike()
                await scene.met(scene.ask("echo", text="x"))
                process.kill()
                await asyncio.to_thread(process.wait)
                async with _anew(scene, "http", url) as since:
                    await scene.heals(since=since, restart=False)
            scene.seen.must(not scene.log("stranger").exists(), "the stranger was called")

    return way
