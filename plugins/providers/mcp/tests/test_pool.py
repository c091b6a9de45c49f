"""Several processes or sessions of one server: who takes a call, how many there are, when they go."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.errors import DeadlineError, UsageError
from gleitzeit.values import Invoke, Request, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]
Gone = Callable[[int], bool]


def tool(name: str, *, session: str | None = None, **arguments: Any) -> Request:
    metadata = {} if session is None else {"session": session}
    return ToolCall(arguments).to(name, metadata=metadata)


async def standing(provider: Any) -> list[int]:
    """The process ids of all instances, once all stand."""
    found = [await member.supervisor.ready() for member in provider._pool.members]
    return [each.wire.diagnostics()["pid"] for each in found]


async def test_one_process_is_enough_for_many_calls(start: Start) -> None:
    async with start() as provider:
        found = await asyncio.gather(*(provider.reply(tool("who")) for _ in range(20)))
        assert len({each.text for each in found}) == 1
        assert (await provider.health()).data["instances"] == 1


@pytest.mark.feature("S003-14")
async def test_calls_go_to_the_instance_with_the_fewest(start: Start, heard: Heard, gone: Gone) -> None:
    async with start({"era": "modern"}, instances=3) as provider:
        pids = await standing(provider)
        assert len(set(pids)) == 3
        calls = [asyncio.create_task(provider.reply(tool("gate"))) for _ in range(6)]
        while len(heard("tools/call", "gate")) < 6:
            await asyncio.sleep(0.005)
        assert Counter(each["pid"] for each in heard("tools/call", "gate")) == dict.fromkeys(pids, 2)
        health = await provider.health()
        assert (health.status, health.data["instances"], health.data["ready"]) == ("ok", 3, 3)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    assert all(map(gone, pids))


async def test_a_limit_holds_for_each_instance_and_places_go_to_who_waited_longest(
    start: Start, heard: Heard, eventually: Eventually
) -> None:
    async with start(instances=2, max_concurrency=1) as provider:
        await standing(provider)
        first = [asyncio.create_task(provider.reply(tool("gate"))) for _ in range(2)]
        await eventually(lambda: len(heard("tools/call", "gate")) == 2)
        order: list[str] = []

        async def later(word: str) -> None:
            await provider.reply(tool("echo", text=word))
            order.append(word)

        waiting = [asyncio.create_task(later(word)) for word in "abc"]
        late = ToolCall({}).to("echo", timeout=0.1)
        with pytest.raises(DeadlineError) as caught:
            await provider.reply(late)
        assert caught.value.sent is False
        waiting[1].cancel()
        first[0].cancel()
        await asyncio.wait([waiting[0], waiting[1], waiting[2]])
        assert order == ["a", "c"]
        first[1].cancel()
        await asyncio.wait(first)


@pytest.mark.feature("S003-14")
async def test_scaling_up_serves_those_who_wait(start: Start, heard: Heard, eventually: Eventually) -> None:
    async with start(max_concurrency=1) as provider:
        busy = asyncio.create_task(provider.reply(tool("gate")))
        await eventually(lambda: len(heard("tools/call", "gate")) == 1)
        waiting = asyncio.create_task(provider.reply(tool("echo", text="at last")))
        await asyncio.sleep(0)
        await provider.scale(2)
        assert (await waiting).text == "at last"
        busy.cancel()
        await asyncio.wait({busy})


@pytest.mark.feature("S003-14")
async def test_scaling_down_lets_calls_end_and_ends_processes(
    start: Start, heard: Heard, eventually: Eventually, gone: Gone
) -> None:
    async with start({"era": "legacy"}, instances=3) as provider:
        pids = await standing(provider)
        calls = [asyncio.create_task(provider.reply(tool("gate"))) for _ in range(3)]
        await eventually(lambda: len(heard("tools/call", "gate")) == 3)
        scaling = asyncio.create_task(provider.scale(1))
        await asyncio.sleep(0)
        assert len(provider._pool.members) == 1
        assert not any(map(gone, pids))
        kept = provider._pool.members[0]
        assert (await provider.reply(tool("release"))).text == "1"  # at the one that stays
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        assert not scaling.done()
        for call in calls:
            call.cancel()
        await scaling
        assert sum(map(gone, pids)) == 2
        assert provider._pool.members == (kept,)
        assert (await provider.reply(tool("echo", text="on"))).text == "on"


@pytest.mark.feature("S003-14")
async def test_nothing_is_lost_while_the_number_changes(start: Start) -> None:
    async with start() as provider:
        await standing(provider)

        async def caller(number: int) -> list[str]:
            return [(await provider.reply(tool("echo", text=f"{number}-{turn}"))).text for turn in range(20)]

        callers = [asyncio.create_task(caller(number)) for number in range(8)]
        for size in (3, 1, 2, 1):
            await provider.scale(size)
        assert [await each for each in callers] == [
            [f"{number}-{turn}" for turn in range(20)] for number in range(8)
        ]
        assert (await provider.health()).data["instances"] == 1


async def test_scaling_what_does_not_run_is_refused(start: Start) -> None:
    async with start() as provider:
        pass
    with pytest.raises(UsageError, match="not running"):
        await provider.scale(2)


@pytest.mark.feature("S000-14")
async def test_one_instance_dies_and_the_others_go_on(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    async with start(instances=2) as provider:
        await standing(provider)
        with pytest.raises(Exception, match="exit status"):
            await provider.reply(tool("die"))
        # In this very moment nobody knows which of them it was.
        pids = {(await provider.reply(tool("who"))).text for _ in range(5)}
        assert len(pids) == 1  # the one that stands, without waiting for the other
        health = await provider.health()
        assert (health.status, health.data["ready"]) == ("degraded", 1), health
        assert "1 of 2 instances are down" in health.detail


async def test_each_session_has_a_process_of_its_own(start: Start, gone: Gone) -> None:
    async with start(affinity="session", max_instances=2) as provider:
        one, two = [(await provider.reply(tool("who", session=word))).text for word in ("one", "two")]
        nobody = (await provider.reply(tool("who"))).text
        assert len({one, two, nobody}) == 3
        assert (await provider.reply(tool("who", session="one"))).text == one
        # A third takes the place of the one that rested longest.
        three = (await provider.reply(tool("who", session="three"))).text
        assert three not in {one, two, nobody}
        assert gone(int(two))
        assert (await provider.reply(tool("who", session="one"))).text == one


async def test_a_principal_waits_while_all_instances_belong_to_others(
    start: Start, heard: Heard, eventually: Eventually
) -> None:
    async with start(affinity="principal", max_instances=1) as provider:
        busy = asyncio.create_task(provider.reply(tool("gate").evolve(principal="ada")))
        await eventually(lambda: len(heard("tools/call", "gate")) == 1)
        waiting = asyncio.create_task(provider.reply(tool("who").evolve(principal="bob")))
        late = ToolCall({}).to("who", timeout=0.1, principal="eve")
        with pytest.raises(DeadlineError):
            await provider.reply(late)
        busy.cancel()
        bob = (await waiting).text
        adas = {str(each["pid"]) for each in heard("tools/call", "gate")}
        assert bob not in adas


def rest(provider: Any) -> None:
    """Let it be two hours since anybody called."""
    for member in provider._pool.members:
        member.used -= 7200
    provider._pool._look()


async def test_an_idle_instance_sleeps_and_wakes(start: Start, eventually: Eventually, gone: Gone) -> None:
    async with start(idle_timeout=3600) as provider:
        tools = await provider.provide_tools()
        first = int((await provider.reply(tool("who"))).text)
        rest(provider)
        await eventually(lambda: gone(first))
        health = await provider.health()
        assert (health.status, health.data["state"]) == ("unknown", "idle")
        assert await provider.provide_tools() == tools  # nobody is woken for what is known
        assert (await provider.health()).data["state"] == "idle"
        second = int((await provider.reply(tool("who"))).text)
        assert second != first
        assert (await provider.health()).data["restarts"] == 0


async def test_time_puts_it_to_sleep(start: Start, eventually: Eventually, gone: Gone) -> None:
    async with start(idle_timeout=0.05) as provider:
        for _ in range(2):
            pid = int((await provider.reply(tool("who"))).text)
            await eventually(lambda pid=pid: gone(pid))


async def test_what_is_in_use_does_not_sleep(start: Start, heard: Heard, eventually: Eventually) -> None:
    async with start(idle_timeout=3600) as provider:
        call = asyncio.create_task(provider.reply(tool("gate")))
        await eventually(lambda: len(heard("tools/call", "gate")) == 1)
        rest(provider)
        assert provider._supervisor.running
        await provider.reply(tool("release"))
        await call


async def test_after_so_many_calls_there_is_a_new_process(
    start: Start, eventually: Eventually, gone: Gone
) -> None:
    async with start(max_calls=3) as provider:
        first = [(await provider.reply(tool("who"))).text for _ in range(3)]
        assert len(set(first)) == 1
        await eventually(lambda: gone(int(first[0])))
        assert (await provider.reply(tool("who"))).text != first[0]
        assert len(provider._pool.members) == 1


async def test_a_process_is_replaced_after_its_time_and_no_call_notices(
    start: Start, heard: Heard, eventually: Eventually, gone: Gone
) -> None:
    async with start(max_lifetime=0.2) as provider:
        first = int((await provider.reply(tool("who"))).text)
        while not gone(first):
            assert (await provider.reply(tool("echo", text="on"))).text == "on"


async def test_a_replacement_that_does_not_start_leaves_the_old_one_in_its_place(
    start: Start, monkeypatch: Any
) -> None:
    async with start(max_calls=1) as provider:
        opening = provider._opening
        await standing(provider)
        monkeypatch.setattr(opening, "_transport", broken)
        first = (await provider.reply(tool("who"))).text
        while provider._pool._chores:
            await asyncio.wait(set(provider._pool._chores))
        assert (await provider.reply(tool("who"))).text == first


async def broken() -> Any:
    raise UsageError("no wire today")


async def test_lists_need_no_place(start: Start, heard: Heard, eventually: Eventually) -> None:
    async with start(max_concurrency=1) as provider:
        call = asyncio.create_task(provider.reply(tool("gate")))
        await eventually(lambda: len(heard("tools/call", "gate")) == 1)
        assert await provider.provide_tools()
        call.cancel()
        await asyncio.wait({call})


async def test_everything_ends_whoever_waits(start: Start, heard: Heard, eventually: Eventually) -> None:
    async with start(max_concurrency=1) as provider:
        call = asyncio.create_task(provider.reply(tool("gate")))
        await eventually(lambda: len(heard("tools/call", "gate")) == 1)
        waiting = asyncio.create_task(provider.reply(tool("echo")))
        await asyncio.sleep(0)
    found = await asyncio.gather(call, waiting, return_exceptions=True)
    assert all(isinstance(each, Exception) for each in found)
    with pytest.raises(UsageError):
        await provider.reply(Invoke("ping").to(""))
