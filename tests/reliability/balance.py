"""One of eight equal targets turns slow, or fails at once: what callers feel, and how it comes back."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, ClassVar, Final

from gleitzeit import Chat, Host, Model, Provider, Reply
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError, ServerFaultError
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

__all__ = ["measure"]

TARGETS: Final = 8
BAD: Final = "m0"
SLOWER: Final = 10
FAILS_AFTER: Final = 0.002  # seconds
WINDOW: Final = 10.0  # seconds over which the share of a target is looked at


@dataclass(frozen=True)
class Scale:
    """How long it all takes: seconds, and the seconds and number of calls that a target works on at once."""

    healthy: float
    fault: float
    recovery: float
    mean: float
    slots: int


FULL: Final = Scale(healthy=15, fault=30, recovery=60, mean=0.1, slots=16)
QUICK: Final = Scale(healthy=1.5, fault=5, recovery=0, mean=0.05, slots=4)


@dataclass
class Weather:
    """What the targets do at the moment, and what they have done."""

    scale: Scale
    fault: str = ""
    #: When the fault began and ended, and when each target was asked, in seconds of the loop.
    begun: float = 0.0
    ended: float = 0.0
    asked: dict[str, list[float]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(5))


class Member(Provider):
    """One of the eight."""

    weather: ClassVar[Weather]

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self._slots = asyncio.Semaphore(self.weather.scale.slots)

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        weather, name = self.weather, self.context.name
        weather.asked.setdefault(name, []).append(asyncio.get_running_loop().time())
        bad = weather.fault if name == BAD else ""
        if bad == "failing":
            await asyncio.sleep(FAILS_AFTER)
            raise ServerFaultError(f"{name} fails", sent=True)
        async with self._slots:
            mean = weather.scale.mean * (SLOWER if bad == "slow" else 1)
            await asyncio.sleep(weather.rng.gammavariate(4, mean / 4))
        return Reply("well", finish_reason="stop")


@dataclass
class Phase:
    """The calls that began in a stretch of time."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def p99(self) -> float:
        """Seconds below which 99 of 100 calls ended."""
        return quantiles(self.seconds, n=100, method="inclusive")[98]


async def measure(progress: Progress, quick: bool) -> Group:
    """Brown-out and fast failure at 2 % and 60 % of what the eight can do, all at the same time."""
    group = Group("balance", f'One of {TARGETS} equal targets behind `strategy = "p2c"`, retries on')
    try:
        from gleitzeit_plugin_balance import P2C
    except ImportError:
        group.absent("brown-out and fast failure", "gleitzeit-plugin-balance is not installed")
        return group
    scale = QUICK if quick else FULL
    loads = (0.6,) if quick else (0.02, 0.6)
    kinds = [(fault, load) for fault in ("slow", "failing") for load in loads]
    results = await asyncio.gather(*(_scenario(scale, fault, load, P2C) for fault, load in kinds))
    for (fault, load), result in zip(kinds, results, strict=True):
        _rows(group, scale, fault, load, *result)
    progress.at(1, 1)
    return group


async def _scenario(scale: Scale, fault: str, load: float, strategy: type) -> tuple[Phase, Phase, Weather]:
    """Healthy calls, calls under the fault, and what the targets saw."""
    weather, clock = Weather(scale), asyncio.get_running_loop()
    member = type("Member", (Member,), {"weather": weather})
    names = [f"m{number}" for number in range(TARGETS)]
    config = {
        "providers": {name: {"plugin": "member"} for name in names},
        "routes": {"pool": {"targets": [f"{name}/m" for name in names], "strategy": "p2c"}},
    }
    rate = load * TARGETS * scale.slots / scale.mean
    plugins = {"member": member, "p2c": strategy}
    async with Host(config, plugins=plugins, environ={}, index=Index()) as host:
        healthy = await _phase(host, rate, scale.healthy)
        weather.fault, weather.begun = fault, clock.time()
        faulty = await _phase(host, rate, scale.fault)
        weather.fault, weather.ended = "", clock.time()
        await _phase(host, rate, scale.recovery)
    return healthy, faulty, weather


async def _phase(host: Host, rate: float, seconds: float) -> Phase:
    """Calls at random moments, so many a second; returns when all that began have ended."""
    phase, rng = Phase(), random.Random(7)
    clock = asyncio.get_running_loop()
    begun = clock.time()

    async def one() -> None:
        start = clock.time()
        try:
            await host.call(Chat("hi").to("pool", timeout=30))
            phase.seconds.append(clock.time() - start)
        except GleitzeitError:
            phase.failed += 1

    due = 0.0
    async with asyncio.TaskGroup() as calls:
        while (due := due + rng.expovariate(rate)) < seconds:
            if (wait := begun + due - clock.time()) > 0:
                await asyncio.sleep(wait)
            calls.create_task(one())
    return phase


def _rows(
    group: Group,
    scale: Scale,
    fault: str,
    load: float,
    healthy: Phase,
    faulty: Phase,
    weather: Weather,
) -> None:
    count = len(faulty.seconds) + faulty.failed
    words = f"{SLOWER}× slower" if fault == "slow" else f"failing after {1000 * FAILS_AFTER:g} ms"
    bad = sum(weather.begun <= at < weather.ended for at in weather.asked[BAD])
    note = f"{count:,} calls in {scale.fault:g} s, {bad:,} attempts went to it"
    group.add(f"one {words}, at {100 * load:.0f} % load: p99", 1000 * faulty.p99, "ms", note=note)
    if fault == "slow":
        group.add("  … as a multiple of p99 when all are well", faulty.p99 / healthy.p99, "×", limit=3)
    else:
        group.add("  attempts that met the failure", 100 * bad / count, "%", limit=2)
    group.add("  calls that failed", 100 * faulty.failed / count, "%", limit=2)
    if scale.recovery:
        group.add("  seconds until it has > 80 % of its share again", _back(weather, scale), "s", limit=60)


def _back(weather: Weather, scale: Scale) -> float | None:
    """Seconds after the fault until a window holds 80 % of a fair share for the target that had it."""
    for start in range(int(scale.recovery - WINDOW) + 1):
        low = weather.ended + start
        seen = {name: sum(low <= at < low + WINDOW for at in times) for name, times in weather.asked.items()}
        if seen[BAD] >= 0.8 * sum(seen.values()) / TARGETS:
            return start + WINDOW
    return None
