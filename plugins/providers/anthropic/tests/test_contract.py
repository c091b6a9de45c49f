"""The contract suite, against the scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.errors import RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat

KEY = "sk-ant-canary-0123456789abcdef"
MODELS = {
    "good": Answer("pong, {user}", thinking="hm, well"),
    "silent": Answer("never", fault="stall"),
    "halting": Answer("one two three", fault="stall", after=5),
    "truncated": Answer("one two three", fault="cut", after=5),
    "failing": Answer.error(429, "slow down", type="rate_limit_error"),
}


class TestAnthropic(ProviderContract):
    @pytest.fixture
    async def case(self) -> AsyncIterator[ProviderCase]:
        async with AnthropicServer(MODELS, api_key=KEY) as server:
            yield ProviderCase(
                Anthropic,
                config={"base_url": server.url, "api_key": KEY},
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
