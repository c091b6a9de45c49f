"""A backend of somebody's own: a class that generates and streams, and a kind of operation that is new."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from mcp import Client
from pydantic import BaseModel

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Request, Stream, TextDelta
from gleitzeit.errors import UnsupportedError
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import Event
from tests.end_to_end.conftest import Place
from tests.end_to_end.mcp_serving import text

SAID = "one two three four five"


class Settings(BaseModel):
    """Where the model's server is."""

    url: str


class Backend(Provider):
    """Speaks to its server itself; streams by an async generator."""

    Config: ClassVar[Any] = Settings

    def provide_models(self) -> list[Model]:
        """One."""
        return [Model("scripted", operations={Chat})]

    async def call(self, request: Request) -> Reply | Stream:
        """The whole answer, or its pieces."""
        if request.stream:
            return Stream(self.pieces(request))
        answer = await self.context.http.post(self.where, json=self.body(request))
        return Reply(answer.json()["response"], finish_reason=answer.json()["done_reason"])

    async def pieces(self, request: Request) -> AsyncIterator[Event]:
        """Line by line."""
        async with self.context.http.stream("POST", self.where, json=self.body(request)) as answer:
            async for line in answer.aiter_lines():
                found = json.loads(line)
                if found["response"]:
                    yield TextDelta(found["response"])
                if found["done"]:
                    yield Finished(found["done_reason"])

    @property
    def where(self) -> str:
        """The address that generates."""
        return f"{self.config.url}/api/generate"

    def body(self, request: Request) -> dict[str, Any]:
        """What is sent there."""
        assert isinstance(request.operation, Chat)
        prompt = request.operation.messages[-1].text
        return {"model": request.name, "prompt": prompt, "stream": request.stream}


def hosting(server: OllamaServer, **host: Any) -> Host:
    """A host with the class, registered as `mine`."""
    config = {"providers": {"mine": {"url": server.url}}, "host": {"retry": {"max_retries": 0}, **host}}
    return Host(config, plugins={"mine": Backend}, environ={})


@pytest.mark.feature("S004-01")
async def test_a_class_generates_and_streams_the_same_answer() -> None:
    async with OllamaServer() as server, hosting(server) as host:
        server.answers.extend([Answer(SAID), Answer(SAID)])
        reply = await host.call(Chat("hi").to("mine/scripted"))
        async with host.stream(Chat("hi").to("mine/scripted")) as stream:
            pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
        assert [call.json["stream"] for call in server.requests] == [False, True]
    assert len(pieces) == len(SAID.split())
    assert "".join(pieces) == reply.text == stream.reply.text == SAID
    assert stream.reply.finish_reason == reply.finish_reason == "stop"


@pytest.mark.feature("S002-26")
async def test_a_generator_streams_to_the_application_and_stops_with_it() -> None:
    async with OllamaServer() as server, hosting(server) as host:
        server.answers.append(Answer(SAID, fault="stall", after=2))
        seen = []
        async with host.stream(Chat("hi").to("mine/scripted")) as stream:
            async for event in stream:
                seen += [event.text] if isinstance(event, TextDelta) else []
                if len(seen) == 2:
                    break
        assert "".join(seen) == "one two"
        await (await server.request()).closed.wait()


@pytest.mark.feature("S002-26")
@pytest.mark.parametrize("stops", [False, True])
async def test_a_generator_streams_to_mcp_clients_and_stops_with_them(stops: bool) -> None:
    heard: list[str] = []
    enough = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")
        if len(heard) == 2:
            enough.set()

    asked = {"model": "mine/scripted", "messages": [{"role": "user", "content": "hi"}]}
    async with (
        OllamaServer() as server,
        hosting(server) as host,
        host.mcp_server().http() as url,
        Client(url) as client,
    ):
        server.answers.append(Answer(SAID, fault="stall", after=2) if stops else Answer(SAID))
        call = asyncio.create_task(client.call_tool("chat", asked, progress_callback=hear))
        if stops:
            await enough.wait()
            call.cancel()
            await asyncio.wait({call})
            await (await server.request()).closed.wait()
            assert "".join(heard) == "one two"
        else:
            result = await call
            assert "".join(heard) == text(result) == SAID
            assert len(heard) > 2


KIND = '''
"""A kind of operation that the core does not know."""

from attrs import field, frozen

from gleitzeit.values import Operation


@frozen(kw_only=True)
class Translate(Operation):
    kind = "translate"
    idempotent = True
    text: str = field(kw_only=False)
    into: str = "latin"
'''
SPEAKS = """
from acme_kinds import Translate
from gleitzeit import Model, Provider, Reply


class Plugin(Provider):
    def provide_models(self):
        yield Model("old", operations={Translate})
        yield Model("new", operations={"chat"})

    async def call(self, request):
        assert request.name == "old", "nothing else is asked for"
        return Reply(f"{request.operation.text} in {request.operation.into}")
"""


@pytest.mark.feature("S002-29")
async def test_a_kind_of_another_package_travels_and_is_refused_where_it_is_not_declared(
    place: Place,
) -> None:
    place.write("site/acme_kinds/__init__.py", KIND)
    place.install("speaks", SPEAKS)
    async with place.host('[providers.speaks]\n[routes.any]\ntargets = ["speaks/new", "speaks/old"]') as host:
        request = importlib.import_module("acme_kinds").Translate("all is well", into="greek")
        for target in ("speaks/old", "any"):
            reply = await host.call(request.to(target))
            assert (reply.text, str(reply.target)) == ("all is well in greek", "speaks/old")
        assert (await host.stream(request.to("speaks/old")).collect()).text == "all is well in greek"
        with pytest.raises(UnsupportedError, match="translate"):
            await host.call(request.to("speaks/new"))
