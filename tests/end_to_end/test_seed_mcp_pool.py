"""Instances under a limit, waiting and reuse; payloads of some megabytes; a wire of one's own."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from gleitzeit import Host, ToolCall
from gleitzeit.errors import ResetError
from gleitzeit.kinds import Endpoint, Frame
from tests.end_to_end.test_seed_mcp_manager import LONG, PATIENT, entries, pid_of, scripted

#: Bytes.
SIZE = 4_000_000


async def peak(call: Callable[[int], Awaitable[Any]]) -> float:
    """How often a payload lies in memory at most while a call carries it."""
    await call(1)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await call(SIZE)
        return (tracemalloc.get_traced_memory()[1] - before) / SIZE
    finally:
        tracemalloc.stop()


@pytest.mark.feature("S004-22")
async def test_many_tasks_share_few_instances_and_wait_for_them() -> None:
    limits: dict[str, Any] = {"instances": 2, "max_concurrency": 1, "bulkhead": {"max_calls": 2}}
    config = entries(up=scripted(**limits))
    config["host"]["retry"] = {"max_retries": 0}
    async with Host(config, environ={}) as host:
        assert await host.servers.start("up")

        async def now() -> tuple[int, int]:
            waiting = sum(each.queued for each in host.snapshot().instances if each.name == "up")
            [server] = await host.servers.list()
            return waiting, server.instances

        held = [asyncio.create_task(host.call(ToolCall({}).to("up/hang", timeout=LONG))) for _ in range(6)]
        while await now() != (4, 2):  # more clients than places: the others wait
            await asyncio.sleep(0.005)
        for task in held:
            task.cancel()
        await asyncio.wait(held)
        pids = await asyncio.gather(*(pid_of(host, "up") for _ in range(20)))
        assert len(pids) == 20
        assert len(set(pids)) <= 2
        assert await now() == (0, 2)
        assert host.snapshot().total("up").attempts["ok"] == 20


@pytest.mark.feature("S003-20")
async def test_large_payloads_lie_in_memory_no_more_often_than_in_a_bare_client() -> None:
    entry = scripted(mode="legacy")
    large, echo = [], []
    async with Host(entries(up=entry), environ={}) as host:
        large.append(await peak(lambda size: host.call(ToolCall({"size": size}).to("up/large"))))
        echo.append(await peak(lambda size: host.call(ToolCall({"text": "x" * size}).to("up/echo"))))
    start = StdioServerParameters(command=entry["command"], args=entry["args"])
    with open(os.devnull, "w") as silence:
        async with Client(stdio_client(start, errlog=silence), mode="legacy") as client:
            large.append(await peak(lambda size: client.call_tool("large", {"size": size})))
            echo.append(await peak(lambda size: client.call_tool("echo", {"text": "x" * size})))
    assert large[0] <= large[1]
    assert echo[0] <= echo[1]


class Pipe:
    """A wire of one's own: how a message is sent, how messages come, and when nothing more does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lost, self.error = asyncio.Event(), None
        self._process = process
        self.methods: list[str] = []

    async def send(self, frame: Frame) -> None:
        """Write one message as a line."""
        assert self._process.stdin is not None
        if self.lost.is_set():
            raise ResetError("the pipe is closed", sent=False)
        self.methods.append(str(frame.message.get("method")))
        self._process.stdin.write(json.dumps(frame.message).encode() + b"\n")
        await self._process.stdin.drain()

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self._frames()

    async def _frames(self) -> AsyncIterator[Frame]:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield Frame(json.loads(line))

    def diagnostics(self) -> dict[str, Any]:
        """What helps a person."""
        return {"pid": self._process.pid}


class Own:
    """A transport of one's own: one method."""

    wires: list[Pipe] = []  # noqa: RUF012 - the test looks at it

    def __init__(self, config: object, context: object) -> None: ...

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Pipe]:
        """Start the server of the entry, and end it."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *endpoint.command,
            env=dict(endpoint.env),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            limit=SIZE,
        )
        wire = Pipe(process)
        self.wires.append(wire)
        try:
            yield wire
        finally:
            wire.lost.set()
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


@pytest.mark.feature("S004-18")
@pytest.mark.parametrize("mode", ["modern", "legacy"])
async def test_a_real_server_is_used_over_a_wire_of_ones_own(mode: str) -> None:
    Own.wires.clear()
    args = ["-m", "mcp_server_time", "--local-timezone", "UTC"]
    entry = {"transport": "own", "command": sys.executable, "args": args, "sandbox": "none", "mode": mode}
    config = {"host": PATIENT, "servers": {"time": {**entry, "timeout": LONG}}}
    async with Host(config, plugins={"own": Own}, environ={}) as host:
        tools = {tool.own for tool in await host.tools() if tool.instance == "time"}
        assert tools == {"get_current_time", "convert_time"}
        assert "UTC" in (await host.call(ToolCall({"timezone": "UTC"}).to("time/get_current_time"))).text
    [wire] = Own.wires
    greeting = "server/discover" if mode == "modern" else "initialize"
    assert wire.methods[0] == greeting
    assert {"tools/list", "tools/call"} <= set(wire.methods)
