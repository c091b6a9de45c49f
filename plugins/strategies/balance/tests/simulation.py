"""Calls that come at random to endpoints with a few slots each, in simulated time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from gleitzeit.errors import OverloadedError
from gleitzeit.kinds import Balancer, Ending
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Request, Route, Target

__all__ = ["Done", "Simulation"]

SLOTS = 16
MEAN = 0.1
CHAT = Chat("x")


class Done:
    """A call that has ended; times in seconds."""

    __slots__ = ("at", "failed", "seconds", "where")

    def __init__(self, at: float, where: int, seconds: float, failed: bool) -> None:
        self.at = at
        self.where = where
        self.seconds = seconds
        self.failed = failed


class _Endpoint:
    def __init__(self) -> None:
        self.busy = 0
        self.queue: deque[float] = deque()
        #: From when until when it is at fault.
        self.fault = (0.0, 0.0)
        self.slower = 1.0
        self.fails = False


class Simulation:
    """Asks one endpoint a call, the first of the balancer's order: nothing is retried."""

    def __init__(self, cls: Any, *, load: float, count: int = 8, seed: int = 1, **values: Any) -> None:
        self.now = 1000.0
        self.random = Random(seed)
        self.endpoints = [_Endpoint() for _ in range(count)]
        self.rate = load * count * SLOTS / MEAN
        config = cls.Config.model_validate(values)
        self.strategy = cls(config, FakeContext("sim"), clock=lambda: self.now, chance=Random(seed + 1))
        targets = tuple(Target(f"e{number}", name="m") for number in range(count))
        self.places = {target.instance: place for place, target in enumerate(targets)}
        self.route = Route("r", operation="chat", targets=targets)
        self.balancer: Balancer = self.strategy.balancer(self.route)
        self.done: list[Done] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def fault(self, where: int, begin: float, end: float, *, slower: float = 1, fails: bool = False) -> None:
        """Let an endpoint be slow, or fail within 2 ms, from `begin` to `end`, counted from the start."""
        endpoint = self.endpoints[where]
        endpoint.fault, endpoint.slower, endpoint.fails = (1000.0 + begin, 1000.0 + end), slower, fails

    def run(self, seconds: float) -> list[Done]:
        """What has ended within so many seconds."""
        end = self.now + seconds
        self._at(self.now, self._arrive)
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        return self.done

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, action))

    def _arrive(self) -> None:
        self._at(self.now + self.random.expovariate(self.rate), self._arrive)
        request = Request(CHAT, target="r")
        choice = next(iter(self.balancer.order(request)))
        assert isinstance(choice, Target)
        where = self.places[choice.instance]
        self.balancer.begun(choice, request)
        endpoint = self.endpoints[where]
        arrived = self.now

        def serve() -> None:
            endpoint.busy += 1
            faulty = endpoint.fault[0] <= self.now < endpoint.fault[1]
            failed = faulty and endpoint.fails
            took = self.random.gammavariate(4.0, MEAN / 4.0) * (endpoint.slower if faulty else 1.0)
            self._at(self.now + (0.002 if failed else took), lambda: leave(failed))

        def leave(failed: bool) -> None:
            endpoint.busy -= 1
            seconds = self.now - arrived
            error = OverloadedError("down") if failed else None
            ending = Ending("failed" if failed else "ok", seconds=seconds, first=seconds, error=error)
            self.balancer.ended(choice, request, ending)
            self.done.append(Done(self.now - 1000.0, where, seconds, failed))
            if waiting:
                waiting.popleft()()

        waiting = self._waiting(where)
        if endpoint.busy < SLOTS:
            serve()
        else:
            waiting.append(serve)

    def _waiting(self, where: int) -> deque[Any]:
        queue: deque[Any] = self.endpoints[where].queue
        return queue


def percentile(done: Iterable[Done], share: float) -> float:
    """The seconds that this share of the calls stays below."""
    seconds = sorted(each.seconds for each in done)
    return seconds[int(share * len(seconds))]


def share_of(done: list[Done], where: int, begin: float, end: float) -> float:
    """The part of the calls that an endpoint got in a while."""
    inside = [each for each in done if begin <= each.at < end]
    return sum(each.where == where for each in inside) / len(inside)
