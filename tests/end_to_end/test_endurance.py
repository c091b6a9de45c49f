"""After ten thousand calls of every kind, a third of them with faults, nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gleitzeit import Chat, Embedding, Host, Request, TextDelta, ToolCall
from gleitzeit.errors import GleitzeitError
from gleitzeit.testing.openai_server import OpenAIServer
from tests.end_to_end.conftest import Place

CALLS = 10_000
AT_ONCE = 64
FAULTS = (
    "reset",
    "reset-midway",
    "closes",
    "garbage",
    "half",
    "not-json",
    "cut",
    "busy",
    "broken",
    "error-in-stream",
)


def requests(seed: int) -> Iterator[tuple[str, Request]]:
    """(how, request): most of them good, the others wrong in every way there is."""
    chance = random.Random(seed)
    text = ToolCall({"timezone": "UTC"})
    while True:
        how = chance.choice(("call", "stream", "leave", "cancel"))
        kinds: tuple[tuple[int, Request], ...] = (
            (30, Chat("you").to("scripted/echo")),
            (20, Chat("you").to("wire/good")),
            (3, Embedding(["a"]).to("wire/vectors")),
            (8, text.to("time/get_current_time")),
            (1, ToolCall({"repo_path": "."}).to("git/git_status")),
            (3, Chat("you").to("careful")),
            (12, Chat("you").to(f"wire/{chance.choice(FAULTS)}")),
            (2, Chat("you").to("wire/silent", timeout=0.02)),
            (2, Chat("you").to("wire/halting", timeout=0.02)),
            (2, Chat("you").to("nobody/m")),
            (3, Chat("raise").to("scripted/broken")),
            (3, Chat("truncate").to("scripted/broken")),
            (2, Chat("stall").to("scripted/broken", timeout=0.01)),
            (2, Chat("you").to("scripted/no-such-model")),
            (2, ToolCall({"timezone": 7}).to("time/get_current_time")),
            (1, ToolCall({"repo_path": ".", "message": "no"}).to("git/git_commit")),
            (1, ToolCall({"timezone": "No/Where"}).to("time/get_current_time")),
            (1, Chat("private").to("nobody/m", data_class="private")),
        )
        yield how, chance.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]


async def one(host: Host, how: str, request: Request) -> str:
    """Make one call in one way and say how it ended."""
    try:
        if how == "call":
            await host.call(request)
        elif how == "cancel":
            task = asyncio.create_task(host.call(request))
            await asyncio.sleep(random.random() * 0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            async with host.stream(request) as stream:
                async for event in stream:
                    if how == "leave" and isinstance(event, TextDelta):
                        return "left"
    except GleitzeitError as error:
        return error.code
    return how


def descriptors() -> Counter[str]:
    """What is open, by kind."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}").partition(":")[0]] += 1
        except OSError:  # the descriptor of this listing
            continue
    return found


def children() -> set[str]:
    """The processes that this one has started and that are not gone."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="descriptors and children are counted through /proc"
)
async def test_ten_thousand_calls_with_faults_leave_nothing(
    host: Callable[..., Host], upstream: OpenAIServer, place: Place
) -> None:
    tasks, open_before, children_before = asyncio.all_tasks(), descriptors(), children()
    ends: Counter[str] = Counter()
    seed = 2026
    async with host() as h:
        await h.health(deep=True)  # everything has started
        tasks_open, descriptors_open, children_open = len(asyncio.all_tasks()), descriptors(), children()
        source = requests(seed)
        left = CALLS

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                ends[await one(h, *next(source))] += 1
                upstream.requests.clear()

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        # While the host is open: its own tasks, pooled connections and servers, nothing a call.
        assert await settles(lambda: len(asyncio.all_tasks()) <= tasks_open + 2 * AT_ONCE), (
            asyncio.all_tasks()
        )
        assert children() == children_open
        assert descriptors().total() <= descriptors_open.total() + 4 * AT_ONCE
        assert not any(instance.leases for instance in h._registry)
    assert await settles(lambda: children() == children_before)
    gc.collect()
    assert await settles(lambda: asyncio.all_tasks() <= tasks), asyncio.all_tasks() - tasks
    assert await settles(lambda: descriptors() <= open_before), descriptors() - open_before
    assert ends.total() == CALLS
    assert {
        "call",
        "stream",
        "left",
        "cancel",
        "reset",
        "deadline",
        "security_denied",
        "truncated_stream",
    } <= set(ends)


async def settles(condition: Callable[[], bool], within: float = 20.0) -> bool:
    """Wait until what is on its way out has gone."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.01)
    return True
