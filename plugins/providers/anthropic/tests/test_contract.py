"""The contract suite, against the scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.errors import OverloadedError, RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat

KEY = "sk-ant-canary-0123456789abcdef"
MODELS = {
    "good": Answer("pong, {user}", thinking="hm, well"),
    "silent": Answer("never", fault="stall"),
    "halting": Answer("one two three", fault="stall", after=5),
    "truncated": Answer("one two three", fault="cut", after=5),
    "failing": Answer.error(429, "slow down", type="rate_limit_error", headers={"retry-after": "7"}),
    "breaking": Answer(
        frames=(
            {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one"}},
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        )
    ),
    "ragged": Answer("pong, {user}", thinking="hm, well", newline="\r\n", chunk=3),
    "strange": Answer("pong, {user}", thinking="hm, well", beside={"news": {"x": ["unheard of"]}}),
}


@pytest.mark.feature("S002-21")
class TestAnthropic(ProviderContract):
    thorough = True

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
                retry_after=7,
                breaking=Chat("x").to("breaking"),
                broken=OverloadedError,
                ragged=Chat("ping").to("ragged"),
                strange=Chat("ping").to("strange"),
                strange_text="unheard of",
                sent=lambda _: len(server.requests),
                connections=lambda _: server.connections,
                left=lambda _: sum(call.closed.is_set() for call in server.requests),
                secret=KEY,
            )
