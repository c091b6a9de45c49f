"""Each fault against a whole call and a stream, through the real provider and host."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from gleitzeit_plugin_openai import OpenAI

from gleitzeit import Chat, Host, Request
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError
from tests.reliability.cases import Case, Expected
from tests.reliability.held import held, settled
from tests.reliability.proxy import Fault, FaultProxy, closed_port
from tests.reliability.upstream import TEXT, upstream_port

__all__ = ["RETRIES", "Cell", "ask", "check", "openai_host"]

RETRIES: Final = 2
LATE: Final = 0.5  # seconds that an error may come after the deadline
GONE: Final = 0.1  # seconds in which the upstream sees that the caller has gone


@dataclass
class Cell:
    """What one case came to; `problems` is empty where all is as it must be."""

    error: GleitzeitError | None = None
    seconds: float = 0.0
    asked: int = 0
    problems: list[str] = field(default_factory=list)

    def must(self, holds: bool, problem: str) -> None:
        """Note the problem unless this holds."""
        if not holds:
            self.problems.append(problem)


def openai_host(
    urls: dict[str, str], host: dict[str, Any] | None = None, each: dict[str, Any] | None = None
) -> Host:
    """A host with an instance of the OpenAI plugin for each address; `each` is what all of them have."""
    common = {"plugin": "openai", "api_key": "none", "models": ["m"], **(each or {})}
    config = {
        "host": host or {},
        "providers": {name: {"base_url": url, **common} for name, url in urls.items()},
    }
    return Host(config, plugins={"openai": OpenAI}, environ={}, index=Index())


async def ask(host: Host, request: Request, streamed: bool) -> str:
    """The text of the answer."""
    if not streamed:
        return (await host.call(request)).text
    async with host.stream(request) as stream:
        return (await stream.collect()).text


async def check(case: Case, streamed: bool, retries: int = 0, *, patience: float = 1.0) -> Cell:
    """Make the call that the case spoils, then a good one, and look at what is left of both.

    `patience` stretches the limits in time, for a machine that does other things as well.
    """
    cell, before = Cell(), held()
    async with upstream_port() as port, FaultProxy(port) as proxy, AsyncExitStack() as stack:
        retry = {"max_retries": retries, "base_delay": 0.01}
        urls = {"local": proxy.url, "other": proxy.url}
        if case.connection == "refused":
            urls["local"] = f"http://127.0.0.1:{stack.enter_context(closed_port())}/v1"
        async with openai_host(urls, {"retry": retry, "timeouts": dict(case.timeouts)}) as host:
            await _spoilt(host, proxy, case, streamed, cell)
            _judge(cell, case, streamed, retries, LATE * patience)
            await _afterwards(host, proxy, case, streamed, cell, GONE * patience)
    after = await settled(before)
    cell.must(after == before, f"left behind: {after}, before: {before}")
    return cell


async def _spoilt(host: Host, proxy: FaultProxy, case: Case, streamed: bool, cell: Cell) -> None:
    assert await ask(host, Chat("hi").to("other/m"), False) == TEXT  # modules are imported, pools are made
    await proxy.drop()
    proxy.plan = lambda ask: case.fault(streamed)
    proxy.reset_on_accept = case.connection == "reset"
    asked, accepted = proxy.asked, proxy.accepted
    begun = time.monotonic()
    try:
        text = await ask(host, Chat("hi").to("local/m", timeout=case.deadline), streamed)
        cell.must(text == TEXT, f"a wrong answer: {text[:40]!r}")
    except GleitzeitError as error:
        cell.error = error.with_traceback(None)
    cell.seconds = time.monotonic() - begun
    cell.asked = proxy.accepted - accepted if proxy.reset_on_accept else proxy.asked - asked


def _judge(cell: Cell, case: Case, streamed: bool, retries: int, late: float) -> None:
    expected, error = case.expected(streamed), cell.error
    cell.must(cell.seconds <= case.deadline + late, f"took {cell.seconds:.2f} s of {case.deadline:g} s")
    wanted = 1 + (retries if expected.again else 0)
    cell.must(cell.asked == wanted or case.connection == "refused", f"asked {cell.asked} times, not {wanted}")
    if error is None or expected.error is None:
        name = expected.error.__name__ if expected.error else "an answer"
        cell.must(error is None and expected.error is None, f"{name} was due, not {error!r}")
        return
    cell.must(type(error) is expected.error, f"{error!r} is no {expected.error.__name__}")
    cell.must(error.sent is expected.sent, f"sent is {error.sent}, not {expected.sent}")
    cell.must(error.retryable is expected.retryable, f"retryable is {error.retryable}")
    # The deadline is the call's, and tells who was being asked.
    cell.must(error.provider == "local", f"provider is {error.provider!r}")
    _judge_details(cell, expected, error, streamed)


def _judge_details(cell: Cell, expected: Expected, error: GleitzeitError, streamed: bool) -> None:
    if expected.wait is not None:
        low, high = expected.wait
        wait = error.retry_after
        cell.must(wait is not None and low <= wait <= high, f"retry_after is {wait}, not {low}..{high}")
    if streamed:
        text = error.partial.text if error.partial is not None else ""
        cell.must(bool(text) is expected.partial, f"delivered before it broke: {text[:40]!r}")


async def _afterwards(
    host: Host, proxy: FaultProxy, case: Case, streamed: bool, cell: Cell, gone: float
) -> None:
    cell.must(await proxy.quiet(gone), "the upstream still answers a caller that has gone")
    instance = host._registry.find("provider", "local")
    cell.must(instance is not None and not instance.leases, "the instance is still leased")
    proxy.plan, proxy.reset_on_accept = lambda ask: Fault(), False
    cell.must(proxy.missed == 0, "the fault struck nothing")
    wait = case.expected(streamed).wait
    if wait is not None and not case.cooled:
        await asyncio.sleep(wait[1] + 0.01)  # as the upstream has asked
    name = "other/m" if case.cooled or case.connection == "refused" else "local/m"
    try:
        text = await ask(host, Chat("hi").to(name, timeout=30), streamed)
        cell.must(text == TEXT, f"afterwards, a wrong answer: {text[:40]!r}")
    except GleitzeitError as error:
        cell.must(False, f"afterwards, {error!r}")
