"""A server that lets nobody in is an error wherever it is asked, and never an empty list."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gleitzeit import Host
from gleitzeit.catalogue import Thing
from gleitzeit.errors import AuthenticationError
from gleitzeit.values import GetPrompt, Invoke, ReadResource, Request, ToolCall

NO = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
ASKED: list[Request] = [
    ToolCall({}).to("shut/tool"),
    ReadResource("file:///a").to("shut"),
    GetPrompt({}).to("shut/prompt"),
    Invoke("completion/complete", arguments={}).to("shut"),
    Invoke("tool").to("shut"),
]


@pytest.fixture
async def shut() -> AsyncIterator[Host]:
    """A host with a server that refuses every credential."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(NO)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    entry = {"url": f"http://127.0.0.1:{port}/mcp", "auth": {"type": "bearer", "token": "wrong-4711"}}
    async with server, Host({"servers": {"shut": entry}}, environ={}) as host:
        yield host


async def test_it_shows_wherever_it_is_asked(shut: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    things: tuple[Thing, ...] = ("tools", "resources", "prompts")
    for thing in things:
        [offer] = [each for each in await shut.offers(thing) if each.instance == "shut"]
        assert isinstance(offer.error, AuthenticationError), thing
        assert "4711" not in str(offer.error)
    for request in ASKED:
        with pytest.raises(AuthenticationError):
            await shut.call(request)
    [server] = await shut.servers.list()
    assert server.health == "error"
