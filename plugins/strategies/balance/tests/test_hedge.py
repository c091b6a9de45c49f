"""A second attempt: when it is made, who wins, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gleitzeit_plugin_balance import Hedge

from gleitzeit.errors import OverloadedError, RateLimitedError
from gleitzeit.kinds import Ending
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Event, Finished, Reply, Request, Route, Stream, Target, TextDelta, ToolCall

TARGETS = (Target("a", name="m"), Target("b", name="m"), Target("c", name="m"))


class Corridor:
    """Asks the first choice of the order; the test says how each attempt ends."""

    def __init__(self, **config: Any) -> None:
        self.route = Route("r", operation="chat", targets=TARGETS, strategy="hedge", options=config)
        self.hedge = Hedge(Hedge.Config(), FakeContext("hedge"))
        self.balancer: Any = self.hedge.balancer(self.route)
        self.middleware: Any = self.hedge.wrap_call(self.route)
        self.attempts: list[asyncio.Future[Any]] = []
        self.asked: list[str] = []
        self.cancelled = 0
        self._more = asyncio.Event()

    async def handler(self, request: Request) -> Any:
        choice = next(iter(self.balancer.order(request)))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.attempts.append(future)
        self.asked.append(str(choice))
        self._more.set()
        self.balancer.begun(choice, request)
        ending = Ending("neutral", seconds=0.0, first=0.0)
        try:
            answer = await future
            ending = Ending("ok", seconds=0.0, first=0.0)
            return answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        except Exception as error:
            ending = Ending("failed", seconds=0.0, first=0.0, error=error)  # type: ignore[arg-type]
            raise
        finally:
            self.balancer.ended(choice, request, ending)

    def call(self, request: Request | None = None) -> asyncio.Task[Any]:
        asking = self.middleware(request or Request(Chat("x"), target="r"), self.handler)
        return asyncio.ensure_future(asking)

    async def attempt(self, number: int) -> Any:
        while len(self.attempts) <= number:
            self._more.clear()
            await self._more.wait()
        return self.attempts[number]

    async def answered(self, times: int) -> None:
        """Calls that are answered at once."""
        for _ in range(times):
            call = self.call()
            (await self.attempt(len(self.attempts))).set_result(Reply("quick"))
            await call


SOON = {"after": 0.001, "share": 1.0}
NEVER = {"after": 1000.0, "share": 1.0}


async def test_the_second_attempt_goes_elsewhere_and_its_answer_wins() -> None:
    corridor = Corridor(**SOON)
    call = corridor.call()
    (await corridor.attempt(1)).set_result(Reply("second"))
    assert (await call).text == "second"
    assert len(set(corridor.asked)) == 2
    assert corridor.cancelled == 1
    assert corridor.attempts[0].cancelled()


async def test_the_first_may_still_win() -> None:
    corridor = Corridor(**SOON)
    call = corridor.call()
    await corridor.attempt(1)
    corridor.attempts[0].set_result(Reply("first"))
    assert (await call).text == "first"
    assert corridor.cancelled == 1


async def test_an_answer_in_time_is_the_only_one() -> None:
    corridor = Corridor(**NEVER)
    call = corridor.call()
    (await corridor.attempt(0)).set_result(Reply("first"))
    assert (await call).text == "first"
    assert len(corridor.attempts) == 1


@pytest.mark.parametrize("failing", [0, 1])
async def test_an_error_leaves_the_other_to_answer(failing: int) -> None:
    corridor = Corridor(**SOON)
    call = corridor.call()
    await corridor.attempt(1)
    corridor.attempts[failing].set_exception(OverloadedError("busy"))
    await asyncio.sleep(0)
    corridor.attempts[1 - failing].set_result(Reply("good"))
    assert (await call).text == "good"


async def test_two_errors_raise_that_of_the_first() -> None:
    corridor = Corridor(**SOON)
    call = corridor.call()
    (await corridor.attempt(1)).set_exception(OverloadedError("second"))
    corridor.attempts[0].set_exception(OverloadedError("first"))
    with pytest.raises(OverloadedError, match="first"):
        await call


async def test_an_error_in_time_is_raised_and_not_hedged() -> None:
    corridor = Corridor(**NEVER)
    call = corridor.call()
    (await corridor.attempt(0)).set_exception(OverloadedError("first"))
    with pytest.raises(OverloadedError, match="first"):
        await call
    assert len(corridor.attempts) == 1


async def test_a_rate_limit_inside_the_call_is_not_answered_with_more_calls() -> None:
    corridor = Corridor(after=0.001, share=1.0)
    request = Request(Chat("x"), target="r")
    over = asyncio.Event()

    async def limited(asked: Request) -> Any:
        corridor.balancer.begun(TARGETS[0], asked)
        error = RateLimitedError("slow down")
        corridor.balancer.ended(TARGETS[0], asked, Ending("neutral", seconds=0.0, first=0.0, error=error))
        corridor.attempts.append(asyncio.get_running_loop().create_future())
        if len(corridor.attempts) == 1:
            asyncio.get_running_loop().call_later(0.02, over.set)  # long after the time for a second one
        await over.wait()
        return Reply("late")

    assert (await corridor.middleware(request, limited)).text == "late"
    assert len(corridor.attempts) == 1


async def test_cancelling_the_caller_cancels_both() -> None:
    corridor = Corridor(**SOON)
    call = corridor.call()
    await corridor.attempt(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert corridor.cancelled == 2
    assert corridor.hedge._under_way == {}
    assert sum(member.load.inflight for member in corridor.balancer.group.members) == 0


@pytest.mark.parametrize(
    "request_", [Request(Chat("x"), target="r", stream=True), Request(ToolCall({}), target="r")]
)
async def test_streams_and_what_may_act_twice_pass_through(request_: Request) -> None:
    corridor = Corridor(after=1e-9, share=1.0)
    call = corridor.call(request_)
    first = await corridor.attempt(0)
    for _ in range(20):
        await asyncio.sleep(0)
    first.set_result(Reply("only"))
    assert (await call).text == "only"
    assert len(corridor.attempts) == 1


async def test_a_stream_that_comes_anyway_is_read_where_it_was_opened() -> None:
    async def events() -> AsyncIterator[Event]:
        yield TextDelta("streamed")
        yield Finished("stop")

    corridor = Corridor(**NEVER)
    call = corridor.call()
    (await corridor.attempt(0)).set_result(Stream(events()))
    assert (await call).text == "streamed"


async def test_second_attempts_are_a_tenth_of_the_calls_at_most() -> None:
    corridor = Corridor(after=1e-6)
    for number in range(100):
        before = len(corridor.attempts)
        call = corridor.call()
        first = await corridor.attempt(before)
        await asyncio.wait([call], timeout=0.001)  # a thousand times what the first one is given
        first.set_result(Reply(str(number)))
        await call
    assert len(corridor.attempts) == 110


async def test_the_time_is_learned_from_twenty_calls() -> None:
    corridor = Corridor(share=1.0)
    await corridor.answered(19)
    tail: Any = corridor.hedge._tails["r", "chat"]
    assert not tail.limit
    await corridor.answered(1)
    assert 0 < tail.limit < 1
    before = len(corridor.attempts)
    call = corridor.call()
    (await corridor.attempt(before + 1)).set_result(Reply("second"))
    assert (await call).text == "second"


def test_only_routes_of_this_strategy_are_wrapped() -> None:
    hedge = Hedge(Hedge.Config(), FakeContext("hedge"))
    assert hedge.wrap_call(Route("r", operation="chat", targets=TARGETS)) is None
    assert hedge.wrap_call(Route("r", operation="chat", targets=TARGETS, strategy="p2c")) is None
