"""The provider of "Write a provider" keeps the contract that the page promises."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

from gleitzeit import Chat, Host
from gleitzeit.errors import AuthenticationError, TruncatedStreamError
from gleitzeit.testing import LoopbackServer, ProviderCase, ProviderContract
from gleitzeit.testing.loopback import Call
from tests.docs.pages import ROOT, blocks

KEY = "acme-canary-key"


async def answer(call: Call) -> None:
    """What Acme's server does."""
    json_type = {"content-type": "application/json"}
    if call.headers.get("authorization") != f"Bearer {KEY}":
        await call.send(401, json_type, b'{"error": {"message": "who are you?"}}')
        return
    if call.path == "/models":
        await call.send(200, json_type, b'["small", "large"]')
        return
    model, prompt = call.json["model"], call.json["prompt"]
    if model not in ("small", "large"):
        error = {"error": {"message": f"no model {model}", "code": "model_not_found"}}
        await call.send(404, json_type, json.dumps(error).encode())
        return
    if prompt == "silence":
        await call.stall()
        return
    await call.start(200, {"content-type": "application/x-ndjson"})
    for word in prompt.split():
        await call.write(json.dumps({"text": f"{word} "}).encode() + b"\n")
        if prompt.startswith("halt"):
            await call.stall()
            return
    if not prompt.startswith("cut"):
        await call.write(json.dumps({"done": True, "words": len(prompt.split())}).encode() + b"\n")
    await call.end()


@pytest.fixture(scope="module")
def acme() -> Iterator[ModuleType]:
    """The module on the page."""
    page = ROOT / "docs/how-to/write-a-provider.md"
    (block,) = (block for block in blocks(page) if block.notes.get("file") == "gleitzeit_plugin_acme.py")
    module = ModuleType("gleitzeit_plugin_acme")
    sys.modules[module.__name__] = module
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), module.__dict__)
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer(answer) as running:
        yield running


class TestContract(ProviderContract):
    @pytest.fixture
    def case(self, acme: ModuleType, server: LoopbackServer) -> ProviderCase:
        return ProviderCase(
            acme.Acme,
            config={"base_url": server.address, "api_key": KEY},
            request=Chat("say it again").to("small"),
            text="say it again ",
            others=((Chat("and again").to("large"), "and again "),),
            silent=Chat("silence").to("small"),
            halting=Chat("halt there").to("small"),
            truncated=Chat("cut it off").to("small"),
            failing=Chat("anything").to("no-such-model"),
            secret=KEY,
        )


def host(acme: ModuleType, server: LoopbackServer, **config: Any) -> Host:
    settings = {"base_url": server.address, "api_key": KEY, **config}
    return Host({"providers": {"acme": settings}}, plugins={"acme": acme.Acme}, environ={})


async def test_it_answers_through_a_host(acme: ModuleType, server: LoopbackServer) -> None:
    async with host(acme, server) as h:
        reply = await h.call(Chat("through the host").to("acme/large"))
        assert (reply.text, reply.usage and reply.usage.output) == ("through the host ", 3)
        with pytest.raises(TruncatedStreamError):
            await h.call(Chat("cut it off").to("acme/large"))


async def test_a_wrong_key_is_refused_and_not_shown(acme: ModuleType, server: LoopbackServer) -> None:
    async with host(acme, server, api_key="acme-wrong-key") as h:
        with pytest.raises(AuthenticationError) as raised:
            await h.stream(Chat("hello").to("acme/small")).collect()
    assert "acme-wrong-key" not in f"{raised.value!r} {raised.value}"


async def test_leaving_reaches_the_server(acme: ModuleType, server: LoopbackServer) -> None:
    async with host(acme, server) as h:
        async with h.stream(Chat("halt there").to("acme/small")) as stream:
            async for event in stream:
                if event.content:
                    break
        calls = [call for call in server.requests if call.path == "/ask"]
        await asyncio.wait_for(calls[0].closed.wait(), 2)
