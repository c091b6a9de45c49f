"""The supervisor, whatever happens to its sessions in whatever order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_mcp.faults import ProbeEndedItError
from gleitzeit_plugin_mcp.supervisor import Phase, Supervisor
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import CannotConnectError, GleitzeitError, ResetError, UsageError


class Session:
    """A connection that does nothing but stand, and fall when told to."""

    def __init__(self) -> None:
        self.lost, self.answers = asyncio.Event(), True
        self.wire = SimpleNamespace(error=None)
        self.ended: Any = None
        self.seen = 0.0

    async def ping(self) -> float:
        if not self.answers:
            await asyncio.Event().wait()
        return 0.0

    def fall(self) -> None:
        self.wire.error = ResetError("fallen", sent=True)
        self.lost.set()


class Server:
    """Opens sessions as the script says: well, not at all, or never; counts those that are open."""

    def __init__(self, script: list[str]) -> None:
        self.script = script
        self.open: list[Session] = []
        self.attempts = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        self.attempts += 1
        what = self.script.pop(0) if self.script else "well"
        assert not self.open, "a second session beside the first"
        await asyncio.sleep(0.0005)
        if what == "refuse":
            raise CannotConnectError("refused")
        if what == "probe":
            raise ProbeEndedItError
        if what == "group":
            raise ExceptionGroup("inner", [ValueError("odd"), CannotConnectError("refused")])
        session = Session()
        self.open.append(session)
        try:
            yield session
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                self.open.remove(session)


actions = st.sampled_from(["call", "fall", "fall silently", "suspect", "suspect a dead one", "wait"])


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["well", "refuse", "probe", "group"]), max_size=8),
    st.lists(actions, max_size=12),
)
def test_one_session_stands_at_a_time_and_none_at_the_end(script: list[str], story: list[str]) -> None:
    async def live() -> None:
        server = Server(script)
        sent: list[bool | None] = []
        supervisor = Supervisor(
            "x", server.connect, lambda _: None, hang=0.01, logger=logging.getLogger("quiet")
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (0.0001, 0.001))
            task = asyncio.create_task(supervisor.run())
            await asyncio.sleep(0)
            for action in story:
                session = server.open[0] if server.open else None
                if action == "call":
                    try:
                        async with asyncio.timeout(30):
                            found: Any = await supervisor.ready()
                    except GleitzeitError as error:
                        sent.append(error.sent)
                    else:
                        assert found in server.open
                elif session is None or action == "wait":
                    await asyncio.sleep(0.001)
                elif action == "fall":
                    session.fall()
                elif action == "fall silently":
                    session.lost.set()
                else:
                    session.answers = action == "suspect"
                    supervisor.suspect(session, 1.0)  # type: ignore[arg-type]  # all of it that is used
                await asyncio.sleep(0)
            async with asyncio.timeout(30):  # whatever happened, it comes back
                while not server.script:
                    try:
                        await supervisor.ready()
                        break
                    except GleitzeitError:
                        continue
            task.cancel()
            await asyncio.wait({task})
        assert set(sent) <= {False}
        assert not server.open
        assert supervisor.connection is None
        assert supervisor.phase is Phase.STOPPED
        with pytest.raises(UsageError):
            await supervisor.ready()

    asyncio.run(live())


async def test_a_refused_greeting_is_followed_at_once_by_the_next_start() -> None:
    server = Server(["probe", "well"])
    supervisor = Supervisor("x", server.connect, lambda _: None, hang=1, logger=logging.getLogger("quiet"))
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    await supervisor.ready()
    assert (server.attempts, supervisor.failures) == (2, 0)
    task.cancel()
    await asyncio.wait({task})


async def test_waiters_see_the_error_inside_a_group() -> None:
    server = Server(["group"])
    supervisor = Supervisor("x", server.connect, lambda _: None, hang=1, logger=logging.getLogger("quiet"))
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    found = await asyncio.gather(supervisor.ready(), supervisor.ready(), return_exceptions=True)
    assert [type(each) for each in found] == [CannotConnectError, CannotConnectError]
    assert found[0] is not found[1]
    task.cancel()
    await asyncio.wait({task})
