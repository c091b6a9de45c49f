"""One provider before its fake: a host to ask, a conversation to have, and all that an error shows."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gleitzeit import Chat, Host, Reply
from gleitzeit.conversation import Ending
from gleitzeit.errors import GleitzeitError
from gleitzeit.plugin import Provider
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.values import Request, Stream, Tool, ToolCall
from tests.end_to_end.dialects.words import KEY, SENTENCE
from tests.end_to_end.voices import NAMES, VOICES

__all__ = [
    "EACH",
    "WAYS",
    "Desk",
    "ask",
    "converse",
    "good",
    "opening",
    "shown",
    "stream_type",
    "talking",
    "wire",
]

EACH = pytest.mark.parametrize("name", NAMES)
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Desk(Provider):
    """Two tools."""

    async def provide_tools(self) -> list[Tool]:
        """The weather and the clock, each of a city."""
        schema = {"type": "object", "properties": {"city": {"type": "string"}, "zone": {"type": "string"}}}
        return [Tool(name, description=f"The {name}", input_schema=schema) for name in ("weather", "clock")]

    async def call(self, request: Request) -> Reply | Stream:
        """The name of the tool, and the city."""
        assert isinstance(request.operation, ToolCall)
        return Reply(f"{request.name} of {request.operation.arguments['city']}")


@asynccontextmanager
async def talking(name: str, key: str | None = KEY) -> AsyncIterator[tuple[Host, FaultyServer[Any]]]:
    """A host with one vendor, which asks once, and a desk; and the vendor's fake."""
    async with VOICES[name].server() as server:
        config = {
            "providers": {name: VOICES[name].configure(server.url, key), "desk": {}},
            "host": {"retry": {"max_retries": 0}},
        }
        async with Host(config, plugins={"desk": Desk}, environ={}) as host:
            yield host, server


async def ask(host: Host, name: str, *, stream: bool, model: str = "m-1") -> Reply:
    """One question."""
    request = Chat("hi").to(f"{name}/{model}")
    return await (host.stream(request).collect() if stream else host.call(request))


async def converse(host: Host, chat: Chat, target: str, *, stream: bool) -> Ending:
    """A conversation with the tools of the desk."""
    conversation = host.converse(chat.to(target), tools=["desk/*"])
    if not stream:
        return await conversation
    async with conversation:
        async for _ in conversation:
            pass
    return conversation.ending


def shown(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that a person or a log may see of an error."""
    data = error.to_dict() if isinstance(error, GleitzeitError) else {}
    logged = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    return "\n".join([str(error), repr(error), repr(data), *traceback.format_exception(error), *logged])


def wire(name: str) -> str:
    """The dialect of a provider."""
    return VOICES[name].dialect.name


def good(name: str) -> list[bytes]:
    """The frames of a stream that says the sentence."""
    dialect = VOICES[name].dialect
    return list(dialect.frames(dialect.sentence()))


def opening(frames: list[bytes]) -> list[bytes]:
    """The frames up to the first with content."""
    first = next(at for at, frame in enumerate(frames) if SENTENCE[:5].encode() in frame)
    return frames[: first + 1]


def stream_type(name: str) -> dict[str, str]:
    """The header of a stream."""
    return {"content-type": VOICES[name].server().stream_type}
