"""A provider that takes its time to say what it offers: calls wait for it, lists go on without it."""

import asyncio
import math

import pytest

from gleitzeit import BlockingHost, Host, Provider, Reply, ToolCall
from gleitzeit.discovery import Index
from gleitzeit.errors import DeadlineError
from gleitzeit.values import Change, Tool


class Slow(Provider):
    """Says what it offers once it is let."""

    local = True
    warm_up = 0.0

    def __init__(self, config, context):
        super().__init__(config, context)
        self.asked = 0
        self.may = asyncio.Event()

    async def provide_tools(self):
        self.asked += 1
        await self.may.wait()
        return [Tool("late")]

    async def call(self, request):
        return Reply(request.name)


class Patient(Slow):
    warm_up = 100.0


def hosting(kind=Patient, **settings):
    return Host({"host": settings}, environ={}, index=Index(()), plugins={"slow": kind})


async def offer(host, **more):
    [found] = [each for each in await host.offers("tools", **more) if each.instance == "slow"]
    return found


def of(host):
    return next(each.object for each in host._registry.of_kind("provider") if each.name == "slow")


async def test_what_is_missing_is_named_and_announced_once_it_has_come():
    changes = []
    async with hosting() as host:
        host.watch(changes.append)
        for _ in range(3):
            found = await offer(host, wait=0.0)
            assert (found.pending, found.items, found.stale) == (True, (), False)
            assert isinstance(found.error, DeadlineError)
            assert found.error.sent is False
        whole = asyncio.create_task(offer(host, wait=math.inf))
        call = asyncio.create_task(host.call(ToolCall().to("slow/late")))
        named = asyncio.create_task(host.find_tools(["slow/*"]))
        await asyncio.sleep(0)
        of(host).may.set()
        assert [tool.name for tool in (await whole).items] == ["late"]
        assert (await call).text == "late"
        assert [name for name, _, _ in await named] == ["slow/late"]
        assert changes == [Change("slow")]
        assert of(host).asked == 1
        found = await offer(host, wait=0.0)
        assert (found.pending, found.error) == (False, None)


async def test_nobody_is_told_of_what_nobody_has_missed():
    changes = []
    async with hosting() as host:
        host.watch(changes.append)
        whole = asyncio.create_task(offer(host, wait=60))
        while not (of(host) and of(host).asked):
            await asyncio.sleep(0)
        of(host).may.set()
        assert (await whole).error is None
        assert changes == []


async def test_the_wait_counts_from_who_asked_first():
    async with hosting(hook_timeout=0.05) as host:
        assert (await offer(host)).pending
        asking = host._catalogue._asking["slow", "tools"]
        asking.since -= 1000
        async with asyncio.timeout(60):  # it would be a thousand seconds
            assert (await offer(host, wait=1000)).pending


async def test_a_hook_that_needs_no_warming_up_has_the_time_of_every_hook():
    async with hosting(Slow, hook_timeout=0.05) as host:
        with pytest.raises(DeadlineError, match=r"no answer within 0\.05 s"):
            await host.call(ToolCall().to("slow/late"))
        found = await offer(host, wait=math.inf)
        assert (found.pending, type(found.error)) == (False, DeadlineError)


@pytest.mark.parametrize(
    "odd", ["soon", None, 7, lambda: 3.0], ids=["text", "nothing", "an integer", "a function"]
)
async def test_what_is_no_number_of_seconds_counts_for_nothing(odd):
    kind = type("Odd", (Slow,), {"warm_up": odd})
    async with hosting(kind, hook_timeout=0.01) as host:
        assert type((await offer(host, wait=math.inf)).error) is DeadlineError


async def test_what_was_known_stays_while_it_is_asked_anew():
    async with hosting() as host:
        waiting = asyncio.create_task(offer(host, wait=math.inf))
        while not (of(host) and of(host).asked):
            await asyncio.sleep(0)
        of(host).may.set()
        await waiting
        of(host).may.clear()
        of(host).context.changed()
        found = await offer(host, wait=0.0)
        assert (found.pending, found.stale, [tool.name for tool in found.items]) == (True, True, ["late"])


async def test_who_gives_up_spoils_it_for_nobody():
    async with hosting() as host:
        given_up = asyncio.create_task(offer(host, wait=60))
        while not (of(host) and of(host).asked):
            await asyncio.sleep(0)
        whole = asyncio.create_task(offer(host, wait=60))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        of(host).may.set()
        assert [tool.name for tool in (await whole).items] == ["late"]
        assert of(host).asked == 1


def test_without_await():
    with BlockingHost({}, environ={}, index=Index(()), plugins={"slow": Patient}) as host:
        [found] = [each for each in host.offers("tools", wait=0.0) if each.instance == "slow"]
        assert found.pending
        assert host.tools(wait=0.0) == []
