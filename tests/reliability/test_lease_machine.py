"""Starts, calls, streams, stops, changes and failures in any order: what calls and instances promise."""

import asyncio
import threading
from contextlib import asynccontextmanager

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gleitzeit import Chat, Finished, Host, Model, Plugin, Provider, Reply, Stream, TextDelta
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError, OverloadedError

NAMES = ("a", "b", "c")
TARGETS = ("a/m", "b/m", "route")
FOREVER = 3600.0


class World:
    """What the toy plugins share with the test: gates that it holds, and broken promises that they note."""

    def __init__(self):
        self.broken = []
        self.living = dict.fromkeys(NAMES, 0)
        self.built = dict.fromkeys(NAMES, 0)
        self.may_fail = set()  # instances whose calls may be cut off
        self.start_gates = {name: Gate() for name in NAMES}
        self.vote_gate = Gate()
        self.failing = set()
        self.waiting = []
        self.answered = {}

    def promise(self, kept, words):
        if not kept:
            self.broken.append(words)


class Gate(asyncio.Event):
    """An event that is set at first."""

    def __init__(self):
        super().__init__()
        self.set()


def toy(world, name):
    """A provider class whose instances watch how they are treated."""

    class Toy(Provider):
        def __init__(self, config, context):
            super().__init__(config, context)
            self.entered = self.left = False
            self.active = 0
            self.die = asyncio.Event()
            world.built[name] += 1
            world.may_fail.discard(name)

        @asynccontextmanager
        async def lifespan(self):
            world.promise(world.living[name] == 0, f"{name} lives twice")
            world.living[name] += 1
            try:
                await world.start_gates[name].wait()
                if name in world.failing:
                    raise ConnectionError("cannot start")
                self.entered = True
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(self.watch())
                    yield
                    watch.cancel()
            finally:
                self.left = True
                world.living[name] -= 1
                told = name in world.may_fail or self.die.is_set()
                world.promise(told or not self.active, f"{name} was stopped under {self.active} calls")

        async def watch(self):
            await self.die.wait()
            raise ConnectionError("died")

        def provide_models(self):
            return [Model("m", operations={Chat})]

        async def call(self, request):
            world.promise(self.entered and not self.left, f"{name} was called outside of its lifespan")
            self.active += 1
            streams = False
            try:
                answer = await self.told(request)
                if request.stream:
                    streams = True
                    return Stream(self.events(request, answer))
                world.answered[request.id] = world.answered.get(request.id, 0) + 1
                return Reply(answer, finish_reason="stop")
            finally:
                self.active -= not streams

        async def events(self, request, answer):
            try:
                yield TextDelta(answer)
                await self.told(request)
                world.answered[request.id] = world.answered.get(request.id, 0) + 1
                yield Finished("stop")
            finally:
                self.active -= 1

        async def told(self, request):
            """Wait until the test says what to answer."""
            future = asyncio.get_running_loop().create_future()
            world.waiting.append(future)
            try:
                await future
            finally:
                world.waiting.remove(future)
            return f"{name} {request.id}"

    return Toy


def guard(world):
    """A guard whose votes wait at a gate: calls without a lease, for as long as the test wants."""

    class Guard(Plugin):
        async def security_check(self, request, target):
            await world.vote_gate.wait()

    return Guard


