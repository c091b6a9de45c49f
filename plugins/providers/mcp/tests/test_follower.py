"""Tasks are followed through whatever happens on the way to their server."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_mcp import tasks
from gleitzeit_plugin_mcp.tasks import Follower
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    ProcessDiedError,
    ResetError,
    ServerFaultError,
    WireError,
)

#: What happens to a request: it arrives, or the session breaks before or after, or it is too much.
FATES = ("arrives", "before", "after", "refused", "arrives", "arrives")
STEPS = st.lists(st.sampled_from(["work", "a", "b", "c"]), max_size=4, unique=True)
ENDS = st.sampled_from(["completed", "failed", "cancelled", "forgotten"])


class World:
    """A server with one task, the way to it, and whoever answers its questions."""

    def __init__(self, fates: list[str], steps: list[str], end: str) -> None:
        self.fates, self.steps, self.end = iter(fates), list(steps), end
        self.losses = 0
        self.lost = False
        self.methods: list[str] = []
        self.secrets: tuple[str, ...] = ()
        self.asked: list[str] = []
        self.given: dict[str, Any] = {}
        self.supervisor: Any = self
        self.deferred = self.refused = False
        self.task: Any = None
        self.connection: Any = None

    async def ready(self) -> Any:
        return self

    def accepted(self) -> None:
        pass

    def began(self, connection: Any) -> None:
        assert connection is self

    async def answer(self, requests: Any) -> dict[str, Any]:
        self.asked += requests
        return {key: {"to": key} for key in requests}

    async def request(self, method: str, params: Any) -> dict[str, Any]:
        self.methods.append(method)
        assert params["taskId"] == "t"
        fate = next(self.fates, "arrives")
        if fate == "refused":
            raise OverloadedError("come again", sent=True)
        if fate == "before":
            self.losses += 1
            raise ResetError("lost before", sent=False)
        result = self.act(method, params)
        if fate == "after":
            self.losses += 1
            raise ProcessDiedError("lost after", sent=True)
        return result

    def act(self, method: str, params: Any) -> dict[str, Any]:
        if method == "tasks/cancel":
            return {}
        if method == "tasks/update":
            for key, said in params["inputResponses"].items():
                assert self.given.setdefault(key, said) == said
            return {}
        while self.steps and self.steps[0] in self.given:
            del self.steps[0]
        if not self.steps and self.end == "forgotten":
            self.lost = self.losses > 0
            raise InvalidRequestError("no such task", sent=True, vendor_code="-32602")
        if not self.steps:
            more: dict[str, Any] = {
                "completed": {"result": {"given": self.given}},
                "failed": {"error": {"code": 7}},
            }
            return {"taskId": "t", "status": self.end, **more.get(self.end, {})}
        if self.steps[0] != "work":
            questions: dict[str, Any] = {key: {} for key in self.steps if key != "work"}
            return {"taskId": "t", "status": "input_required", "inputRequests": questions}
        del self.steps[0]
        return {"taskId": "t", "status": "working"}


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for time to pass."""
    plain = asyncio.sleep
    hurried = SimpleNamespace(**{**vars(asyncio), "sleep": lambda _: plain(0)})
    monkeypatch.setattr(tasks, "asyncio", hurried)


async def follow(world: World) -> Any:
    follower = Follower("s", lambda: world, _none)
    created = {"taskId": "t", "status": "working"}
    try:
        return await follower.follow(world, "tools/call", {"name": "x"}, created, None)
    finally:
        await follower.close()


async def _none() -> Any:
    raise AssertionError("only servers of the handshake era have to be asked")


@given(st.lists(st.sampled_from(FATES), max_size=12), STEPS, ENDS)
@settings(max_examples=150, deadline=None)
def _followed(fates: list[str], steps: list[str], end: str) -> None:
    world = World(fates, steps, end)
    questions = [step for step in steps if step != "work"]

    async def run() -> None:
        if end == "completed":
            assert await follow(world) == {"given": {key: {"to": key} for key in questions}}
            return
        with pytest.raises((ServerFaultError, WireError)) as caught:
            await follow(world)
        assert caught.value.sent is True
        # A task that is gone is explained by a loss on the way, if there was one.
        assert isinstance(caught.value, WireError) == (end == "forgotten" and world.lost)

    asyncio.run(run())
    assert sorted(world.asked) == sorted(questions)  # each once, however often the server put it
    assert set(world.methods) <= {"tasks/get", "tasks/update", "tasks/cancel"}
    assert ("tasks/cancel" in world.methods) == (end == "forgotten")


def test_a_task_is_followed_through_losses_and_refusals(hurry: None) -> None:
    _followed()


async def test_a_server_that_stays_away_is_given_up(hurry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AWAY", 0.0)
    with pytest.raises(ResetError) as caught:
        await follow(World(["before"] * 9, [], "completed"))
    assert caught.value.sent is True


async def test_what_is_refused_as_an_answer_is_the_end_unless_the_task_has_ended() -> None:
    class Strict(World):
        def act(self, method: str, params: Any) -> dict[str, Any]:
            if method == "tasks/update":
                self.steps = [] if self.end == "completed" else self.steps
                raise InvalidRequestError("not like this", sent=True)
            return super().act(method, params)

    assert await follow(Strict([], ["a"], "completed")) == {"given": {}}
    with pytest.raises(GleitzeitError, match="not like this"):
        await follow(Strict([], ["a"], "failed"))
