"""The pool, whatever calls, cancellations, scalings and losses meet in whatever order."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_mcp.pool import Key, Limits, Pool
from gleitzeit_plugin_mcp.supervisor import Supervisor
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import ResetError, UsageError

ROOM, OWN = 2, 2
KEYS = (Key(None, "a"), Key("a", None), Key("b", "a"))


class World:
    """Sessions that stand until they fall, and calls that last until they are let go."""

    def __init__(self) -> None:
        self.sessions: list[Any] = []
        self.calls: dict[asyncio.Task[None], asyncio.Event] = {}
        self.inside: Counter[int] = Counter()
        self.served = 0

    def supervisor(self, key: Any = None) -> Supervisor:
        quiet = logging.getLogger("quiet")
        return Supervisor("x", self.connect, lambda _: None, hang=1, logger=quiet)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        session = SimpleNamespace(
            lost=asyncio.Event(), wire=SimpleNamespace(error=ResetError("fallen")), ended=None, seen=0.0
        )
        self.sessions.append(session)
        try:
            yield session
        finally:
            self.sessions.remove(session)

    def begin(self, pool: Pool, key: Key | None) -> None:
        done = asyncio.Event()

        async def call() -> None:
            async with pool.using(key) as member:
                assert member.key == key
                self.inside[id(member)] += 1
                assert self.inside[id(member)] <= ROOM
                try:
                    await done.wait()
                finally:
                    self.inside[id(member)] -= 1
            self.served += 1

        self.calls[asyncio.create_task(call())] = done


actions = st.one_of(
    st.tuples(st.just("call"), st.sampled_from([None, None, *KEYS])),
    st.tuples(st.sampled_from(["finish", "cancel", "fall", "retire"]), st.integers(0, 9)),
    st.tuples(st.just("scale"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["turn", "look"]), st.none()),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(actions, max_size=25), st.booleans(), st.sampled_from([None, 2]))
def test_no_call_is_lost_and_no_place_given_twice(
    story: list[tuple[str, Any]], drains: bool, most: int | None
) -> None:
    async def live() -> None:
        world = World()
        pool = Pool(world.supervisor, 1, Limits(room=ROOM, own=OWN, calls=most))
        scalings: list[asyncio.Task[None]] = []
        cancelled = 0
        pool.start()
        for action, which in story:
            calls = [task for task in world.calls if not task.done()]
            if action == "call":
                world.begin(pool, which)
            elif action == "scale":
                scalings.append(asyncio.create_task(pool.scale(which)))
            elif action == "fall" and world.sessions:
                world.sessions[which % len(world.sessions)].lost.set()
            elif action == "retire":
                pool.retire(pool._members[which % len(pool._members)])
            elif action == "look":
                pool._look()
            elif action in ("finish", "cancel") and calls:
                task = calls[which % len(calls)]
                if action == "finish":
                    world.calls[task].set()
                else:
                    cancelled += task.cancel()
            await asyncio.sleep(0)
            assert sum(member.busy for member in pool._members) >= sum(world.inside.values())
        if drains:
            for done in world.calls.values():
                done.set()
            async with asyncio.timeout(20):
                found = await asyncio.gather(*world.calls, return_exceptions=True)
                await asyncio.gather(*scalings)
            wrong = [each for each in found if each is not None]
            assert all(isinstance(each, asyncio.CancelledError) for each in wrong)
            assert len(wrong) <= cancelled
            assert world.served == len(found) - len(wrong)
            assert not any(member.busy for member in pool._members)
            assert not pool._waiting
        await pool.stop()
        for task in world.calls:  # those inside have lost their session; nobody waits for a place any more
            task.cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(*world.calls, *scalings, return_exceptions=True)
        assert not world.sessions
        with pytest.raises(UsageError):
            async with pool.using():
                pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.0001, 0.001))
        asyncio.run(live())
