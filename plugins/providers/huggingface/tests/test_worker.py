"""The process of the models: its start, its death, who waits for whom, and what stays in memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_huggingface.process import WINDOW

from gleitzeit import Host
from gleitzeit.errors import CannotConnectError, DeadlineError, OverloadedError, ProcessDiedError
from gleitzeit.values import Chat, Invoke, Reply, TextDelta

Ask = Callable[..., Coroutine[Any, Any, Reply]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def loaded(ask: Ask, by: Any = None) -> list[str]:
    reply = await ask(Invoke("loaded"), by=by)
    return [row["model"] for row in reply.data["models"]]


async def test_nothing_starts_before_it_is_needed(fake: Any, settings: dict[str, Any]) -> None:
    config = {"providers": {"hf": {"plugin": "huggingface", **settings}}}
    async with Host(config, environ={}) as host:
        assert (await host.call(Invoke("loaded").to("hf"))).data["pid"] is None
        assert (await host.call(Invoke("unload", args=("good",)).to("hf"))).data == {"unloaded": False}


async def test_the_worker_has_no_secrets_of_others(
    fake: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "canary-of-others-1")
    monkeypatch.setenv("HF_TOKEN", "hf_canaryofthehost1")
    from gleitzeit_plugin_huggingface.launch import launch_of

    launch = launch_of(fake.Config(**settings, env={"MINE": "yes"}))
    assert "OTHER_API_KEY" not in launch.env
    assert "HF_TOKEN" not in launch.env, "without downloads nobody needs it"
    assert launch.env["MINE"] == "yes"
    assert launch.env["HF_HUB_OFFLINE"] == "1"
    open_ = launch_of(fake.Config(**settings, download=True))
    assert open_.env["HF_TOKEN"] == settings["token"]
    assert "HF_HUB_OFFLINE" not in open_.env
    assert not [word for word in (*launch.command, *open_.command) if settings["token"] in word]


async def test_the_death_of_the_worker_is_an_error_of_its_calls_and_of_no_other(
    ask: Ask, provider: Any
) -> None:
    stream = await provider.call(Chat("x").to("dying", stream=True))
    with pytest.raises(ProcessDiedError, match="exit status 9") as caught:
        await stream.collect()
    assert "the last words" in str(caught.value)
    assert caught.value.partial.text == "one "
    assert caught.value.retryable is False
    assert caught.value.sent is True
    assert (await ask("again")).text == "pong, again"
    assert provider.worker.starts == 2


@pytest.mark.feature("S001-23")
async def test_a_worker_that_is_killed_fails_every_call_in_flight_once(ask: Ask, provider: Any) -> None:
    await ask("x")
    calls = [asyncio.create_task(ask("x", "silent")) for _ in range(3)]
    await until(lambda: provider.worker.asked == 4)
    os.kill(provider.worker.pid, signal.SIGKILL)
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, ProcessDiedError)
        assert "SIGKILL" in str(error)
    assert provider.worker.asked == 4, "nothing is asked again"
    assert (await ask("again")).text == "pong, again"


async def test_secrets_in_its_last_words_are_not_shown(ask: Ask, make: Any, settings: dict[str, Any]) -> None:
    provider = await make(env={"VENDOR_KEY": "sk-ant-0123456789abcdefghij"})
    with pytest.raises(ProcessDiedError) as caught:
        await ask("x", "exiting", by=provider)
    assert "about to exit" in str(caught.value)
    assert "sk-ant" not in str(caught.value)


@pytest.mark.parametrize("python", ["/no/such/python", "false"])
async def test_an_interpreter_that_is_none_is_told(fake: Any, settings: dict[str, Any], python: str) -> None:
    from gleitzeit.testing import FakeContext

    provider = fake(fake.Config(**settings, python=python), FakeContext("here"))
    try:
        with pytest.raises(CannotConnectError) as caught:
            await provider.call(Chat("x").to("good"))
        assert caught.value.sent is False
        assert (await provider.health()).status == "error"
    finally:
        await provider.worker.aclose()


async def test_a_slow_reader_slows_the_model(ask: Ask, provider: Any, log: Callable[[], list[str]]) -> None:
    stream = await provider.call(Chat("x").to("endless", stream=True))
    await anext(event async for event in stream if isinstance(event, TextDelta))
    await until(lambda: len(log()) >= WINDOW)
    for _ in range(10):
        await ask("others go on meanwhile")
    notes = [line for line in log() if line.isdigit()]
    assert len(notes) <= WINDOW
    read = 0
    async for event in stream:
        read += isinstance(event, TextDelta)
        if read == 5 * WINDOW:
            break
    await stream.aclose()
    await until(lambda: provider.worker.left == 1)


async def test_calls_beyond_the_limit_wait_their_turn(ask: Ask, make: Any) -> None:
    provider = await make(concurrency=1)
    first = await provider.call(Chat("x").to("halting", stream=True))
    second = asyncio.create_task(ask("x", by=provider))
    await until(lambda: provider.worker.asked == 2)
    assert await loaded(ask, provider) == ["halting"], "what concerns no model does not wait"
    await first.aclose()
    assert (await second).text == "pong, x"


async def test_a_call_that_waits_can_leave(ask: Ask, make: Any) -> None:
    provider = await make(concurrency=1)
    first = await provider.call(Chat("x").to("halting", stream=True))
    second = asyncio.create_task(ask("x", by=provider))
    await until(lambda: provider.worker.asked == 2)
    second.cancel()
    await asyncio.wait({second})
    await until(lambda: provider.worker.left == 1)
    await first.aclose()
    assert await loaded(ask, provider) == ["halting"]


async def test_a_deadline_stops_the_model(make: Any, settings: dict[str, Any], fake: Any) -> None:
    built: list[Any] = []

    class Mine(fake):  # type: ignore[misc]
        Config = None

        def __init__(self, config: Any, context: Any) -> None:
            super().__init__(fake.Config(**settings), context)
            built.append(self)

    async with Host({}, plugins={"hf": Mine}, environ={}) as host:
        with pytest.raises(DeadlineError):
            await host.call(Chat("x").to("hf/silent", timeout=2.0))
        await until(lambda: built[0].worker.left == built[0].worker.asked)
        assert (await host.call(Chat("x").to("hf/good"))).text == "pong, x"


@pytest.mark.feature("S002-11")
async def test_models_load_and_unload(ask: Ask, log: Callable[[], list[str]]) -> None:
    assert (await ask(Invoke("load", args=("good",)))).data == {"bytes": 1}
    assert await loaded(ask) == ["good"]
    await ask("x")
    assert (await ask(Invoke("unload", arguments={"model": "good"}))).data == {"unloaded": True}
    assert (await ask(Invoke("unload", arguments={"model": "good"}))).data == {"unloaded": False}
    assert await loaded(ask) == []
    await ask("x")
    assert log() == ["load good", "close good", "load good"]


async def test_the_least_recently_used_model_makes_room(
    ask: Ask, make: Any, log: Callable[[], list[str]]
) -> None:
    provider = await make(memory_budget=700)
    for model in ("a-300", "b-300", "a-300", "c-300"):
        await ask("x", model, by=provider)
    assert log() == ["load a-300", "load b-300", "close b-300", "load c-300"]
    assert await loaded(ask, provider) == ["a-300", "c-300"]
    with pytest.raises(OverloadedError, match="memory budget") as caught:
        await ask("x", "d-900", by=provider)
    assert caught.value.retryable is False
    assert await loaded(ask, provider) == ["a-300", "c-300"]


async def test_models_can_be_loaded_from_the_start(ask: Ask, make: Any, log: Callable[[], list[str]]) -> None:
    await make(preload=("a-300", "unloadable", "good"))
    await until(lambda: len(log()) == 3)
    assert log() == ["load a-300", "load unloadable", "load good"]


async def test_health_tells_of_the_worker_and_loads_nothing(ask: Ask, provider: Any) -> None:
    assert (await provider.health()).status == "ok"
    await ask("x")
    deep = await provider.health(deep=True)
    assert [row["model"] for row in deep.data["models"]] == ["good"]
    with pytest.raises(ProcessDiedError):
        await ask("x", "dying")
    assert (await provider.health()).status == "error"
    await ask("x")
    assert (await provider.health()).status == "ok"


@pytest.mark.parametrize(
    "invoke,word",
    [
        (Invoke("delete"), "no method"),
        (Invoke("load"), "name of a `model`"),
        (Invoke("load", arguments={"model": "good", "task": "singing"}), "singing"),
        (Invoke("loaded", args=("x",)), "no arguments"),
        (Invoke("unload", arguments={"model": "good", "now": True}), "takes model, task"),
    ],
)
async def test_a_method_that_is_none_is_refused(ask: Ask, provider: Any, invoke: Invoke, word: str) -> None:
    from gleitzeit.errors import RequestError

    with pytest.raises(RequestError, match=word):
        await ask(invoke)
    assert provider.worker.asked == 0


HOST = """
import asyncio, importlib.util, sys
spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
from gleitzeit.testing import FakeContext

async def main():
    provider = helpers.Fake(helpers.Fake.Config(), FakeContext("here"))
    await provider.worker.start()
    print(provider.worker.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_worker_ends_when_its_host_is_killed() -> None:
    command = [sys.executable, "-c", HOST, str(Path(__file__).with_name("conftest.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        host.kill()
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{worker}") if os.path.isdir("/proc") else _alive(worker):
        assert time.monotonic() < end, "the worker outlived its host"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
