"""A call that is cancelled, wherever it stands, leaves gates, balancers and statistics as they were."""

import asyncio
import gc
from collections import Counter

import pytest

from core.tests.held import Held, Mute, at_rest, gate, settled
from core.tests.toys import failing, host, running
from gleitzeit import Chat, Plugin
from gleitzeit.errors import OverloadedError
from gleitzeit.plugin import Strategy


class Counting(Strategy):
    """Counts what its balancers hear."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.begun = self.ended = 0
        self.outcomes = Counter()

    def balancer(self, route):
        counting = self

        class Balancer:
            def order(self, request):
                return route.targets

            def begun(self, choice, request):
                counting.begun += 1

            def ended(self, choice, request, ending):
                counting.ended += 1
                counting.outcomes[ending.outcome] += 1

        return Balancer()


class Waiting(Plugin):
    """A guard that thinks for as long as the test wants."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.open = True
        self.asked = asyncio.Event()

    async def security_check(self, request, target):
        if target is not None and not self.open:
            self.asked.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("phase", ["vote", "queue", "turn", "attempt", "retry", "first event", "stream"])
async def test_a_cancelled_call_leaves_everything_as_it_was(phase):
    table = {"bulkhead": {"max_calls": 1}} if phase == "queue" else {}
    if phase == "turn":
        table = {"rate_limit": {"requests_per_minute": 12}, "timeouts": {"queue": 60}}
    config = {
        "providers": dict.fromkeys(("held", "mute", "bad"), table),
        "routes": {
            "r": {"targets": ["held/m"], "strategy": "counting"},
            "s": {"targets": ["mute/m"], "strategy": "counting"},
            "b": {"targets": ["bad/m"], "strategy": "counting"},
        },
        "host": {"retry": {"base_delay": 100.0, "max_delay": 100.0}},
    }
    bad = failing(OverloadedError("busy", sent=True))

    class Cut(Mute):
        where = "after" if phase == "stream" else "first"

        async def call(self, request):
            self.waiting.set()
            return await super().call(request)

    async with host(config, held=Held, mute=Cut, bad=bad, counting=Counting, waiting=Waiting) as h:
        await h.hooks.provide_models()
        held, mute = running(h, "held"), running(h, "mute")
        guard = h._registry.find("plain", "waiting").object
        first = None
        if phase in ("queue", "turn"):
            first = asyncio.create_task(h.call(Chat("hi").to("r")))
            await held.until(1)
        if phase == "turn":
            held.go.set()
            await asyncio.gather(first, h.call(Chat("hi").to("r")))
        guard.open = phase != "vote"
        name = {"first event": "s", "stream": "s", "retry": "b"}.get(phase, "r")
        task = asyncio.create_task(reads(h, name) if name == "s" else h.call(Chat("hi").to(name)))
        if phase == "vote":
            await guard.asked.wait()
        elif phase == "attempt":
            await held.until(1)
        elif name == "s":
            await mute.waiting.wait()
        await until(h, phase, bad)
        task.cancel()
        assert await settled([task]) == {"CancelledError": 1}
        held.go.set()
        if phase == "queue":
            await first
        at_rest(h)
        for each in h._pipeline._gates._gates.values():
            assert (each.breaker.state, each.breaker.failures) == ("closed", 1 if each.name == "bad/m" else 0)
        strategy = h._registry.find("strategy", "counting").object
        assert strategy.begun == strategy.ended
        assert not strategy.outcomes["failed"] or phase == "retry"
        if phase == "turn":
            assert gate(h).shared.limiter.reserve(0) == pytest.approx(5.0, abs=1.0)  # its share is back


async def reads(h, name):
    async with h.stream(Chat("hi").to(name)) as stream:
        async for _ in stream:
            pass


async def until(h, phase, bad):
    """The call stands in this phase, and will not leave it by itself."""

    def there():
        match phase:
            case "queue":
                return gate(h).shared.queued == 1
            case "turn":
                return h.snapshot().total("held").in_flight == 1
            case "retry":
                return bad.asked == 1 and not h.snapshot().total("bad").in_flight
            case "stream":
                return h.snapshot().total("mute").first_event.count == 1
        return True

    while not there():
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.filterwarnings("ignore:a stream was neither read")
async def test_a_stream_that_is_dropped_gives_its_place_back():
    config = {"providers": {"good": {"bulkhead": {"max_calls": 1}}}}
    async with host(config) as h:
        stream = h.stream(Chat("hi").to("good/m"))
        async for _ in stream:
            break
        assert gate(h, "good").shared.bulkhead.in_use == 1
        del stream, _
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert gate(h, "good").shared.bulkhead.in_use == 0
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"
    at_rest(h)
