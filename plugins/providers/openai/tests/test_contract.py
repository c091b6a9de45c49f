"""The contract suite, against the scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from gleitzeit.values import Chat

KEY = "sk-canary-0123456789abcdef"


def script(after: int) -> Script:
    """Answers well and badly; the faults strike after so many events, of which the last is content."""
    return Script(
        {
            "good": (Rule(Answer("pong, {user}")),),
            "silent": (Rule(Answer("never", fault="stall")),),
            "halting": (Rule(Answer("one two three", fault="stall", after=after)),),
            "truncated": (Rule(Answer("one two three", fault="cut", after=after)),),
            "failing": (Rule(Answer.error(429, "slow down", code="rate_limit_exceeded")),),
        }
    )


class TestOpenAI(ProviderContract):
    api, after = "chat", 3

    @pytest.fixture
    async def case(self) -> AsyncIterator[ProviderCase]:
        async with OpenAIServer(script(self.after), api_key=KEY) as server:
            yield ProviderCase(
                OpenAI,
                config={"base_url": server.url, "api_key": KEY, "api": self.api},
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


class TestResponses(TestOpenAI):
    api, after = "responses", 6
