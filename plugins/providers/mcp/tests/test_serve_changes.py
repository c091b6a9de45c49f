"""Sessions are told of changes, each as fast as it listens."""

import asyncio
from typing import Any

import pytest
from gleitzeit_plugin_mcp.serve.changes import Changes, _Session
from gleitzeit_plugin_mcp.serve.published import Published


class Session:
    """A connection that says what it was told; `deaf` ones do not take what they are told."""

    def __init__(self, changes: Changes, deaf: bool) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.deaf = deaf
        changes._sessions[self] = state = _Session()  # type: ignore[index]
        state.uris.add("x://1")

    async def send_resource_updated(self, uri: str) -> None:
        self.told.put_nowait(uri)
        if self.deaf:
            await asyncio.Event().wait()


class Lists:
    on_approved: Any = None
    last: Any = Published(
        lists={}, tools={}, prompts={}, resources={"x://1": ("a", "x://1")}, templates=(), schemas={}
    )


@pytest.mark.parametrize("times", [1, 50])
async def test_a_session_that_does_not_listen_makes_no_other_deaf(times: int) -> None:
    lists: Any = Lists()
    host: Any = None
    changes = Changes(host, lists)
    deaf, keen = Session(changes, True), Session(changes, False)
    changes._wanted["x://1"] = 2
    for _ in range(times):
        await changes._updated("a", "x://1")
        assert await keen.told.get() == "x://1"
    assert deaf.told.qsize() == 1
    connection: Any = deaf
    # However much there was to tell, it is kept once, and forgotten with the session.
    assert len(changes._sessions[connection].untold) == (times > 1)
    changes._left(connection)
    await asyncio.wait(changes._tasks)
