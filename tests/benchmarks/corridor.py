"""What the corridor adds to a call and to an event: a provider that does nothing, asked through the host."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median
from typing import Any

from gleitzeit import (
    Chat,
    Finished,
    Host,
    Model,
    Plugin,
    Provider,
    Reply,
    Request,
    Stream,
    Target,
    TextDelta,
    Verdict,
)
from gleitzeit.discovery import Index, scan
from gleitzeit.kinds import Handler, Middleware
from gleitzeit.values import Event, Route
from tests.benchmarks.machine import installed
from tests.benchmarks.peers.ours import BOUNDS
from tests.benchmarks.rows import Group
from tests.benchmarks.synthetic import make
from tests.benchmarks.table import Progress

IDLE = 100
EVENTS = 1000

_EIGHT = [f"noop{number}" for number in range(8)]
_REPLY = Reply("ok", finish_reason="stop")
_EVENTS: list[Event] = [*[TextDelta("word ")] * (EVENTS - 1), Finished("stop")]
_CHAT = Chat("hi")
_NOWHERE: Any = None  # the context of a provider that is asked without a host


class Noop(Provider):
    """Answers at once with the same reply or the same events."""

    def provide_models(self) -> list[Model]:
        return [Model("m", operations={Chat})]

    async def call(self, request: Request) -> Reply | Stream:
        return Stream(self.events()) if request.stream else _REPLY

    async def events(self) -> AsyncIterator[Event]:
        for event in _EVENTS:
            yield event


class Guard(Plugin):
    """Votes as a guard with lists does: a look-up by principal and target."""

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self._allowed: dict[tuple[str | None, str, str], Verdict] = {
            (None, name, "m"): Verdict.allow() for name in ("noop", *_EIGHT)
        }

    def security_check(self, request: Request, target: Target | None) -> Verdict | None:
        if target is None:
            return None if request.data_class == "public" else Verdict.deny("not public")
        return self._allowed.get((request.principal, target.instance, target.name)) or Verdict.deny(
            "not listed"
        )


class Around(Plugin):
    """A middleware that looks at every reply and every event, as one that counts does."""

    seen = 0

    def wrap_call(self, route: Route) -> Middleware:
        async def around(request: Request, call_next: Handler) -> Reply | Stream:
            answer = await call_next(request)
            if isinstance(answer, Stream):
                return answer.tap(self.count)
            self.seen += 1
            return answer

        return around

    def count(self, event: Event) -> None:
        self.seen += 1


_BARE: dict[str, Any] = {"noop": Noop}
_FULL: dict[str, Any] = {"noop": Noop, "guard": Guard, "around": Around}
_LIMITS = "gleitzeit-plugin-guard-limits"
_BALANCE = "gleitzeit-plugin-balance"


def measure(progress: Progress, quick: bool) -> Group:
    """The overhead of `host.call` and of an event over asking the provider itself."""
    return asyncio.run(_measure(progress, quick))


async def _measure(progress: Progress, quick: bool) -> Group:
    group = Group(
        "corridor", "Overhead of the corridor, provider that does nothing (CPU, its own cost subtracted)"
    )
    async with AsyncExitStack() as stack:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder, "plugins"), IDLE)
            crowd = scan([str(Path(folder, "plugins"))])
            hosts = {
                "plain": await stack.enter_async_context(_host(_BARE)),
                "vote": await stack.enter_async_context(_host({"noop": Noop, "guard": Guard})),
                "around": await stack.enter_async_context(_host({"noop": Noop, "around": Around})),
                "full": await stack.enter_async_context(_host(_FULL)),
                "crowd": await stack.enter_async_context(_host(_FULL, crowd)),
            }
            if installed(_LIMITS) is not None:
                limits = import_module("gleitzeit_plugin_guard_limits").Limits
                config = {"plugins": {"limits": {"allow_models": ["noop/*"], "max_bytes": 100_000}}}
                hosts["limits"] = await stack.enter_async_context(
                    _host({"noop": Noop, "limits": limits}, config=config)
                )
            config = {"providers": {"noop": BOUNDS}}
            hosts["bounds"] = await stack.enter_async_context(_host(_FULL, config=config))
            if _has_p2c():
                pool = {"targets": [f"{name}/m" for name in _EIGHT], "strategy": "p2c"}
                eight = {**dict.fromkeys(_EIGHT, Noop), "guard": Guard, "around": Around}
                hosts["balanced"] = await stack.enter_async_context(
                    _host(eight, scan(), {"routes": {"pool": pool}})
                )
            calls = await _calls(hosts, progress, quick)
            events = await _streams(
                {name: hosts[name] for name in ("plain", "full", "crowd")}, progress, quick
            )
    group.add("a call: nothing but the corridor", calls["plain"], "µs")
    group.add("a call: with a synchronous security vote", calls["vote"], "µs")
    group.add("a call: with a wrap_call middleware", calls["around"], "µs")
    group.add("a call: with both", calls["full"], "µs", limit=10)
    group.add(f"a call: with both, {IDLE} idle plugins installed", calls["crowd"], "µs", limit=10)
    group.add("a call: with both, a bulkhead and rate limits", calls["bounds"], "µs", limit=10)
    name = "a call: with both, p2c over 8 targets"
    if "balanced" in calls:
        group.add(name, calls["balanced"], "µs", limit=10)
    else:
        group.absent(name, f"{_BALANCE} is not installed", "µs", limit=10)
    if "limits" in calls:
        group.add(
            "a call: with guard-limits voting", calls["limits"], "µs", note=f"{_LIMITS} {installed(_LIMITS)}"
        )
    else:
        group.absent("a call: with guard-limits voting", f"{_LIMITS} is not installed")
    group.peer("the provider asked without a host", calls["direct"], "µs", ours=None)
    group.add("an event: nothing but the corridor", events["plain"], "µs", limit=0.3)
    group.add("an event: with a vote and a middleware that taps", events["full"], "µs")
    group.add(f"an event: the same, {IDLE} idle plugins installed", events["crowd"], "µs")
    group.peer("the provider's events without a host", events["direct"], "µs", ours=None)
    return group


def _has_p2c() -> bool:
    return bool(entry_points(group="gleitzeit.strategies", name="p2c"))


def _host(plugins: dict[str, Any], index: Index | None = None, config: dict[str, Any] | None = None) -> Host:
    return Host(config or {}, plugins=plugins, environ={}, index=index or Index())


async def _calls(hosts: dict[str, Host], progress: Progress, quick: bool) -> dict[str, float]:
    """CPU µs of `host.call` less those of the provider's own `call`, by host."""
    provider = Noop(None, _NOWHERE)
    ask: dict[str, Callable[[Request], Awaitable[object]]] = {"direct": provider.call}
    ask.update({name: host.call for name, host in hosts.items()})
    pool = ask.get("balanced")
    number = 500 if quick else 2000

    async def once(call: Callable[[Request], Awaitable[object]]) -> float:
        name = "pool" if call == pool else "noop/m"
        gc.collect()
        begin = time.process_time()
        for _ in range(number):
            await call(_CHAT.to(name))
        return (time.process_time() - begin) / number

    return await _over(ask, once, 9 if quick else 31, progress)


