"""The proxy does to an exchange what its fault says: else the matrix would prove nothing."""

import asyncio

import pytest

from tests.reliability.proxy import Fault, FaultProxy, closed_port
from tests.reliability.upstream import TEXT, upstream_port

ASK = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
async def proxy():
    async with upstream_port() as port, FaultProxy(port) as proxy:
        yield proxy


async def exchange(proxy, times=1):
    """What comes on one connection until it ends, or each of `times` answers is whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    got = b""
    try:
        for _ in range(times):
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            got += head
            while length and (piece := await reader.read(length)):
                length -= len(piece)
                got += piece
    finally:
        writer.close()
    return got


async def test_without_a_fault_everything_passes_and_the_connection_stays(proxy):
    assert (await exchange(proxy, times=3)).count(TEXT.encode()) == 3
    assert (proxy.asked, proxy.accepted, proxy.missed) == (3, 1, 0)


async def test_the_plan_is_asked_for_each_request_of_a_connection(proxy):
    proxy.plan = lambda ask: Fault(cut=5, end="close") if ask.number == 2 else Fault()
    got = await exchange(proxy, times=2)
    assert got.count(b"HTTP/1.1 200") == 2
    assert got.endswith(b'\r\n\r\n{"id"')


async def test_a_cut_and_reset_answer_is_an_error_of_the_socket(proxy):
    proxy.plan = lambda ask: Fault(cut=5, end="reset")
    with pytest.raises(ConnectionResetError):
        await exchange(proxy)


async def test_a_corrupt_byte_is_one_byte_of_the_body(proxy):
    well = await exchange(proxy)
    proxy.plan = lambda ask: Fault(corrupt=7)
    ill = await exchange(proxy)
    body = well.index(b"\r\n\r\n") + 4
    assert [at for at in range(len(well)) if well[at] != ill[at]] == [body + 7]


async def test_a_fault_behind_the_end_of_the_body_is_counted_as_missed(proxy):
    proxy.plan = lambda ask: Fault(cut=1_000_000, end="close")
    await exchange(proxy)
    assert proxy.missed == 1


async def test_what_is_slow_comes_whole(proxy):
    proxy.plan = lambda ask: Fault(head_rate=2000, rate=10_000, delay=0.001, jitter=0.001)
    assert TEXT.encode() in await exchange(proxy)


@pytest.mark.parametrize("fault", [Fault(answer=b"", end="hold"), Fault(delay=600), Fault(rate=1)])
async def test_a_client_that_goes_is_noticed_at_once(proxy, fault):
    asked = asyncio.Event()

    def plan(ask):
        asked.set()
        return fault

    proxy.plan = plan
    task = asyncio.create_task(exchange(proxy))
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await proxy.quiet(5)


async def test_a_reset_on_accept_is_no_refused_connection(proxy):
    proxy.reset_on_accept = True
    with pytest.raises((ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)):
        await exchange(proxy)
    assert (proxy.accepted, proxy.asked) == (1, 0)
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_dropping_the_connections_makes_the_next_request_open_one(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(ASK)
    await reader.readuntil(b"\r\n\r\n")
    await proxy.drop()
    await reader.read()
    assert reader.at_eof()
    writer.close()
    await exchange(proxy)
    assert proxy.accepted == 2
