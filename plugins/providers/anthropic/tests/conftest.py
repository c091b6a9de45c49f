"""A provider against the scripted server, its parser without any, and the specification."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_anthropic import Anthropic, AnthropicConfig
from gleitzeit_plugin_anthropic.bodies import chat_body
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.stream import MessageParser

from gleitzeit.testing import FakeContext
from gleitzeit.testing.anthropic_server import AnthropicServer
from gleitzeit.values import Chat, Event, Model, Reply
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.exchange import encode
from gleitzeit.wire.names import WireNames

KEY = "sk-ant-canary-0123456789abcdef"
Make = Callable[..., Anthropic]


@pytest.fixture
async def server() -> AsyncIterator[AnthropicServer]:
    """The scripted server; it wants the key that `make` gives."""
    async with AnthropicServer(api_key=KEY) as running:
        yield running


@pytest.fixture
async def make(server: AnthropicServer) -> AsyncIterator[Make]:
    """Builds a provider for the server; keyword arguments are configuration."""
    async with FakeContext("acme") as context:

        def build(**config: Any) -> Anthropic:
            return Anthropic(Anthropic.Config(**{"base_url": server.url, "api_key": KEY, **config}), context)

        yield build


@pytest.fixture
def provider(make: Make) -> Anthropic:
    """A provider with the default configuration."""
    return make()


@pytest.fixture
def parse() -> Callable[..., list[Event]]:
    """Parses pieces of a stream without a server; raises what the parser raises."""

    def run(*pieces: bytes, owner: str = "anthropic", names: WireNames | None = None) -> list[Event]:
        events: deque[Event] = deque()
        parser = MessageParser(AnswerReader(names or WireNames(), owner), answer_error)
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

    def run(body: Any, owner: str = "anthropic") -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        events: deque[Event] = deque()
        MessageParser(AnswerReader(WireNames(), owner), answer_error).whole(data, events)
        return fold(events)

    return run


@pytest.fixture
def sse() -> Callable[..., bytes]:
    """Frames as the bytes of a stream."""

    def build(*frames: Any, end: str = "\n") -> bytes:
        texts = [
            frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False) for frame in frames
        ]
        return "".join(f"data: {text}{end}{end}" for text in texts).encode()

    return build


@pytest.fixture
def written() -> Callable[..., Any]:
    """The body of a chat as it goes over the wire; keyword arguments are configuration."""

    def build(chat: Chat, stream: bool = False, known: Model | None = None, **config: Any) -> Any:
        settings = AnthropicConfig(**config)
        return msgspec.json.decode(encode(chat_body(chat, "claude-x", stream, settings, WireNames(), known)))

    return build
