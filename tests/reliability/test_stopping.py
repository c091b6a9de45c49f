"""Calls and the instances under them: what stops is not called, and what is called is not stopped."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gleitzeit import Chat, Host, Model, Plugin, Provider, Reply
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError, PluginError
from gleitzeit.values import State


class Living(Provider):
    """Knows whether its lifespan lasts, and refuses to be asked outside of it."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.alive = False
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()
        self.stray = 0

    @asynccontextmanager
    async def lifespan(self):
        self.alive = True
        try:
            yield
        finally:
            self.alive = False

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        self.stray += not self.alive
        self.asked.set()
        await self.answer.wait()
        return Reply(self.context.name)


class SlowVote(Plugin):
    """Votes for every call, but takes as long as the test wants."""

    asked = asyncio.Event()
    answer = asyncio.Event()

    async def security_check(self, request, target):
        self.asked.set()
        await self.answer.wait()


def host(config=None, **plugins):
    return Host(config or {}, plugins=plugins, environ={}, index=Index())


def instance(host, name):
    return host._registry.find("provider", name)


async def ask(host, target="living/m"):
    return await host.call(Chat("hi").to(target))


async def test_a_call_that_waits_for_a_vote_does_not_reach_a_stopped_provider():
    class Vote(SlowVote):
        asked, answer = asyncio.Event(), asyncio.Event()

    async with host(living=Living, vote=Vote) as h:
        Vote.answer.set()
        await ask(h)
        Vote.answer.clear()
        Vote.asked.clear()
        living = instance(h, "living").object
        call = asyncio.create_task(ask(h))
        await Vote.asked.wait()
        await instance(h, "living").stop(10)
        Vote.answer.set()
        await asyncio.wait([call])
        assert living.stray == 0
        assert isinstance(call.exception(), PluginError)
        assert call.exception().sent is False


async def test_fallback_while_the_host_closes_does_not_reach_a_stopped_provider():
    config = {"routes": {"r": {"targets": ["first/m", "second/m"]}}, "host": {"drain_timeout": 0.01}}
    h = host(config, first=Living, second=Living)
    await h.open()
    await ask(h, "r")
    first, second = instance(h, "first").object, instance(h, "second").object
    first.asked.clear()
    first.answer.clear()
    call = asyncio.create_task(ask(h, "r"))
    await first.asked.wait()
    await h.close()
    await asyncio.wait([call])
    assert second.stray == 0
    assert isinstance(call.exception(), GleitzeitError)


async def test_a_call_to_a_provider_that_drains_is_a_typed_error():
    async with host(living=Living) as h:
        await ask(h)
        living = instance(h, "living").object
        living.asked.clear()
        living.answer.clear()
        old = asyncio.create_task(ask(h))
        await living.asked.wait()
        stopping = asyncio.create_task(instance(h, "living").stop(10))
        while instance(h, "living").object is not None:
            await asyncio.sleep(0)
        with pytest.raises(PluginError):
            await ask(h)
        assert living.alive
        living.answer.set()
        assert (await old).text == "living"
        await stopping
        assert not living.alive


async def test_a_stopped_provider_is_started_anew_by_the_next_call():
    async with host(living=Living) as h:
        await ask(h)
        old = instance(h, "living").object
        await instance(h, "living").stop(1)
        assert (await ask(h)).text == "living"
        assert not old.alive
        assert instance(h, "living").object is not old


@pytest.mark.parametrize("ending", ["the call", "the host"])
async def test_a_dismissal_goes_on_although_its_caller_gives_up(ending):
    h = host({"host": {"drain_timeout": 0.01}}, living=Living)
    await h.open()
    await ask(h)
    living = instance(h, "living").object
    living.asked.clear()
    living.answer.clear()
    call = asyncio.create_task(ask(h))
    await living.asked.wait()
    leaving = asyncio.create_task(h._registry.dismiss(instance(h, "living"), 600))
    while instance(h, "living") is not None:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # it waits for the call by now
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert living.alive
    if ending == "the call":
        living.answer.set()
        assert (await call).text == "living"
        async with asyncio.timeout(30):
            while living.alive:
                await asyncio.sleep(0)
    await h.close()
    await asyncio.wait([call])
    assert not living.alive
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_closed_host_starts_nothing_for_calls_that_were_under_way():
    built = []

    class Counted(Living):
        def __init__(self, config, context):
            super().__init__(config, context)
            built.append(context.name)

    class Hanging(Counted):
        @asynccontextmanager
        async def lifespan(self):
            await asyncio.Event().wait()
            yield

    config = {"routes": {"r": {"targets": ["quick/m", "hanging/m"]}}, "host": {"drain_timeout": 0.01}}
    h = host(config, quick=Counted, hanging=Hanging)
    await h.open()
    call = asyncio.create_task(ask(h, "r"))
    while instance(h, "quick").state is not State.ACTIVE or "hanging" not in built:
        await asyncio.sleep(0)
    await h.close()
    with pytest.raises(GleitzeitError):
        await call
    assert sorted(built) == ["hanging", "quick"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_calls_end_with_the_lifespan_that_dies_under_them():
    class Dying(Living):
        @asynccontextmanager
        async def lifespan(self):
            self.die = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())
                yield

        async def fail(self):
            await self.die.wait()
            raise ConnectionError("session lost")

    async with host(dying=Dying) as h:
        await ask(h, "dying/m")
        dying = instance(h, "dying").object
        dying.asked.clear()
        dying.answer.clear()
        call = asyncio.create_task(ask(h, "dying/m"))
        await dying.asked.wait()
        dying.die.set()
        async with asyncio.timeout(5):
            with pytest.raises(PluginError, match="session lost"):
                await call
        assert instance(h, "dying").leases == set()


async def test_a_provider_that_cancels_itself_does_not_cancel_its_caller():
    class Cancelling(Living):
        async def call(self, request):
            raise asyncio.CancelledError

    async with host(cancelling=Cancelling) as h:
        with pytest.raises(PluginError):
            await ask(h, "cancelling/m")
