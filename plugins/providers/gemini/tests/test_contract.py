"""The contract suite, against the scripted server, with each way to ask for streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gleitzeit_plugin_gemini import Gemini

from gleitzeit.errors import OverloadedError, RateLimitedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat

KEY = "AIza-canary-0123456789abcdef"
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
MODELS = {
    "good": Answer("pong, {user}"),
    "silent": Answer("never", fault="stall"),
    "halting": Answer("one two three", fault="stall", after=2),
    "truncated": Answer("one two three", fault="cut", after=2),
    "failing": Answer.error(429, "slow down", word="RESOURCE_EXHAUSTED", details=[RETRY]),
    "breaking": Answer(
        frames=[
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "one"}]}, "index": 0}]},
            {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
        ]
    ),
    "ragged": Answer("pong, {user}", newline="\r\n", chunk=3),
    "strange": Answer("pong, {user}", beside={"news": {"x": ["unheard of"]}}),
}


WAYS: dict[str, dict[str, str]] = {
    "sse": {"api_key": KEY},
    "array": {"api_key": KEY, "stream_format": "array"},
    "vertex": {"access_token": KEY, "project": "p", "location": "europe-west4"},
}


@pytest.mark.feature("S002-21")
class TestGemini(ProviderContract):
    thorough = True

    @pytest.fixture(params=["sse", "array", "vertex"])
    async def case(self, request: pytest.FixtureRequest) -> AsyncIterator[ProviderCase]:
        async with GeminiServer(api_key=KEY) as server:
            server.models.update(MODELS)
            yield ProviderCase(
                Gemini,
                config={"base_url": server.url, **WAYS[request.param]},
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
