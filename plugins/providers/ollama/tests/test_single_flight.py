"""Downloads without a server: who joins, who leaves, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_ollama.pulls import Pulls, Tell
from gleitzeit_plugin_ollama.shapes import Status

from gleitzeit.errors import GleitzeitError, ServerFaultError, TruncatedStreamError
from gleitzeit.values import Progress


class Work:
    """A download that does what the test says."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled = 0
        self._orders: asyncio.Queue[Status | Exception | None] = asyncio.Queue()

    def say(self, status: str, digest: str | None = None, total: int | None = None, done: int = 0) -> None:
        self._orders.put_nowait(Status(status, digest=digest, total=total, completed=done))

    def end(self, error: Exception | None = None) -> None:
        self._orders.put_nowait(error)

    async def run(self, model: str, tell: Tell) -> None:
        self.begun.append(model)
        try:
            while (order := await self._orders.get()) is not None:
                if isinstance(order, Exception):
                    raise order
                tell(order)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
async def work() -> Work:
    return Work()


@pytest.fixture
async def pulls(work: Work) -> AsyncIterator[Pulls]:
    made = Pulls(work.run)
    yield made
    await made.aclose()


async def test_progress_is_the_sum_of_all_layers(pulls: Pulls, work: Work) -> None:
    follower = pulls.follow("tiny")
    work.say("pulling manifest")
    seen = []
    for digest, total, done in (("a", 100, 0), ("a", 100, 50), ("b", 300, 150)):
        work.say(f"pulling {digest}", digest, total, done)
        seen.append(await follower.next())
    work.say("verifying sha256 digest")
    seen.append(await follower.next())
    assert seen == [
        Progress(0, total=100, message="pulling tiny: 0 % of 100 B"),
        Progress(50, total=100, message="pulling tiny: 50 % of 100 B"),
        Progress(200, total=400, message="pulling tiny: 50 % of 400 B"),
        Progress(200, total=400, message="pulling tiny: verifying sha256 digest"),
    ]
    assert follower.lines == 5
    work.end()
    assert await follower.next() is None
    await follower.aclose()


async def test_what_does_not_change_the_percentage_is_not_told(pulls: Pulls, work: Work) -> None:
    follower = pulls.follow("tiny")
    for done in range(0, 2 * 10**9, 10**8):
        for more in (0, 1, 2):
            work.say("pulling a", "a", 2 * 10**9, done + more)
    work.end()
    seen = []
    while (news := await follower.next()) is not None:
        seen.append(news.message)
    assert len(set(seen)) == len(seen)
    assert seen[-1] == "pulling tiny: 95 % of 2.0 GB"
    await follower.aclose()


@pytest.mark.parametrize("status", [Status(None), Status("x", digest=3, total="y"), Status("x", total=-1)])
async def test_odd_lines_are_signs_of_life_only(pulls: Pulls, work: Work, status: Status) -> None:
    follower = pulls.follow("tiny")
    work._orders.put_nowait(status)
    work.end()
    assert await follower.next() is None
    assert follower.lines == 1
    await follower.aclose()


async def test_all_spellings_of_a_model_are_one_download(pulls: Pulls, work: Work) -> None:
    names = ("tiny", "tiny:latest", "tiny", "host:80/ns/tiny", "host:80/ns/tiny:latest", "tiny:1b")
    followers = [pulls.follow(name) for name in names]
    for _ in range(3):
        work.end()
    await asyncio.gather(*(follower.wait() for follower in followers))
    assert work.begun == ["tiny", "host:80/ns/tiny", "tiny:1b"]
    for follower in followers:
        await follower.aclose()


async def test_a_failure_reaches_every_caller_as_its_own(pulls: Pulls, work: Work) -> None:
    followers = [pulls.follow("tiny") for _ in range(3)]
    work.end(ServerFaultError("disk full", hint="make room"))
    errors = await asyncio.gather(*(follower.wait() for follower in followers), return_exceptions=True)
    assert [type(error) for error in errors] == [ServerFaultError] * 3
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error, GleitzeitError) and error.hint == "make room" for error in errors)
    for follower in followers:
        await follower.aclose()


async def test_a_download_goes_on_while_anybody_waits(pulls: Pulls, work: Work) -> None:
    first, second = pulls.follow("tiny"), pulls.follow("tiny")
    work.say("pulling a", "a", 10, 1)
    await first.next()
    await first.aclose()
    await first.aclose()  # twice does no harm to the other
    assert not work.cancelled
    work.end()
    await second.wait()
    await second.aclose()
    assert not work.cancelled


async def test_when_the_last_leaves_it_ends_and_the_next_begins_anew(pulls: Pulls, work: Work) -> None:
    follower = pulls.follow("tiny")
    work.say("pulling a", "a", 10, 1)
    await follower.next()
    await follower.aclose()
    assert work.cancelled == 1
    again = pulls.follow("tiny")
    work.end()
    await again.wait()
    await again.aclose()
    assert work.begun == ["tiny", "tiny"]


async def test_leaving_before_it_has_begun_leaves_nothing(pulls: Pulls, work: Work) -> None:
    await pulls.follow("tiny").aclose()
    assert work.begun == []


async def test_leaving_under_cancellation_still_waits_for_the_end(work: Work) -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    async def slow(model: str, tell: Tell) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
            ended.set()

    pulls = Pulls(slow)
    follower = pulls.follow("tiny")
    await asyncio.sleep(0)
    leaving = asyncio.create_task(follower.aclose())
    await asyncio.sleep(0)
    leaving.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert ended.is_set()


async def test_stopping_tells_those_who_wait(pulls: Pulls, work: Work) -> None:
    follower = pulls.follow("tiny")
    waiting = asyncio.create_task(follower.wait())
    await asyncio.sleep(0)
    await pulls.aclose()
    with pytest.raises(TruncatedStreamError):
        await waiting
    await follower.aclose()
