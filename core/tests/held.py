"""Providers that hold their calls or say nothing, and what a host at rest looks like."""

import asyncio
from collections import Counter

from core.tests.toys import Good
from gleitzeit import Provider, Reply, Stream, TextDelta, Usage
from gleitzeit.values import Model, Tool

__all__ = ["Held", "Mute", "at_rest", "gate", "settled"]


class Held(Provider):
    """Notes each call, and answers when it is let go: with `error` where there is one."""

    error = None

    def __init__(self, config, context):
        super().__init__(config, context)
        self.asked = self.inside = self.most = 0
        self.go = asyncio.Event()
        self.come = asyncio.Condition()

    def provide_models(self):
        return [Model("m"), Model("n")]

    async def call(self, request):
        self.asked += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        async with self.come:
            self.come.notify_all()
        try:
            await self.go.wait()
        finally:
            self.inside -= 1
        if self.error is not None:
            raise self.error
        return Reply("good", usage=Usage(input=3, output=4))

    async def until(self, inside):
        """So many calls are inside."""
        async with self.come:
            await self.come.wait_for(lambda: self.inside >= inside)


class Mute(Good):
    """Says nothing: before its first event, or after it; or comes late with the stream itself."""

    where = "first"

    def provide_tools(self):
        return [Tool("t")]

    async def call(self, request):
        self.requests.append(request)
        if self.where == "head":
            await asyncio.Event().wait()
        return Stream(self.events(request))

    async def events(self, request):
        try:
            if self.where != "first":
                yield TextDelta("go")
            await asyncio.Event().wait()
        finally:
            self.closed.set()


def gate(h, instance="held", name="m"):
    return h._pipeline._gates._gates[instance, name]


def at_rest(h):
    """Nothing is under way, held, or counted twice."""
    gates = h._pipeline._gates
    assert all(not series.in_flight for series in h.snapshot().targets)
    assert all(not series.in_flight for series in h.snapshot().calls)
    for each in [*gates._gates.values(), *gates._shared.values()]:
        assert each.bulkhead is None or (each.bulkhead.in_use, each.bulkhead.waiting) == (0, 0)
    for one in gates._gates.values():
        assert not one.breaker._out
    assert not any(instance.leases for instance in h._registry.of_kind("provider"))


async def settled(tasks):
    """How each of these tasks ended, counted."""
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return Counter(type(end).__name__ for end in ends)