class LeaseMachine(RuleBasedStateMachine):
    """A host with three providers and a route over them."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = None
        self.calls = {}
        self.cancelled = set()
        self.stops = []

    @initialize(voting=st.booleans())
    def open(self, voting):
        self.run(self.make(voting))

    async def make(self, voting):
        self.world = World()
        plugins = {name: toy(self.world, name) for name in NAMES}
        if voting:
            plugins["guard"] = guard(self.world)
        config = {
            "routes": {"route": {"targets": [f"{name}/m" for name in NAMES]}},
            "host": {"drain_timeout": 0.01},
        }
        self.host = Host(config, plugins=plugins, environ={}, index=Index())
        await self.host.open()

    def instance(self, name):
        return self.host._registry.find("provider", name)

    # --- what callers do ---

    @rule(names=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3), streamed=st.booleans())
    def call(self, names, streamed):
        for name in names:
            request = Chat("hi").to(name)
            self.calls[request.id] = self.spawn(self.ask(request, streamed))
        self.settle()

    async def ask(self, request, streamed):
        if not streamed:
            return (await self.host.call(request)).text
        async with self.host.stream(request) as stream:
            events = [event async for event in stream]
        assert sum(type(event) is Finished for event in events) == 1
        return stream.reply.text

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data):
        key = data.draw(st.sampled_from(sorted(self.calls)))
        self.cancelled.add(key)
        self.calls[key].cancel()
        self.settle()

    @rule(name=st.sampled_from(NAMES))
    def three_start_it_at_once(self, name):
        before = self.world.built[name]
        starts = [self.spawn(self.instance(name).start()) for _ in range(3)]
        self.settle()
        assert self.world.built[name] - before <= 1
        given = {id(start.result()) for start in starts if start.done() and not start.exception()}
        assert len(given) <= 1

    # --- what providers do ---

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data(), how=st.sampled_from(["answer", "answer", "overloaded", "fault"]))
    def answer(self, data, how):
        future = data.draw(st.sampled_from(self.world.waiting))
        if how == "answer":
            future.set_result(None)
        else:
            future.set_exception(OverloadedError("full") if how == "overloaded" else ValueError("fault"))
        self.settle()

    @rule(rounds=st.integers(1, 3))
    def answer_all(self, rounds):
        for _ in range(rounds):
            for future in tuple(self.world.waiting):
                future.set_result(None)
            self.settle()

    @rule(name=st.sampled_from(NAMES))
    def change(self, name):
        built = self.instance(name).object
        if built is not None:
            built.context.changed()
            self.settle()

    @rule(name=st.sampled_from(NAMES))
    def die(self, name):
        built = self.instance(name).object
        if built is not None:
            built.die.set()
            self.settle()

    @rule(name=st.sampled_from(NAMES), fails=st.booleans())
    def next_start_fails(self, name, fails):
        (self.world.failing.add if fails else self.world.failing.discard)(name)
        self.instance(name)._retry_at = 0.0  # the wait before a new start is over

    @rule(name=st.sampled_from(NAMES), held=st.booleans())
    def hold_start(self, name, held):
        gate = self.world.start_gates[name]
        (gate.clear if held else gate.set)()
        self.settle()

    @rule(held=st.booleans())
    def hold_votes(self, held):
        (self.world.vote_gate.clear if held else self.world.vote_gate.set)()
        self.settle()

    # --- what the host does ---

    @rule(name=st.sampled_from(NAMES), patient=st.booleans())
    def stop(self, name, patient):
        if not patient:
            self.world.may_fail.add(name)
        self.stops.append(self.spawn(self.instance(name).stop(FOREVER if patient else 0.0)))
        self.settle()

    # --- what holds ---

    @invariant()
    def no_promise_is_broken(self):
        if self.world is not None:
            assert self.world.broken == []

    @invariant()
    def every_call_is_answered_once_by_the_right_answer(self):
        for key, task in list(self.calls.items()):
            if task.done():
                del self.calls[key]
                if task.cancelled():
                    assert key in self.cancelled, "cancelled, but not by its caller"
                elif task.exception() is None:
                    assert task.result() in {f"{name} {key}" for name in NAMES}
                    assert self.world.answered[key] == 1
                else:
                    assert isinstance(task.exception(), GleitzeitError), repr(task.exception())

    @invariant()
    def a_current_route_leads_to_what_is_alive(self):
        if self.world is not None:
            registry = self.host._registry
            for corridor in self.host._pipeline._memo.values():
                if corridor.epoch == registry.epoch:
                    assert all(
                        registry.find("provider", leg.target.instance).object is not None
                        for leg in corridor.legs
                    )

    @invariant()
    def leases_are_held_by_calls_alone(self):
        if self.world is not None and not self.calls:
            assert [name for name in NAMES if self.instance(name).leases] == []

    def teardown(self):
        if self.world is not None:
            self.run(self.end())
        self.loop.close()

    async def end(self):
        """Close the host in whatever state it is: everything ends, and nothing begins anew."""
        self.world.may_fail.update(NAMES)
        await self.host.close()
        built = dict(self.world.built)
        for gate in (self.world.vote_gate, *self.world.start_gates.values()):
            gate.set()
        await turns()
        async with asyncio.timeout(30):  # a stop that waits for nothing would wait for an hour
            await asyncio.gather(*self.calls.values(), *self.stops, return_exceptions=True)
        assert self.world.built == built
        assert set(self.world.living.values()) == {0}
        assert self.world.broken == []
        await turns()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    # --- how ---

    def spawn(self, work):
        async def begin():
            return asyncio.ensure_future(work)

        return self.run(begin())

    def settle(self):
        self.run(turns())

    def run(self, work):
        return self.loop.run_until_complete(work)


async def turns():
    """Let everything go as far as it goes by itself, imports in their threads among it."""
    quiet = 0
    while quiet < 15:
        busy = any(thread.name.startswith("gleitzeit") for thread in threading.enumerate())
        quiet = 0 if busy else quiet + 1
        await asyncio.sleep(0)


LeaseMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLeases = LeaseMachine.TestCase
