"""One conversation with every vendor: the same in, the same out, and what a move to another leaves behind."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from attrs import evolve

from gleitzeit import Chat, Host
from gleitzeit.conversation import Ending
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.values import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.codec import dumps, loads
from tests.end_to_end.dialects.words import CALLS, READ, SENTENCE, THOUGHT, WROTE
from tests.end_to_end.talk import Desk, converse
from tests.end_to_end.voices import NAMES, VOICES

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(32))
QUESTION = "Do I need an umbrella?"


class Town:
    """A host with an instance and a server for every vendor."""

    def __init__(self, host: Host, servers: dict[str, FaultyServer[Any]]) -> None:
        self.host, self.servers = host, servers

    async def converse(self, name: str, *, stream: bool, thinking: bool = True, image: bool = True) -> Ending:
        """The whole conversation, of two turns."""
        self.servers[name].answers.extend(VOICES[name].answers(stream, thinking=thinking))
        picture = [ImagePart(data=PNG, media_type="image/png")] if image else []
        user = Message.user([QUESTION, *picture])
        chat = Chat([Message.system("Be brief."), user])
        return await converse(self.host, chat, f"{name}/m-{name}", stream=stream)

    async def sent(self, name: str, messages: Iterable[Message]) -> Call:
        """A request with this history, as the vendor gets it."""
        voice, server = VOICES[name], self.servers[name]
        server.answers.append(voice.answer(voice.dialect.sentence(), False))
        tools = [tool for _, _, tool in await self.host.find_tools(["desk/*"])]
        tools = [evolve(tool, name=f"desk/{tool.name}") for tool in tools]
        await self.host.call(Chat(tuple(messages), tools=tuple(tools)).to(f"{name}/m-{name}"))
        return self.asked(name)[-1]

    def asked(self, name: str) -> list[Call]:
        """The requests that carry a conversation."""
        held = ("messages", "contents", "input")
        return [call for call in self.servers[name].requests if any(key in (call.json or ()) for key in held)]


@asynccontextmanager
async def town(*names: str) -> AsyncIterator[Town]:
    """A host with these vendors and the desk."""
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(VOICES[name].server()) for name in names}
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


def expected(*, thinking: bool, image: bool) -> list[Any]:
    """The conversation in its normal form."""
    calls = [("tool_call", name.replace("__", "/"), value) for name, value in CALLS]
    results = [("tool_result", f"desk/{tool}", f"{tool} of Oslo", False) for tool in ("weather", "clock")]
    return [
        ("system", [("text", "Be brief.")]),
        ("user", [("text", QUESTION), *(["image"] if image else [])]),
        ("assistant", [*([("thinking", THOUGHT)] if thinking else []), *calls]),
        ("tool", results),
        ("assistant", [("text", SENTENCE)]),
    ]


def test_all_vendors_of_this_repository_are_installed() -> None:
    assert set(NAMES) >= VOICES.keys() - {"router"}


@pytest.mark.feature("S002-21", "S004-02")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "thinking, image",
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["plain", "with-thinking", "with-an-image", "with-both"],
)
@pytest.mark.parametrize("name", NAMES)
async def test_the_same_conversation_has_the_same_form(
    name: str, thinking: bool, image: bool, stream: bool
) -> None:
    async with town(name) as held:
        ending = await held.converse(name, stream=stream, thinking=thinking, image=image)
    assert plain(ending.messages) == expected(thinking=thinking, image=image)
    assert (ending.stopped, ending.turns, ending.reply.finish_reason) == ("answered", 2, "stop")
    assert (ending.usage.input, ending.usage.output) == (2 * READ, 2 * WROTE)
    assert str(ending.reply.target) == f"{name}/m-{name}"
    assert ending.reply.model == "m-1"
    calls, answers = ending.messages[2].tool_calls, ending.messages[3].parts
    ids = [call.id for call in calls]
    assert len(set(ids)) == 2
    assert [part.id for part in answers if isinstance(part, ToolResultPart)] == ids


@pytest.mark.parametrize("name", NAMES)
async def test_the_vendor_gets_the_picture_the_tools_and_its_own_state_back(name: str) -> None:
    async with town(name) as held:
        await held.converse(name, stream=True)
        first, second = held.asked(name)
    assert base64.b64encode(PNG).decode() in first.body.decode()
    for tool, _ in CALLS:
        assert tool in first.body.decode()
    for said in ("weather of Oslo", "clock of Oslo", VOICES[name].state):
        assert said in second.body.decode()
        assert said not in first.body.decode()


MOVES = list(itertools.permutations(NAMES, 2))


@pytest.mark.parametrize("before, after", MOVES, ids=map("-to-".join, MOVES))
async def test_a_move_drops_foreign_state_and_nothing_else(before: str, after: str) -> None:
    async with town(before, after) as held:
        messages = (await held.converse(before, stream=False)).messages
        # Before the answer, and after it.
        for history in (messages[:-1], (*messages, Message.user("And tomorrow?"))):
            stored = tuple(loads(Message, dumps(message)) for message in history)
            bare = tuple(_without_state(message) for message in stored)
            moved, clean = await held.sent(after, stored), await held.sent(after, bare)
            assert moved.json == clean.json
            text = moved.body.decode()
            for own in (VOICES[before].state, THOUGHT):
                assert own not in text
            for kept in ("Be brief.", QUESTION, "Oslo", "CET", "weather of Oslo", "clock of Oslo"):
                assert kept in text
            assert base64.b64encode(PNG).decode() in text
            assert (SENTENCE in text) is (len(history) > len(messages))
            assert VOICES[before].state in (await held.sent(before, stored)).body.decode()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vertex"])  # that is one service for all
async def test_state_stays_with_its_server_on_a_machine_with_several(name: str) -> None:
    """Of one plugin, with one model, at another port."""
    voice = VOICES[name]
    async with voice.server() as one, voice.server() as other:
        config = {"here": voice.configure(one.url), "there": voice.configure(other.url), "desk": {}}
        async with Host({"providers": config}, plugins={"desk": Desk}, environ={}) as host:
            one.answers.extend(voice.answers(False))
            messages = (await converse(host, Chat("hi"), "here/m-1", stream=False)).messages
            for server, at, kept in ((one, "here", True), (other, "there", False)):
                server.answers.append(voice.answer(voice.dialect.sentence(), False))
                await host.call(Chat((*messages, Message.user("And tomorrow?"))).to(f"{at}/m-1"))
                assert (voice.state in server.requests[-1].body.decode()) is kept


def _without_state(message: Message) -> Message:
    return evolve(message, parts=tuple(evolve(part, provider_state=None) for part in message.parts))


def test_voices_tell_states_apart() -> None:
    states = [voice.state for voice in VOICES.values()]
    assert len(set(states)) == len(states)
