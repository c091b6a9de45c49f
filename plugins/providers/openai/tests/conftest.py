"""A provider against the scripted server, and its parser without any."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI
from gleitzeit_plugin_openai.filters import Filter
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.stream import ChatParser

from gleitzeit.testing import FakeContext
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat, Event, Reply
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    """The scripted server; it wants the key that `make` gives."""
    async with OpenAIServer(api_key=KEY) as running:
        yield running


@pytest.fixture
async def make(server: OpenAIServer) -> AsyncIterator[Callable[..., OpenAI]]:
    """Builds a provider for the server; keyword arguments are configuration."""
    async with FakeContext("acme") as context:

        def build(**config: Any) -> OpenAI:
            return OpenAI(OpenAI.Config(**{"base_url": server.url, "api_key": KEY, **config}), context)

        yield build


@pytest.fixture
def provider(make: Callable[..., OpenAI]) -> OpenAI:
    """A provider with the default configuration."""
    return make()


@pytest.fixture
def play(server: OpenAIServer, make: Callable[..., OpenAI]) -> Callable[..., Awaitable[Reply]]:
    """Answers a chat with the given frames (streamed) or body (whole), and gives the reply."""

    async def run(*frames: Any, body: Any = None, chat: Chat | None = None, **more: Any) -> Reply:
        config, stream = more.pop("config", {}), more.pop("stream", body is None)
        server.answers.append(Answer(frames=frames, **more) if body is None else Answer(body=body, **more))
        request = (chat or Chat("hi")).to("scripted-echo", stream=stream)
        answer = await make(**config).call(request)
        return answer if isinstance(answer, Reply) else await answer.collect()

    return run


@pytest.fixture
def parse() -> Callable[..., list[Event]]:
    """Parses pieces of a stream without a server; raises what the parser raises."""

    def run(*pieces: bytes, filters: tuple[Filter, ...] = (), names: WireNames | None = None) -> list[Event]:
        events: deque[Event] = deque()
        parser = ChatParser(AnswerReader(names or WireNames(), "openai:test:m", filters), answer_error)
        for piece in pieces:
            if not parser.complete:
                parser.feed(piece, events)
        if not parser.complete:
            parser.close(events)
        return list(events)

    return run


@pytest.fixture
def whole() -> Callable[..., Reply]:
    """Reads a whole body without a server."""

    def run(body: Any, filters: tuple[Filter, ...] = ()) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        events: deque[Event] = deque()
        reader = AnswerReader(WireNames(), "openai:test:m", filters)
        ChatParser(reader, answer_error).whole(data, events)
        return fold(events)

    return run


@pytest.fixture
def chunk() -> Callable[..., dict[str, Any]]:
    """A chunk of a stream: `chunk(content="a")`, `chunk(finish="stop")`."""

    def build(*, finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m-1",
            "choices": [choice],
        }

    return build


@pytest.fixture
def sse() -> Callable[..., bytes]:
    """Frames as the bytes of a stream."""

    def build(*frames: Any, end: str = "\n") -> bytes:
        texts = [
            frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False) for frame in frames
        ]
        return "".join(f"data: {text}{end}{end}" for text in texts).encode()

    return build
