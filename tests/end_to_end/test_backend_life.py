"""A backend class of one's own: registered under a type, begun, asked, ended, and failing at each step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError, PluginError, ServerFaultError, UpstreamError
from gleitzeit.plugin import Provider
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import Health, Model, Reply, Request, Stream


class Settings(BaseModel):
    """Where the server is, and which step fails."""

    port: int
    greeting: str = "hello"
    fails: str = ""


class Backend(Provider):
    """Holds a connection from its start to its end, and answers with what comes back over it."""

    Config: ClassVar[Any] = Settings
    held: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Connect, and close whatever happens."""
        self.fail("connect")
        self.reader, self.held = await asyncio.open_connection("127.0.0.1", self.config.port)
        try:
            self.fail("start")
            yield
            self.fail("stop")
        finally:
            self.held.close()
            await self.held.wait_closed()

    def fail(self, step: str) -> None:
        """Raise where this step is to fail."""
        if self.config.fails == step:
            raise OSError(f"{step} fails")

    async def provide_models(self) -> list[Model]:
        """One."""
        return [Model("m")]

    async def health(self, deep: bool = False) -> Health:
        """Good, unless that fails."""
        self.fail("health")
        return Health("ok")

    async def call(self, request: Request) -> Reply | Stream:
        """Over the connection."""
        if self.config.fails == "call":
            raise ServerFaultError("call fails")
        assert self.held is not None
        self.held.write(b"GET / HTTP/1.1\r\n\r\n")
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        body = await self.reader.readexactly(4)
        return Reply(f"{self.config.greeting}: {body.decode()}")


async def pong(call: Call) -> None:
    """What the server says."""
    await call.send(200, {}, b"pong")


@asynccontextmanager
async def hosting(**backends: dict[str, Any]) -> AsyncIterator[tuple[Host, LoopbackServer]]:
    """A host with these instances of the type `acme`, and the server of them all."""
    async with LoopbackServer(pong) as server:
        port = int(server.address.rpartition(":")[2])
        providers = {name: {"plugin": "acme", "port": port, **more} for name, more in backends.items()}
        config = {"providers": providers, "host": {"retry": {"max_retries": 0}}}
        async with Host(config, plugins={"acme": Backend}, environ={}) as host:
            yield host, server


@pytest.mark.feature("S002-02")
async def test_a_class_is_registered_under_a_type_and_its_instances_are_called() -> None:
    async with hosting(one={}, two={"greeting": "salut"}) as (host, server):
        assert (await host.call(Chat("hi").to("one/m"))).text == "hello: pong"
        assert (await host.call(Chat("hi").to("two/m"))).text == "salut: pong"
        assert server.connections == 2


@pytest.mark.feature("S002-03")
@pytest.mark.parametrize("fails", ["connect", "start"])
async def test_a_backend_that_does_not_begin_is_told_and_leaves_nothing(fails: str) -> None:
    async with hosting(bad={"fails": fails}, good={}) as (host, server):
        with pytest.raises(PluginError, match=f"{fails} fails") as caught:
            await host.call(Chat("hi").to("bad/m", timeout=20))
        assert caught.value.sent is not True
        assert server.requests == []
        assert (await host.call(Chat("hi").to("good/m"))).text == "hello: pong"


@pytest.mark.feature("S002-03")
async def test_a_health_check_that_fails_is_an_answer_and_calls_go_on() -> None:
    async with hosting(bad={"fails": "health"}) as (host, _):
        assert (await host.call(Chat("hi").to("bad/m"))).text == "hello: pong"
        (found,) = [one for one in await host.health() if one.name == "bad"]
        assert (found.health.status, "health fails" in str(found.health.detail)) == ("error", True)
        assert (await host.call(Chat("hi").to("bad/m"))).text == "hello: pong"


@pytest.mark.feature("S002-03")
async def test_a_call_that_fails_leaves_the_backend_as_it_was() -> None:
    async with hosting(bad={"fails": "call"}) as (host, server):
        for _ in range(2):
            with pytest.raises(UpstreamError, match="call fails"):
                await host.call(Chat("hi").to("bad/m"))
        assert server.connections == 1


@pytest.mark.feature("S002-03")
async def test_an_end_that_fails_closes_all_the_same() -> None:
    async with hosting(bad={"fails": "stop"}, good={}) as (host, server):
        for name in ("bad", "good"):
            assert (await host.call(Chat("hi").to(f"{name}/m"))).text == "hello: pong"
        await host.close()
        with pytest.raises(GleitzeitError):
            await host.call(Chat("hi").to("good/m"))
        assert server.connections == 2
