"""A provider against the fake server, and its parser without any."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_ollama import Ollama
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.stream import LineParser

from gleitzeit.testing import FakeContext
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import Chat, Event, Operation, Reply
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

KEY = "ollama-canary-0123456789abcdef"


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    """The fake; it wants the key that `make` gives."""
    async with OllamaServer(api_key=KEY) as running:
        yield running


@pytest.fixture
async def context() -> AsyncIterator[FakeContext]:
    async with FakeContext("local") as made:
        yield made


@pytest.fixture
def make(server: OllamaServer, context: FakeContext) -> Callable[..., Ollama]:
    """Builds a provider for the server; keyword arguments are configuration."""

    def build(**config: Any) -> Ollama:
        return Ollama(Ollama.Config(**{"base_url": server.url, "api_key": KEY, **config}), context)

    return build


@pytest.fixture
def provider(make: Callable[..., Ollama]) -> Ollama:
    """A provider with the default configuration."""
    return make()


@pytest.fixture
def ask(provider: Ollama) -> Callable[..., Awaitable[Reply]]:
    """Asks for an operation, and gives the reply."""

    async def run(
        operation: Operation | str, model: str = "scripted", *, by: Ollama | None = None, **fields: Any
    ) -> Reply:
        operation = Chat(operation) if isinstance(operation, str) else operation
        answer = await (by or provider).call(operation.to(model, **fields))
        return answer if isinstance(answer, Reply) else await answer.collect()

    return run


@pytest.fixture
def play(server: OllamaServer, ask: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
    """Answers a chat with `answer`, and gives the reply."""

    async def run(answer: Answer, chat: Operation | str = "hi", **fields: Any) -> Reply:
        server.answers.append(answer)
        return await ask(chat, **fields)

    return run


@pytest.fixture
def parse() -> Callable[..., list[Event]]:
    """Parses pieces of a stream without a server; raises what the parser raises."""

    def run(*pieces: bytes, owner: str | None = "ollama:test:m") -> list[Event]:
        events: deque[Event] = deque()
        parser = LineParser(AnswerReader(WireNames(), owner), answer_error)
        for piece in pieces:
            if not parser.complete:
                parser.feed(piece, events)
        parser.close(events)
        return list(events)

    return run


@pytest.fixture
def whole() -> Callable[..., Reply]:
    """Reads a whole body without a server."""

    def run(body: Any) -> Reply:
        events: deque[Event] = deque()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        LineParser(AnswerReader(WireNames(), "ollama:test:m"), answer_error).whole(data, events)
        return fold(events)

    return run


@pytest.fixture
def lines() -> Callable[..., bytes]:
    """Lines of a stream as bytes; a text is a piece of the answer."""

    def build(*items: Any, done: bool = True, end: str = "\n") -> bytes:
        found = [
            {"model": "m", "message": {"role": "assistant", "content": item}, "done": False}
            if isinstance(item, str)
            else item
            for item in items
        ]
        if done:
            found.append({"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop"})
        return "".join(json.dumps(item, ensure_ascii=False) + end for item in found).encode()

    return build