async def _streams(hosts: dict[str, Host], progress: Progress, quick: bool) -> dict[str, float]:
    """CPU µs of an event read through the host less those of the provider's own generator."""
    provider = Noop(None, _NOWHERE)
    ask: dict[str, Callable[[], AsyncIterator[object]]] = {"direct": provider.events}
    for name, host in hosts.items():
        ask[name] = lambda host=host: host.stream(_CHAT.to("noop/m")).__aiter__()  # type: ignore[misc]  # a default binds
    number = 3 if quick else 10

    async def once(events: Callable[[], AsyncIterator[object]]) -> float:
        gc.collect()
        begin = time.process_time()
        for _ in range(number):
            async for _ in events():
                pass
        return (time.process_time() - begin) / number / EVENTS

    return await _over(ask, once, 9 if quick else 31, progress)


async def _over(
    subjects: dict[str, Any], once: Callable[[Any], Awaitable[float]], rounds: int, progress: Progress
) -> dict[str, float]:
    """Medians in µs over that of the subject `direct`, and that itself; measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():
        await once(subject)  # compiles the routes
    for number in range(rounds):
        for name, subject in subjects.items():
            found[name].append(await once(subject))
        progress.at(number + 1, rounds)
    medians = {name: 1e6 * median(values) for name, values in found.items()}
    direct = medians["direct"]
    return {name: value - direct for name, value in medians.items() if name != "direct"} | {"direct": direct}
