"""Calls of every fate over three bounded targets, in any order: what gates, balancers and counts promise."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Stream, TextDelta, Usage
from gleitzeit.discovery import Index
from gleitzeit.errors import (
    AuthenticationError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TooLongError,
)
from gleitzeit.plugin import Strategy
from tests.reliability.test_lease_machine import turns as quiet

NAMES = ("a", "b", "c")
TARGETS = ("a/m", "ordered", "turned", "nested")
PLACES = 2
#: Seconds that never pass by themselves here, but when the test says so: the same steps end alike.
LONG = 100.0
#: Which of those that there are; what is drawn does not depend on how far the calls have come.
NUMBERS = st.integers(0, 11)
FAILURES = {
    "server fault": lambda: ServerFaultError("down", sent=True),
    "overloaded": lambda: OverloadedError("full", sent=True),
    "reset": lambda: ResetError("gone", sent=True),
    "rate limited": lambda: RateLimitedError("slow", retry_after=LONG, sent=True),
    "quota": lambda: QuotaExhaustedError("pay", retry_after=LONG, sent=True),
    "key": lambda: AuthenticationError("no", sent=True),
    "too long": lambda: TooLongError("long", sent=True),
    "mistake": lambda: InvalidRequestError("no", sent=True),
    "foreign": lambda: ValueError("a fault of the plugin"),
}


class World:
    """What the toys share with the test: calls that it holds, and what balancers hear."""

    def __init__(self):
        self.waiting = []
        self.inside = dict.fromkeys(NAMES, 0)
        self.asked = dict.fromkeys(NAMES, 0)
        self.begun = {}
        self.broken = []

    async def told(self):
        """Wait until the test says how it goes on."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        try:
            await future
        finally:
            self.waiting.remove(future)

    def heard(self, balancer, choice, step):
        key = balancer, id(choice)
        self.begun[key] = self.begun.get(key, 0) + step
        if self.begun[key] < 0:
            self.broken.append(f"{choice} has ended more often than it began")


def toy(world, name):
    """A provider that does as it is told."""

    class Toy(Provider):
        def provide_models(self):
            return [Model("m", operations={Chat}, context_tokens=1000)]

        async def call(self, request):
            world.asked[name] += 1
            self.enters()
            stays = False
            try:
                await world.told()
                if request.stream:
                    stays = True
                    return Stream(self.events())
                return Reply("good", usage=Usage(input=2, output=3))
            finally:
                world.inside[name] -= not stays

        def enters(self):
            world.inside[name] += 1
            if world.inside[name] > PLACES:
                world.broken.append(f"{world.inside[name]} calls are inside of {name}")

        async def events(self):
            try:
                await world.told()
                yield TextDelta("go")
                await world.told()
                yield TextDelta("od")
                yield Finished("stop", usage=Usage(input=2, output=3))
            finally:
                world.inside[name] -= 1

    return Toy


def turns(world):
    """A strategy whose balancers note what they hear."""

    class Turns(Strategy):
        def balancer(self, route):
            class Balancer:
                at = 0

                def order(self, request):
                    self.at = (self.at + 1) % len(route.targets)
                    return (*route.targets[self.at :], *route.targets[: self.at])

                def begun(self, choice, request):
                    world.heard(self, choice, 1)

                def ended(self, choice, request, ending):
                    world.heard(self, choice, -1)

            return Balancer()

    return Turns


