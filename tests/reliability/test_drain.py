"""A process that is asked to end loses nothing that is in flight."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter

import pytest

from gleitzeit.testing.loopback import Call, LoopbackServer

CALLS, STREAMS = 200, 50
PIECES = 20

#: An application as somebody may write it: calls under way, a handler of SIGTERM, one `close`.
APPLICATION = """
import asyncio, json, signal, sys
from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError

async def call(host, number):
    return (await host.call(Chat(f"call {number}").to("openai/m"))).text

async def stream(host, number):
    async with host.stream(Chat(f"stream {number}").to("openai/m")) as stream:
        async for event in stream:
            pass
    return stream.reply.text

async def outcome(work):
    try:
        return await work
    except GleitzeitError as error:
        return error.code

async def main(url, calls, streams, drain):
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    openai = {"base_url": url, "api_key": "k"}
    host = Host({"providers": {"openai": openai}, "host": {"drain_timeout": drain}})
    await host.open()
    work = [loop.create_task(outcome(call(host, number))) for number in range(calls)]
    work += [loop.create_task(outcome(stream(host, number))) for number in range(streams)]
    await asked.wait()
    closing = loop.create_task(host.close())
    await asyncio.sleep(0)
    late = await outcome(call(host, -1))
    print("closing", flush=True)
    await closing
    print(json.dumps({"late": late, "texts": await asyncio.gather(*work)}), flush=True)
    return 7

sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
"""


class Upstream(LoopbackServer):
    """Begins every stream and no call, and goes on when it is told to, a piece at a time."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.go = asyncio.Event()
        self.asked = asyncio.Semaphore(0)

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    async def answer(self, call: Call) -> None:
        said = call.json["messages"][-1]["content"]
        if not call.json.get("stream"):
            self.asked.release()
            await self.go.wait()
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}
            await call.send(200, {"content-type": "application/json"}, json.dumps(body).encode())
            return
        await call.start(200, {"content-type": "text/event-stream"})
        await call.write(_event({"role": "assistant", "content": said}))
        self.asked.release()
        await self.go.wait()
        for _ in range(PIECES):
            await call.write(_event({"content": "."}))
            await asyncio.sleep(0)
        await call.write(_event({}, finish_reason="stop") + b"data: [DONE]\n\n")
        await call.end()


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def start(upstream: Upstream, calls: int, streams: int, drain: float) -> asyncio.subprocess.Process:
    """The application, with all of its calls at the upstream."""
    words = (upstream.url, calls, streams, drain)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", APPLICATION, *map(str, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    ended = asyncio.create_task(process.wait())
    for _ in range(calls + streams):
        arrived = asyncio.create_task(upstream.asked.acquire())
        await asyncio.wait({arrived, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            arrived.cancel()
            pytest.fail(f"the application ended: {await process.communicate()}")
    ended.cancel()
    return process


async def terminate(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, and wait until it begins to."""
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    assert await process.stdout.readline() == b"closing\n"


async def test_nothing_in_flight_is_lost_when_the_process_is_asked_to_end():
    async with Upstream() as upstream, asyncio.timeout(120):
        process = await start(upstream, CALLS, STREAMS, drain=60)
        await terminate(process)
        upstream.go.set()
        out, err = await process.communicate()
    assert err == b""
    found = json.loads(out)
    assert found["texts"][:CALLS] == [f"call {number}" for number in range(CALLS)]
    assert found["texts"][CALLS:] == [f"stream {number}" + "." * PIECES for number in range(STREAMS)]
    assert found["late"] == "usage"  # a new call was refused meanwhile
    assert len(upstream.requests) == CALLS + STREAMS
    assert process.returncode == 7  # its own: the host does not decide how an application ends


async def test_what_never_ends_is_ended_with_an_error_and_closed_upstream():
    async with Upstream() as upstream, asyncio.timeout(60):
        process = await start(upstream, 20, 10, drain=0.2)
        await terminate(process)
        out, err = await process.communicate()
        for call in upstream.requests:
            await call.closed.wait()
    assert err == b""
    assert Counter(json.loads(out)["texts"]) == {"plugin": 30}
    assert process.returncode == 7
