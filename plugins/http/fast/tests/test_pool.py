"""Leases, idle connections and their end; cancelled at every point, nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import os

import httpx2
import pytest
from gleitzeit_plugin_http_fast import FastTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answering(wire):
    while True:
        await wire.request()
        await wire.send(OK)


def make(**settings):
    transport = FastTransport(proxy="", **settings)
    return transport, httpx2.AsyncClient(transport=transport, timeout=None)


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def test_idle_connections_expire_without_another_call(serve):
    server = await serve(answering)
    transport, client = make(keepalive=0.05)
    async with client:
        await asyncio.gather(*(client.get(server.url) for _ in range(8)))
        for wire in server.wires:
            while not wire.reader.at_eof():
                await asyncio.sleep(0.01)
        while transport._pool._open:
            await asyncio.sleep(0.01)
        assert (transport._pool._idle, transport._pool._since) == ({}, {})
        assert (await client.get(server.url)).text == "ok"


async def test_the_connection_used_last_is_used_first(serve):
    server = await serve(answering)
    _, client = make()
    async with client:
        await asyncio.gather(*(client.get(server.url) for _ in range(8)))
        before = [len(wire.heads) for wire in server.wires]
        for _ in range(16):
            await client.get(server.url)
        used = [len(wire.heads) - count for wire, count in zip(server.wires, before, strict=True)]
    assert sorted(used) == [0] * 7 + [16]


async def test_closing_ends_what_is_under_way_and_refuses_what_comes(serve):
    async def talk(wire):
        await wire.request()
        await wire.gone()

    server = await serve(talk)
    transport, client = make(max_connections=2)
    tasks = [asyncio.create_task(client.get(server.url)) for _ in range(4)]
    while len(server.heads) < 2:
        await asyncio.sleep(0)
    await transport.aclose()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(error).__name__ for error in errors) == ["ConnectError"] * 2 + ["ReadError"] * 2
    assert transport._pool._open == set()
    with pytest.raises(httpx2.ConnectError, match="closed"):
        await client.get(server.url)
    await client.aclose()


async def test_waiting_is_first_come_first_served(serve):
    server = await serve(answering)
    _, client = make(max_connections=1)
    async with client:
        await asyncio.gather(*(client.get(f"{server.url}/{number}") for number in range(10)))
    assert [head.split(b" ")[1] for head in server.heads] == [b"/%d" % number for number in range(10)]


@pytest.mark.parametrize("secure", [False, True])
async def test_cancelled_at_every_turn_of_the_loop_nothing_is_lost(serve, secure, server_tls, ca_file):
    """One more turn each time, until a whole call has fitted in; then every lease must be there."""
    from gleitzeit.wire.client import tls_context

    async def talk(wire):
        while True:
            await wire.request()
            await wire.send(OK[:20])
            await asyncio.sleep(0)
            await wire.send(OK[20:])

    server = await serve(talk, server_tls if secure else None)
    transport, client = make(max_connections=2, context=tls_context({"ca_file": ca_file}))
    async with client:
        finished = 0
        for turns in range(400):
            task = asyncio.create_task(client.post(server.url, content=b"x"))
            for _ in range(turns):
                await asyncio.sleep(0)
                if task.done():
                    break
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                assert task.result().text == "ok"
                finished += 1
                if finished == 20:
                    break
        assert finished
        assert transport._pool._leases == 0
        answers = await asyncio.gather(*(client.get(server.url) for _ in range(6)))
        assert [answer.text for answer in answers] == ["ok"] * 6
        assert len(transport._pool._open) <= 2


async def test_who_gives_up_as_the_answer_comes_does_not_break_the_next_ones_connection(serve):
    server = await serve(answering)
    _, client = make(max_connections=1)
    async with client:
        for turns in range(40):
            first = asyncio.create_task(client.get(server.url))
            second = asyncio.create_task(client.get(server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first, second])
            assert second.result().text == "ok"


async def test_those_who_wait_for_a_lease_may_give_up_at_any_moment(serve):
    server = await serve(answering)
    transport, client = make(max_connections=1)
    async with client:
        for turns in range(40):
            first = asyncio.create_task(client.get(server.url))
            second = asyncio.create_task(client.get(server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait([first, second])
            assert first.result().text == "ok"
        assert (await client.get(server.url)).text == "ok"
        assert (transport._pool._leases, len(transport._pool._waiters)) == (0, 0)


async def test_very_many_calls_leave_no_descriptor_and_no_memory(serve):
    async def talk(wire):
        while True:
            path = (await wire.request()).split(b" ")[1]
            if path == b"/cut":
                await wire.send(OK[:-1])
                return
            if path == b"/reset":
                wire.reset()
                return
            await wire.send(OK)

    server = await serve(talk)
    before = descriptors()
    transport, client = make(max_connections=8)

    async def some(count):
        async def one(number):
            path = ("/ok", "/cut", "/reset", "/leave", "/ok")[number % 5]
            try:
                async with client.stream("POST", server.url + path, content=b"x") as response:
                    if path != "/leave":
                        await response.aread()
            except httpx2.TransportError:
                assert path in ("/cut", "/reset")

        for start in range(0, count, 50):
            await asyncio.gather(*(one(start + number) for number in range(50)))
        server.wires.clear()
        gc.collect()
        return len(gc.get_objects())

    async with client:
        await some(500)
        first = await some(500)
        last = await some(2000)
        assert transport._pool._leases == 0
        assert len(transport._pool._open) <= 8
    assert last - first < 500
    for _ in range(10):
        await asyncio.sleep(0)
    assert descriptors() <= before + 2 * 8  # the server's side closes by itself
