"""Models that come and go: listed, looked up, called, in versions, and watched."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import Chat, Host, TextDelta
from gleitzeit.errors import UnknownModelError
from gleitzeit.testing.ollama_server import Answer, Card, OllamaServer
from gleitzeit.testing.openai_server import Answer as Said
from gleitzeit.testing.openai_server import OpenAIServer, Rule, Script
from tests.end_to_end.mcp_serving import SERVE

SCRIPT = Script({"m": (Rule(Said("all is well")),)})
LIMIT = 60  # seconds; what is waited for comes within one


async def names(host: Host) -> dict[str, set[str]]:
    """The models of each instance."""
    return {offer.instance: {model.name for model in offer.items} for offer in await host.offers("models")}


async def status(host: Host, name: str) -> str:
    """How an instance fares."""
    (row,) = [row for row in await host.health() if row.name == name]
    return row.health.status


@pytest.mark.feature("S002-05")
async def test_a_server_that_goes_and_comes_back_is_noticed_without_a_call() -> None:
    async with AsyncExitStack() as running, asyncio.timeout(LIMIT):
        server = await running.enter_async_context(OpenAIServer(SCRIPT))
        entry = {"plugin": "openai", "base_url": server.url, "api_key": "sk-x", "eager": True}
        config = {"providers": {"lab": entry}, "host": {"health_interval": 0.02}}
        async with Host(config, environ={}) as host:
            await server.request(2)  # probes come by themselves
            assert await status(host, "lab") == "ok"
            await running.aclose()
            assert await status(host, "lab") == "error"
            port = int(server.url.removesuffix("/v1").rpartition(":")[2])
            async with OpenAIServer(SCRIPT, port=port) as again:
                await again.request(2)
                assert await status(host, "lab") == "ok"
                paths = {call.path for call in (*server.requests, *again.requests)}
                assert paths == {"/v1/models"}
            assert host.snapshot().total_calls().count == 0


@pytest.mark.feature("S002-16")
async def test_backends_are_listed_looked_up_called_added_and_removed_in_use(tmp_path: Path) -> None:
    (tmp_path / "gleitzeit.toml").write_text("[providers.scripted]\n")
    behind = ["--config", str(tmp_path / "gleitzeit.toml")]
    entry = {
        "command": [sys.executable, *SERVE, *behind],
        "sandbox": "none",
        "models": [{"name": "scripted/hello", "capabilities": ["greeting"]}],
    }
    seeing = {"eyes:latest": Card(capabilities=("completion", "sight")), "plain:latest": Card()}
    async with OpenAIServer(SCRIPT) as one, OllamaServer(seeing) as two, asyncio.timeout(LIMIT):
        providers = {
            "one": {"plugin": "openai", "base_url": one.url, "api_key": "sk-x"},
            "two": {"plugin": "ollama", "base_url": two.url},
        }
        async with Host({"providers": providers}, environ={}) as host:
            found = await names(host)
            assert (found["one"], found["two"]) == ({"m"}, {"eyes", "plain"})
            assert [str(target) for target in await host.find("sight")] == ["two/eyes"]
            assert await host.find("greeting") == []
            two.answers.append(Answer("one two three"))
            async with host.stream(Chat("hi").to("two/eyes")) as stream:
                await host.servers.deploy("three", entry)
                (greeter,) = await host.find("greeting")
                assert (await names(host))["three"] == {"scripted/hello"}
                assert "".join(await texts(stream)) == "one two three"
            async with host.stream(Chat("hi").to(greeter)) as stream:
                await anext(aiter(stream))
                going = asyncio.create_task(host.servers.undeploy("three"))
                await asyncio.sleep(0)
                assert "three" not in await names(host)
                await texts(stream)
                assert stream.reply.text.startswith("Hello!")
            await going
            with pytest.raises(UnknownModelError):
                await host.call(Chat("hi").to("three/scripted/hello"))
            assert (await host.call(Chat("hi").to("one/m"))).text == "all is well"


async def texts(stream: Any) -> list[str]:
    """The pieces that are left."""
    return [event.text async for event in stream if isinstance(event, TextDelta)]


@pytest.mark.feature("S002-28")
async def test_versions_are_listed_and_called_and_the_default_moves_while_the_host_runs() -> None:
    old, new = (Card(answer=Answer(f"version {number}"), context=number) for number in (1, 2))
    models = {"tiny:1": old, "tiny:2": new, "tiny:latest": old}
    async with (
        OllamaServer(models) as server,
        Host({"providers": {"lab": {"plugin": "ollama", "base_url": server.url}}}, environ={}) as host,
    ):
        listed = await versions(host)
        assert None not in listed.values()
        assert listed["tiny:1"] != listed["tiny:2"]
        assert await said(host, ("tiny:1", "tiny:2", "tiny")) == ["version 1", "version 2", "version 1"]
        server.models["tiny:latest"] = new
        assert await said(host, ("tiny:1", "tiny:2", "tiny")) == ["version 1", "version 2", "version 2"]


async def versions(host: Host) -> dict[str, str | None]:
    """The version of each model of the instance."""
    (offer,) = [offer for offer in await host.offers("models") if offer.instance == "lab"]
    return {model.name: model.version for model in offer.items}


async def said(host: Host, models: Iterable[str]) -> list[str]:
    """What each answers."""
    return [(await host.call(Chat("hi").to(f"lab/{model}"))).text for model in models]
