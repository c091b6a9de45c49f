"""A provider against the scripted server, and its parser without any."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_gemini import Gemini
from gleitzeit_plugin_gemini.frames import PieceParser
from gleitzeit_plugin_gemini.reader import AnswerReader

from gleitzeit.testing import FakeContext
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat, Event, Reply
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

KEY = "AIza-canary-0123456789abcdef"


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    """The scripted server; it wants the key that `make` gives."""
    async with GeminiServer(api_key=KEY) as running:
        yield running


@pytest.fixture
async def make(server: GeminiServer) -> AsyncIterator[Callable[..., Gemini]]:
    """Builds a provider for the server; keyword arguments are configuration."""
    async with FakeContext("acme") as context:

        def build(**config: Any) -> Gemini:
            return Gemini(Gemini.Config(**{"base_url": server.url, "api_key": KEY, **config}), context)

        yield build


@pytest.fixture
def provider(make: Callable[..., Gemini]) -> Gemini:
    """A provider with the default configuration."""
    return make()


@pytest.fixture
def play(server: GeminiServer, make: Callable[..., Gemini]) -> Callable[..., Awaitable[Reply]]:
    """Answers a chat with `Answer(**fields)`, and gives the reply."""

    async def run(
        *, chat: Chat | None = None, stream: bool = True, config: dict[str, Any] | None = None, **fields: Any
    ) -> Reply:
        text = fields.pop("text", "")
        server.answers.append(Answer(text, **fields))
        answer = await make(**(config or {})).call((chat or Chat("hi")).to("gemini-x", stream=stream))
        return answer if isinstance(answer, Reply) else await answer.collect()

    return run


@pytest.fixture
def parse() -> Callable[..., list[Event]]:
    """Parses pieces of a stream without a server; raises what the parser raises."""

    def run(*pieces: bytes) -> list[Event]:
        events: deque[Event] = deque()
        parser = PieceParser(AnswerReader(WireNames(), "gemini:test:m"), answer_error)
        for piece in pieces:
            parser.feed(piece, events)
        parser.close(events)
        return list(events)

    return run


@pytest.fixture
def whole() -> Callable[[Any], Reply]:
    """Reads a whole body without a server."""

    def run(body: Any) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        events: deque[Event] = deque()
        PieceParser(AnswerReader(WireNames(), "gemini:test:m"), answer_error).whole(data, events)
        return fold(events)

    return run


@pytest.fixture
def candidate() -> Callable[..., dict[str, Any]]:
    """An answer with these parts: `candidate({"text": "a"}, finish="STOP")`."""

    def build(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
        if finish is not None:
            made["finishReason"] = finish
        return {"candidates": [made], "modelVersion": "m-1", "responseId": "r1"}

    return build
