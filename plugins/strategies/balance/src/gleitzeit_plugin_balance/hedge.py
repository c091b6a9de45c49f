"""Hedging: a second attempt where the first takes too long; the first good answer wins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from gleitzeit.errors import RateLimitedError
from gleitzeit.kinds import Balancer, Context, Ending, Handler, Middleware
from gleitzeit.values import Choice, Reply, Request, Route, Stream
from gleitzeit_plugin_balance.base import Balancing
from gleitzeit_plugin_balance.config import HedgeConfig, settled
from gleitzeit_plugin_balance.group import Group
from gleitzeit_plugin_balance.p2c import ByCost
from gleitzeit_plugin_balance.tail import Tail

__all__ = ["Hedge"]

#: Calls of a host may come in bursts, second attempts must not: at most so many are saved up.
_SAVED: Final = 10.0
#: A second attempt; ten tenths are a little less than one.
_ONE: Final = 1.0 - 1e-9


class Hedge(Balancing):
    """p2c, and a second attempt elsewhere when an answer takes longer than nearly all before it.

    Only for whole answers of idempotent operations, never after a rate limit, and for no more than
    `share` of the calls. Every other call passes through.
    """

    Config: ClassVar[Any] = HedgeConfig

    def __init__(self, config: Any, context: Context, **given: Any) -> None:
        super().__init__(config, context, **given)
        self._under_way: dict[str, _Call] = {}
        self._tails: dict[tuple[str, str], Tail] = {}

    def make(self, route: Route, config: HedgeConfig, group: Group) -> Balancer:
        return _Elsewhere(group, self.clock, self.chance, config, self._under_way)

    def wrap_call(self, route: Route) -> Middleware | None:
        """The middleware of routes whose strategy this is; not of routes inside of others."""
        if route.strategy != self.context.name:
            return None
        tail = self._tails.setdefault((route.name, route.operation), Tail())
        return _Hedging(self, settled(self.config, route), tail, self._under_way)


class _Call:
    """A call that may be hedged: whom it is asking, by identity, and whether somebody had no room."""

    __slots__ = ("asked", "limited")

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.limited = False


class _Elsewhere(ByCost):
    """p2c, with whom the same call is asking already put last."""

    def __init__(
        self, group: Group, clock: Any, chance: Any, config: HedgeConfig, under_way: dict[str, _Call]
    ) -> None:
        super().__init__(group, clock, chance, config)
        self._under_way = under_way

    def order(self, request: Request) -> Iterator[Choice]:
        call = self._under_way.get(request.id)
        if call is None or not call.asked:
            yield from super().order(request)
            return
        later = []
        for choice in super().order(request):
            if id(choice) in call.asked:
                later.append(choice)
            else:
                yield choice
        yield from later

    def begun(self, choice: Choice, request: Request) -> None:
        super().begun(choice, request)
        call = self._under_way.get(request.id)
        if call is not None:
            call.asked.append(id(choice))

    def ended(self, choice: Choice, request: Request, ending: Ending) -> None:
        super().ended(choice, request, ending)
        call = self._under_way.get(request.id)
        if call is not None:
            call.limited = call.limited or isinstance(ending.error, RateLimitedError)
            if id(choice) in call.asked:
                call.asked.remove(id(choice))


class _Hedging:
    """The middleware."""

    def __init__(self, hedge: Hedge, config: HedgeConfig, tail: Tail, under_way: dict[str, _Call]) -> None:
        self._clock = hedge.clock
        self._config = config
        self._tail = tail
        self._under_way = under_way
        self._saved = 0.0

    async def __call__(self, request: Request, call_next: Handler) -> Reply | Stream:
        if request.stream or not request.operation.idempotent or request.id in self._under_way:
            return await call_next(request)
        self._saved = min(_SAVED, self._saved + self._config.share)
        after = self._tail.limit if self._config.after is None else self._config.after
        began = self._clock()
        if after is None:
            answer = await call_next(request)
            self._tail.add(self._clock() - began)
            return answer
        call = self._under_way[request.id] = _Call()
        tasks = [_start(request, call_next)]
        try:
            await asyncio.wait(tasks, timeout=after)
            if not tasks[0].done() and not call.limited and self._saved >= _ONE:
                self._saved -= _ONE
                tasks.append(_start(request, call_next))
            answer = await _first_good(tasks)
            # Of a call that lost, the time until then: else the slow ones would never be counted.
            self._tail.add(self._clock() - began)
            return answer
        finally:
            del self._under_way[request.id]
            await _end(tasks)


def _start(request: Request, call_next: Handler) -> asyncio.Task[Reply]:
    task = asyncio.get_running_loop().create_task(_whole(request, call_next))
    task.add_done_callback(_hear)
    return task


async def _whole(request: Request, call_next: Handler) -> Reply:
    """The answer, a stream read to its end in the task that has opened it."""
    answer = await call_next(request)
    return await answer.collect() if isinstance(answer, Stream) else answer


async def _first_good(tasks: list[asyncio.Task[Reply]]) -> Reply:
    """The first answer; when there is none, the error of the first task."""
    left = set(tasks)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and not task.cancelled() and task.exception() is None:
                return task.result()
    return tasks[0].result()


async def _end(tasks: list[asyncio.Task[Reply]]) -> None:
    """Cancel what is still under way, and see it end."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


def _hear(task: asyncio.Task[Reply]) -> None:
    """Take note of an error that nobody else may ask for."""
    if not task.cancelled():
        task.exception()
