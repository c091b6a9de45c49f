"""The contract suite, against the fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import OverloadedError, ServerFaultError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.ollama_server import Answer, Card, OllamaServer
from gleitzeit.values import Chat

KEY = "ollama-canary-0123456789abcdef"
MODELS = {
    "good:latest": Card(answer=Answer("pong, {user}")),
    "silent:latest": Card(answer=Answer("never", fault="stall")),
    "halting:latest": Card(answer=Answer("one two three", fault="stall", after=2)),
    "truncated:latest": Card(answer=Answer("one two three", fault="cut", after=2)),
    "failing:latest": Card(
        answer=Answer.error(
            503,
            "server busy, please try again. maximum pending requests exceeded",
            headers={"retry-after": "7"},
        )
    ),
    "breaking:latest": Card(
        answer=Answer(
            frames=[
                {"model": "m", "message": {"role": "assistant", "content": "one"}, "done": False},
                {"error": "model runner has unexpectedly stopped"},
            ]
        )
    ),
    "ragged:latest": Card(answer=Answer("pong, {user}", newline="\r\n", chunk=3)),
    "strange:latest": Card(answer=Answer("pong, {user}", beside={"news": {"x": ["unheard of"]}})),
}


@pytest.mark.feature("S002-21")
class TestOllama(ProviderContract):
    thorough = True

    @pytest.fixture
    async def case(self) -> AsyncIterator[ProviderCase]:
        async with OllamaServer(MODELS, api_key=KEY) as server:
            yield ProviderCase(
                Ollama,
                config={"base_url": server.url, "api_key": KEY},
                request=Chat("ping").to("good"),
                text="pong, ping",
                others=tuple((Chat(f"p{n}").to("good"), f"pong, p{n}") for n in range(3)),
                silent=Chat("x").to("silent"),
                halting=Chat("x").to("halting"),
                truncated=Chat("x").to("truncated"),
                failing=Chat("x").to("failing"),
                failure=OverloadedError,
                retry_after=7,
                breaking=Chat("x").to("breaking"),
                broken=ServerFaultError,
                ragged=Chat("ping").to("ragged"),
                strange=Chat("ping").to("strange"),
                strange_text="unheard of",
                sent=lambda _: len(server.requests),
                connections=lambda _: server.connections,
                left=lambda _: sum(call.closed.is_set() for call in server.requests),
                secret=KEY,
            )
