"""Very many calls over a real wire, a third of them broken by the server or the caller, leave nothing."""

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from gleitzeit import Chat, Finished, Host
from gleitzeit.discovery import Index
from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import openai_server

OpenAI = pytest.importorskip("gleitzeit_plugin_openai").OpenAI

WIDTH = 16
FRAME = {"choices": [{"index": 0, "delta": {"content": "half "}, "finish_reason": None}]}
#: What the server does when the prompt is this word.
BAD = {
    "reset early": {"fault": "reset"},
    "reset late": {"fault": "reset", "after": 2},
    "reset inside": {"fault": "reset", "at": 40},
    "close": {"fault": "close"},
    "cut": {"fault": "cut", "after": 2},
    "cut inside": {"fault": "cut", "at": 70},
    "garbage": {"fault": "garbage"},
    "garbage late": {"fault": "garbage", "after": 1},
    "stall": {"fault": "stall"},
    "stall late": {"fault": "stall", "after": 2},
    "server fault": {"status": 500, "body": {"error": {"message": "broken"}}},
    "rate limit": {
        "status": 429,
        "headers": {"retry-after": "1"},
        "body": {"error": {"message": "slow down"}},
    },
    "no key": {"status": 401, "body": {"error": {"message": "no such key"}}},
    "no json": {"body": "<html>"},
    "half json": {"body": '{"id": "x", "choices": [{"mess'},
    "error inside": {"frames": [FRAME, {"error": {"message": "overloaded", "type": "server_error"}}]},
    "unfinished": {"frames": [FRAME], "done": False},
}
CALLER = ("cancel", "leave")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of a scripted server in a process of its own."""
    rules = [{"when": f"^{word}$", "text": "one two three", **answer} for word, answer in BAD.items()]
    script = tmp_path_factory.mktemp("server") / "script.json"
    script.write_text(json.dumps({"models": {"m": [*rules, {"text": "one two three four five"}]}}))
    folder = str(Path(openai_server.__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, "-m", "gleitzeit.testing.openai_server", "--port", "0", "--script", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])},
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def host(url):
    config = {"plugin": "openai", "base_url": url, "api_key": "none", "models": ["m"]}
    return Host({"providers": {"local": config}}, plugins={"openai": OpenAI}, environ={}, index=Index())


def plans(count, seed):
    rng = random.Random(seed)
    words = [*BAD, *CALLER]
    return [
        (rng.choice(words) if rng.random() < 0.33 else "well", rng.random() < 0.5, rng.random())
        for _ in range(count)
    ]


def breaks(word, streamed):
    """Does the server spoil this answer? Some of its faults strike streams alone."""
    return word in BAD and (streamed or BAD[word].keys().isdisjoint({"after", "frames"}))


async def run(host, todo):
    """Make the calls, `WIDTH` at a time; the ends that no caller should see."""
    left, strange = iter(todo), []

    async def one_after_another():
        for word, streamed, chance in left:
            task = asyncio.create_task(ask(host, word, streamed, chance))
            if word == "cancel":
                await asyncio.wait([task], timeout=chance * 0.003)
                task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                if word != "cancel":
                    strange.append((word, streamed, "cancelled"))
            elif task.exception() is not None and not isinstance(task.exception(), GleitzeitError):
                strange.append((word, streamed, repr(task.exception())))
            elif task.exception() is None and breaks(word, streamed):
                strange.append((word, streamed, task.result()))

    await asyncio.gather(*(one_after_another() for _ in range(WIDTH)))
    return strange


async def ask(host, word, streamed, chance):
    """The text; None where the caller left before the end."""
    request = Chat(word).to("local/m", timeout=0.05 if word.startswith("stall") else None)
    if not streamed:
        text = (await host.call(request)).text
    else:
        async with host.stream(request) as stream:
            events = []
            async for event in stream:
                events.append(event)
                if word == "leave" and len(events) > chance * 5:
                    return None
        assert sum(type(event) is Finished for event in events) == 1
        text = stream.reply.text
    return text


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


async def test_calls_over_http_with_faults_leave_nothing_and_memory_does_not_grow(url):
    before = descriptors()
    async with host(url) as h:
        assert (await h.call(Chat("well").to("local/m"))).text == "one two three four five"
        some = plans(600, seed=11)
        await run(h, some)
        before_each = [blocks()]
        for _ in range(3):
            assert await run(h, some) == []
            before_each.append(blocks())
        assert h._registry.find("provider", "local").leases == set()
        assert len(asyncio.all_tasks()) == 2  # this one and the lifespan's
        assert descriptors() <= before + WIDTH + 4  # idle connections
    for _ in range(5):
        await asyncio.sleep(0)  # transports close in callbacks
    assert descriptors() <= before
    # What a fifth of the calls leaks is an object of several blocks each, in every round; pools,
    # buffers and the rest of the suite make less noise than that.
    grown = [after - before for before, after in pairwise(before_each)]
    assert min(grown) < len(some) / 2, f"{grown} more blocks of memory after {len(some)} more calls each"
