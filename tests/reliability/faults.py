"""A provider that fails in every way a plan tells it to, and a caller that cancels, gives up and leaves."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Stream, TextDelta, Usage, errors
from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Started

__all__ = ["Backup", "Faulty", "Outcomes", "Plan", "plans", "run"]

#: Every class of error, and what plugins raise that know none of them.
RAISED: list[Callable[[], BaseException]] = [
    *(partial(getattr(errors, name), "planned") for name in errors.__all__),
    partial(ValueError, "odd"),
    partial(KeyError, "key"),
    TimeoutError,
    partial(ConnectionResetError, "gone"),
    partial(ExceptionGroup, "several", [ValueError("one"), OSError("two")]),
    asyncio.CancelledError,
    StopAsyncIteration,
]
FAULTS = ("raise", "wrong", "ended", "cut", "broken", "stall", "stalled stream", "cancel", "leave")


@dataclass
class Plan:
    """One call: what the provider does with it, and what its caller does."""

    fault: str | None
    stream: bool
    target: str
    awaits: int
    events: int
    choice: int


def plans(count: int, seed: int) -> list[Plan]:
    """So many calls, a fifth of them with a fault; the same seed gives the same plans."""
    rng = random.Random(seed)
    return [
        Plan(
            fault=rng.choice(FAULTS) if rng.random() < 0.2 else None,
            stream=rng.random() < 0.5,
            target=rng.choice(("faulty/m", "route")),
            awaits=rng.randrange(4),
            events=rng.randrange(6),
            choice=rng.randrange(1000),
        )
        for _ in range(count)
    ]


class Faulty(Provider):
    """Does with a call what the plan in its metadata says."""

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        plan: Plan = request.metadata["plan"]
        for _ in range(plan.awaits):
            await asyncio.sleep(0)
        match plan.fault:
            case "raise":
                raise _any(plan.choice)
            case "wrong":
                return (None, "text", 42, [])[plan.choice % 4]
            case "ended":
                stream = Stream.of(Reply("before"))
                await stream.collect()
                return stream
            case "stall":
                await asyncio.Event().wait()
            case "cut" | "broken" | "stalled stream":
                return Stream(self.events(plan))
        return Stream(self.events(plan)) if request.stream else Reply("whole", finish_reason="stop")

    async def events(self, plan):
        yield Started(model="m")
        for number in range(plan.events):
            if plan.choice % 3 == 0:
                await asyncio.sleep(0)
            yield TextDelta(f"{number} ")
        match plan.fault:
            case "cut":
                return
            case "broken":
                raise _any(plan.choice)
            case "stalled stream":
                await asyncio.Event().wait()
        yield Finished("stop", usage=Usage(input=1, output=plan.events))


class Backup(Provider):
    """The second target of the route: always answers."""

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        await asyncio.sleep(0)
        return Reply("backup", finish_reason="stop")


@dataclass
class Outcomes:
    """How the calls ended, by name, and the ends that no caller should see."""

    ended: dict[str, int] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def note(self, plan: Plan, how: str, *, strange: bool = False) -> None:
        self.ended[how] = self.ended.get(how, 0) + 1
        if strange:
            self.strange.append(f"{plan}: {how}")


async def run(host: Host, todo: list[Plan], width: int = 20) -> Outcomes:
    """Make the planned calls, `width` at a time."""
    outcomes = Outcomes()
    left = iter(todo)

    async def one_after_another() -> None:
        for plan in left:
            await _one(host, plan, outcomes)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(one_after_another())
    return outcomes


async def _one(host: Host, plan: Plan, outcomes: Outcomes) -> None:
    task = asyncio.create_task(_checked(host, plan))
    if plan.fault == "cancel":
        for _ in range(plan.choice % 12):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        outcomes.note(plan, "cancelled", strange=plan.fault != "cancel")
        return
    error = task.exception()
    if error is None:
        outcomes.note(plan, "answered")
    else:
        outcomes.note(plan, type(error).__name__, strange=not isinstance(error, GleitzeitError))


async def _checked(host: Host, plan: Plan) -> None:
    try:
        await _ask(host, plan)
    except GleitzeitError:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0 or plan.fault == "cancel"
        raise


async def _ask(host: Host, plan: Plan) -> None:
    timeout = 0.002 if plan.fault in ("stall", "stalled stream") else None
    request = Chat("hi").to(plan.target, timeout=timeout, metadata={"plan": plan})
    if not plan.stream:
        reply: Reply = await host.call(request)
        assert reply.finish_reason == "stop"
        return
    async with host.stream(request) as stream:
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if plan.fault == "leave" and len(seen) > plan.choice % 4:
                return
    assert type(seen[-1]) is Finished
    assert sum(type(event) is Finished for event in seen) == 1


def _any(choice: int) -> BaseException:
    return RAISED[choice % len(RAISED)]()