class CorridorMachine(RuleBasedStateMachine):
    """A host whose targets have breakers, places, a queue and limits."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = None
        self.host = None
        self.calls = []

    @initialize(limited=st.booleans(), queue=st.integers(0, 3))
    def open(self, limited, queue):
        self.world = World()
        tables = {
            "bulkhead": {"max_calls": PLACES, "max_queue": queue},
            "targets": {"*": {"bulkhead": {"max_calls": PLACES}}},
            "rate_limit": {"requests_per_minute": 60_000, "tokens_per_minute": 9e6} if limited else {},
        }
        config = {
            "providers": dict.fromkeys(NAMES, tables),
            "routes": {
                "ordered": {"targets": ["a/m", "b/m", "c/m"]},
                "turned": {"targets": ["a/m", "b/m", "c/m"], "strategy": "turns"},
                "nested": {"targets": ["turned", "ordered"], "strategy": "turns"},
            },
            "host": {
                "retry": {"max_retries": 1, "base_delay": 0.0},
                "circuit_breaker": {"failure_threshold": 2, "recovery_timeout": LONG},
                "drain_timeout": 0.01,
            },
        }
        plugins = {name: toy(self.world, name) for name in NAMES}
        self.host = Host(config, plugins={**plugins, "turns": turns(self.world)}, environ={}, index=Index())
        self.run(self.host.open())

    # --- what callers do ---

    @rule(
        name=st.sampled_from(TARGETS),
        how=st.sampled_from(["call", "read", "leave"]),
        count=st.integers(1, 4),
    )
    def call(self, name, how, count):
        for _ in range(count):
            self.calls.append(self.spawn(self.ask(Chat("hi").to(name), how)))
        self.settle()

    async def ask(self, request, how):
        if how == "call":
            return await self.host.call(request)
        async with self.host.stream(request) as stream:
            async for _ in stream:
                if how == "leave":
                    return None
        return stream.reply

    @rule(number=NUMBERS)
    def cancel(self, number):
        if self.calls:
            self.calls[-1 - number % len(self.calls)].cancel()
            self.settle()

    # --- what providers do ---

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=4))
    def go_on(self, numbers):
        for number in numbers:
            future = self.waiting(number)
            if future is not None:
                future.set_result(None)
        self.settle()

    @rule(number=NUMBERS, failure=st.sampled_from(sorted(FAILURES)))
    def fail(self, number, failure):
        future = self.waiting(number)
        if future is not None:
            future.set_exception(FAILURES[failure]())
            self.settle()

    def waiting(self, number):
        """One of the calls that are held; None where there is none."""
        waiting = [future for future in self.world.waiting if not future.done()]
        return waiting[number % len(waiting)] if waiting else None

    @rule(name=st.sampled_from(NAMES))
    def change(self, name):
        built = self.host._registry.find("provider", name).object
        if built is not None:
            built.context.changed()
        self.settle()

    @rule(name=st.sampled_from(NAMES))
    def time_passes(self, name):
        for gate in self.host._pipeline._gates.of_instance(name):
            gate.breaker._opened -= 2 * LONG
            gate.limiter.reset()
            gate.shun(0)

    # --- what holds ---

    @invariant()
    def no_promise_is_broken(self):
        if self.world is not None:
            assert self.world.broken == []

    @invariant()
    def nothing_is_counted_below_zero_or_beyond_its_bound(self):
        if self.host is None:
            return
        gates = self.host._pipeline._gates
        for series in self.host.snapshot().targets:
            assert series.in_flight >= 0
        for each in [*gates._gates.values(), *gates._shared.values()]:
            assert 0 <= each.bulkhead.in_use <= PLACES

    @invariant()
    def every_end_is_an_answer_or_one_of_our_errors(self):
        for task in self.calls:
            if task.done() and not task.cancelled():
                assert isinstance(task.exception(), GleitzeitError | None), repr(task.exception())

    def teardown(self):
        try:
            if self.host is not None:
                self.run(self.end())
        finally:
            self.loop.close()

    async def end(self):
        """Everything still under way is answered, cancelled or cut off; then all is at rest."""
        for task in self.calls[::2]:
            task.cancel()
        await quiet()
        for _ in range(50):
            for future in tuple(self.world.waiting):
                future.set_result(None)
            await quiet()
        for task in self.calls:  # those that wait for a pause to end
            task.cancel()
        await quiet()
        assert all(task.done() for task in self.calls)
        self.at_rest()
        await self.host.close()

    def at_rest(self):
        snapshot, gates = self.host.snapshot(), self.host._pipeline._gates
        assert self.world.inside == dict.fromkeys(NAMES, 0)
        assert not any(self.world.begun.values())
        assert not any(self.host._registry.find("provider", name).leases for name in NAMES)
        for series in snapshot.targets:
            assert (series.in_flight, series.queued) == (0, 0)
        for series in snapshot.calls:
            assert series.in_flight == 0
        for name in NAMES:
            assert snapshot.total(name).count == self.world.asked[name]
        assert snapshot.total_calls().count == len(self.calls)
        for each in [*gates._gates.values(), *gates._shared.values()]:
            assert (each.bulkhead.in_use, each.bulkhead.waiting) == (0, 0)
        for gate in gates._gates.values():
            assert not gate.breaker._out

    # --- how ---

    def spawn(self, work):
        async def begin():
            return asyncio.ensure_future(work)

        return self.run(begin())

    def settle(self):
        self.run(quiet())

    def run(self, work):
        return self.loop.run_until_complete(work)


CorridorMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCorridor = CorridorMachine.TestCase
