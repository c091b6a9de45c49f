"""One conversation with every vendor: the same in, the same out, and what a move to another leaves behind."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from typing import Any

import pytest
from attrs import evolve

from gleitzeit import Chat, Host
from gleitzeit.conversation import Ending
from gleitzeit.plugin import Provider
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.values import (
    ImagePart,
    Message,
    Part,
    Reply,
    Request,
    Stream,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.codec import dumps, loads
from tests.end_to_end.voices import CALLS, READ, SENTENCE, THOUGHT, VOICES, WROTE, Voice

INSTALLED = {point.name for point in entry_points(group="gleitzeit.providers")}
NAMES = [name for name, voice in VOICES.items() if voice.plugin in INSTALLED]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(32))
QUESTION = "Do I need an umbrella?"


class Desk(Provider):
    """Two tools."""

    async def provide_tools(self) -> list[Tool]:
        schema = {"type": "object", "properties": {"city": {"type": "string"}, "zone": {"type": "string"}}}
        return [Tool(name, description=f"The {name}", input_schema=schema) for name in ("weather", "clock")]

    async def call(self, request: Request) -> Reply | Stream:
        assert isinstance(request.operation, ToolCall)
        return Reply(f"{request.name} of {request.operation.arguments['city']}")


class Town:
    """A host with an instance and a server for every vendor."""

    def __init__(self, host: Host, servers: dict[str, FaultyServer[Any]]) -> None:
        self.host, self.servers = host, servers

    async def converse(self, name: str, *, stream: bool) -> Ending:
        """The whole conversation, of two turns."""
        self.servers[name].answers.extend(VOICES[name].answers(stream))
        user = Message.user([QUESTION, ImagePart(data=PNG, media_type="image/png")])
        request = Chat([Message.system("Be brief."), user]).to(f"{name}/m-1")
        conversation = self.host.converse(request, tools=["desk/*"])
        if stream:
            async with conversation:
                async for _ in conversation:
                    pass
            return conversation.ending
        return await conversation

    async def sent(self, name: str, messages: Iterable[Message]) -> Call:
        """A request with this history, as the vendor gets it."""
        voice, server = VOICES[name], self.servers[name]
        server.answers.append(voice.answer(voice.sentence(), False))
        tools = [tool for _, _, tool in await self.host.find_tools(["desk/*"])]
        tools = [evolve(tool, name=f"desk/{tool.name}") for tool in tools]
        await self.host.call(Chat(tuple(messages), tools=tuple(tools)).to(f"{name}/m-1"))
        return self.asked(name)[-1]

    def asked(self, name: str) -> list[Call]:
        """The requests that carry a conversation."""
        held = ("messages", "contents", "input")
        return [call for call in self.servers[name].requests if any(key in (call.json or ()) for key in held)]


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(VOICES[name].server()) for name in NAMES}
        providers: dict[str, Any] = {
            name: VOICES[name].configure(server.url) for name, server in servers.items()
        }
        config = {"providers": {**providers, "desk": {}}, "host": {"retry": {"max_retries": 0}}}
        yield Town(await stack.enter_async_context(Host(config, plugins={"desk": Desk}, environ={})), servers)


def plain(messages: Iterable[Message]) -> list[Any]:
    """What every vendor must agree on: all but ids, spelling of arguments and opaque state."""
    return [(message.role, [_plain(part) for part in message.parts]) for message in messages]


def _plain(part: Part) -> Any:
    if isinstance(part, ToolCallPart):
        return part.type, part.name, dict(part.arguments or {})
    if isinstance(part, ToolResultPart):
        return part.type, part.name, part.text, part.is_error
    if isinstance(part, TextPart | ThinkingPart):
        return part.type, part.text
    return part.type


EXPECTED = [
    ("system", [("text", "Be brief.")]),
    ("user", [("text", QUESTION), "image"]),
    (
        "assistant",
        [
            ("thinking", THOUGHT),
            *(("tool_call", name.replace("__", "/"), value) for name, value in CALLS),
        ],
    ),
    (
        "tool",
        [
            ("tool_result", "desk/weather", "weather of Oslo", False),
            ("tool_result", "desk/clock", "clock of Oslo", False),
        ],
    ),
    ("assistant", [("text", SENTENCE)]),
]


def test_some_vendor_is_installed() -> None:
    assert "chat" in NAMES


@pytest.mark.feature("S004-02")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", NAMES)
async def test_the_same_conversation_has_the_same_form(town: Town, name: str, stream: bool) -> None:
    ending = await town.converse(name, stream=stream)
    assert plain(ending.messages) == EXPECTED
    assert (ending.stopped, ending.turns, ending.reply.finish_reason) == ("answered", 2, "stop")
    assert (ending.usage.input, ending.usage.output) == (2 * READ, 2 * WROTE)
    assert str(ending.reply.target) == f"{name}/m-1"
    assert ending.reply.model == "m-1"
    calls, answers = ending.messages[2].tool_calls, ending.messages[3].parts
    ids = [call.id for call in calls]
    assert len(set(ids)) == 2
    assert [part.id for part in answers if isinstance(part, ToolResultPart)] == ids


@pytest.mark.parametrize("name", NAMES)
async def test_the_vendor_gets_the_picture_the_tools_and_its_own_state_back(town: Town, name: str) -> None:
    await town.converse(name, stream=True)
    first, second = town.asked(name)
    assert base64.b64encode(PNG).decode() in first.body.decode()
    for tool, _ in CALLS:
        assert tool in first.body.decode()
    for said in ("weather of Oslo", "clock of Oslo", VOICES[name].state):
        assert said in second.body.decode()
        assert said not in first.body.decode()


MOVES = list(itertools.permutations(NAMES, 2))


@pytest.mark.parametrize("answered", [False, True], ids=["before-the-answer", "after-the-answer"])
@pytest.mark.parametrize("before, after", MOVES, ids=map("-to-".join, MOVES))
async def test_a_move_drops_foreign_state_and_nothing_else(
    town: Town, before: str, after: str, answered: bool
) -> None:
    messages = (await town.converse(before, stream=False)).messages
    history = (*messages, Message.user("And tomorrow?")) if answered else messages[:-1]
    history = tuple(loads(Message, dumps(message)) for message in history)
    bare = tuple(_without_state(message) for message in history)
    moved, clean = await town.sent(after, history), await town.sent(after, bare)
    assert moved.json == clean.json
    text = moved.body.decode()
    for own in (VOICES[before].state, THOUGHT):
        assert own not in text
    for kept in ("Be brief.", QUESTION, "Oslo", "CET", "weather of Oslo", "clock of Oslo"):
        assert kept in text
    assert (SENTENCE in text) is answered
    assert VOICES[before].state in (await town.sent(before, history)).body.decode()


def _without_state(message: Message) -> Message:
    return evolve(message, parts=tuple(evolve(part, provider_state=None) for part in message.parts))


def test_voices_tell_states_apart() -> None:
    states = [voice.state for voice in VOICES.values()]
    assert len(set(states)) == len(states)
    assert all(isinstance(voice, Voice) for voice in VOICES.values())
