"""The contract suite, against the scripted server, with each way to ask for streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_gemini import Gemini

from gleitzeit.errors import RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat

KEY = "AIza-canary-0123456789abcdef"
MODELS = {
    "good": Answer("pong, {user}"),
    "silent": Answer("never", fault="stall"),
    "halting": Answer("one two three", fault="stall", after=2),
    "truncated": Answer("one two three", fault="cut", after=2),
    "failing": Answer.error(429, "slow down", word="RESOURCE_EXHAUSTED"),
}


class TestGemini(ProviderContract):
    @pytest.fixture(params=["sse", "array"])
    async def case(self, request: pytest.FixtureRequest) -> AsyncIterator[ProviderCase]:
        async with GeminiServer(api_key=KEY) as server:
            server.models.update(MODELS)
            yield ProviderCase(
                Gemini,
                config={"base_url": server.url, "api_key": KEY, "stream_format": request.param},
                request=Chat("ping").to("good"),
                text="pong, ping",
                others=tuple((Chat(f"p{n}").to("good"), f"pong, p{n}") for n in range(3)),
                silent=Chat("x").to("silent"),
                halting=Chat("x").to("halting"),
                truncated=Chat("x").to("truncated"),
                failing=Chat("x").to("failing"),
                failure=RateLimitedError,
                sent=lambda _: len(server.requests),
                left=lambda _: sum(call.closed.is_set() for call in server.requests),
                secret=KEY,
            )
