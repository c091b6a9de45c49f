"""The contract suite, against the scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from gleitzeit_plugin_openai import AzureOpenAI, OpenAI

from gleitzeit.errors import OverloadedError, RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from gleitzeit.values import Chat

KEY = "sk-canary-0123456789abcdef"


PIECES = {
    "chat": (
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}]},
        {"error": {"message": "overloaded", "type": "server_error", "code": "server_is_overloaded"}},
    ),
    "responses": (
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": "one"},
        {"type": "error", "code": "server_is_overloaded", "message": "overloaded"},
    ),
}


def script(api: str, after: int) -> Script:
    """Answers well and badly; the faults strike after so many events, of which the last is content."""
    return Script(
        {
            "good": (Rule(Answer("pong, {user}")),),
            "silent": (Rule(Answer("never", fault="stall")),),
            "halting": (Rule(Answer("one two three", fault="stall", after=after)),),
            "truncated": (Rule(Answer("one two three", fault="cut", after=after)),),
            "failing": (
                Rule(
                    Answer.error(
                        429, "slow down", code="rate_limit_exceeded", headers={"retry-after-ms": "7000"}
                    )
                ),
            ),
            "breaking": (Rule(Answer(frames=PIECES[api], done=False)),),
            "ragged": (Rule(Answer("pong, {user}", newline="\r\n", chunk=3)),),
            "strange": (Rule(Answer("pong, {user}", beside={"news": {"x": ["unheard of"]}})),),
        }
    )


@pytest.mark.feature("S002-21")
class TestOpenAI(ProviderContract):
    thorough = True
    api, after = "chat", 3
    plugin: Any = OpenAI

    @pytest.fixture
    async def case(self) -> AsyncIterator[ProviderCase]:
        async with OpenAIServer(script(self.api, self.after), api_key=KEY) as server:
            yield ProviderCase(
                self.plugin,
                config={"base_url": server.url, "api_key": KEY, "api": self.api},
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


class TestResponses(TestOpenAI):
    api, after = "responses", 6


class TestAzure(TestOpenAI):
    plugin = AzureOpenAI
