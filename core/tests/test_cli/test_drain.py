"""What is in flight when a signal comes may finish; what does not in time is ended."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.testing.loopback import Call
from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.testing.openai_server.script import Answer

Process = asyncio.subprocess.Process
Command = Callable[..., dict[str, Any]]
Start = Callable[..., Awaitable[Process]]
CHAT = '{"kind": "chat", "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]}'
ASK = ("call", "openai/scripted-echo", CHAT)


class Held(OpenAIServer):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = asyncio.Event()

    async def _handle(self, call: Call) -> None:
        await self.answer.wait()
        await super()._handle(call)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    """A server that keeps everybody waiting."""
    held = Held()
    async with held:
        yield held


@pytest.fixture
async def start(site: Any, command: Command, held: Held) -> AsyncIterator[Start]:
    """Starts a command line that knows the server, and waits for its first request there."""
    started: list[Process] = []

    async def start(*words: str) -> Process:
        options = command(*words, "--set", f"providers.openai.base_url={held.url}")
        process = await asyncio.create_subprocess_exec(
            *options["args"],
            env=options["env"],
            cwd=options["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        request, end = asyncio.create_task(held.request()), asyncio.create_task(process.wait())
        await asyncio.wait({request, end}, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            request.cancel()
            pytest.fail(f"the command ended: {await process.communicate()}")
        end.cancel()
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    """The next line on standard error."""
    assert process.stderr is not None
    return (await asyncio.wait_for(process.stderr.readline(), 30)).decode()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["term", "hup"])
@pytest.mark.parametrize("stream", [(), ("--stream",)], ids=["whole", "stream"])
async def test_a_call_in_flight_is_answered(
    start: Start, held: Held, number: int, code: int, stream: tuple[str, ...]
) -> None:
    process = await start(*ASK, *stream)
    process.send_signal(number)
    assert "ending: 10 s" in await line(process)
    held.answer.set()
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == code
    assert out.decode().startswith("I am a scripted fake, not a language model.")
    assert err == b""


async def test_what_stalls_is_ended_in_time(start: Start, held: Held) -> None:
    process = await start(*ASK, "--set", "host.drain_timeout=0.2")
    process.send_signal(signal.SIGTERM)
    await line(process)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (143, b"", b"")
    await asyncio.wait_for(held.requests[0].closed.wait(), 30)


async def test_second_signal_ends_it_at_once(start: Start, held: Held) -> None:
    process = await start(*ASK, "--set", "host.drain_timeout=1000")
    process.send_signal(signal.SIGTERM)
    assert "ending: 1000 s" in await line(process)
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, err) == (143, b"", b"")
    await asyncio.wait_for(held.requests[0].closed.wait(), 30)


async def test_interrupt_ends_it_at_once(start: Start, held: Held) -> None:
    process = await start(*ASK, "--set", "host.drain_timeout=1000")
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130


async def test_no_new_turn_of_a_conversation_begins(desk: Any, start: Start, held: Held) -> None:
    held.answers += [Answer(calls=({"name": "desk__add", "arguments": {"a": 1, "b": 2}},))]
    words = ("chat", "-m", "openai/scripted-tools", "hello", "--tool", "desk/add", "--approve", "always")
    process = await start(*words)
    process.send_signal(signal.SIGTERM)
    await line(process)
    held.answer.set()
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 143
    assert len(held.requests) == 1
    assert "error" not in err.decode()
