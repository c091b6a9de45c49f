"""What is private stays on this machine, whichever way a call goes; what is said is in no log."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

from gleitzeit import Chat, Host, Message, Model, Provider, Reply, Request, Tool, ToolCallPart, ToolResultPart
from gleitzeit.errors import GleitzeitError, SecurityDeniedError
from gleitzeit.testing.faulty import Answer, FaultyServer
from gleitzeit.testing.openai_server import Answer as Said
from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.values import ToolCall
from tests.end_to_end.dialects.words import SENTENCE
from tests.end_to_end.voices import NAMES, VOICES

CANARY = "CANARY-7f3a"
STRATEGIES = (
    "ordered",
    "round-robin",
    "random",
    "weighted",
    "least-busy",
    "p2c",
    "priority",
    "cheapest",
    "sticky",
    "hedge",
)
ONCE = {"retry": {"max_retries": 0}}


class Here(Provider):
    """A local model, and tools that are not."""

    local: ClassVar[bool] = True
    fails: ClassVar[bool] = False

    def provide_models(self) -> Any:
        return [Model("m")]

    async def call(self, request: Request) -> Reply:
        if self.fails:
            raise GleitzeitError("down", retryable=True, sent=True)
        assert isinstance(request.operation, Chat)
        if request.operation.tools and request.operation.messages[-1].role == "user":
            name = request.operation.tools[0].name
            return Reply(ToolCallPart("1", name=name, arguments={"text": CANARY}), finish_reason="tool_calls")
        return Reply("from here")


class Broken(Here):
    """A local model that is down."""

    fails: ClassVar[bool] = True


class Asking(Provider):
    """A local tool that asks a model for help, and quotes what it was told."""

    local: ClassVar[bool] = True

    def provide_tools(self) -> Any:
        return [Tool("summarize")]

    async def call(self, request: Request) -> Reply:
        assert isinstance(request.operation, ToolCall)
        quoted = str((request.operation.arguments or {}).get("text"))
        return await self.context.ask(Chat(quoted).to("remote/m"))


class Away(Provider):
    """A tool elsewhere."""

    asked: ClassVar[list[Request]] = []

    def provide_tools(self) -> Any:
        return [Tool("post")]

    async def call(self, request: Request) -> Reply:
        self.asked.append(request)
        return Reply("posted")


@pytest.fixture
async def remote() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as server:
        yield server


def config(remote: OpenAIServer, **more: Any) -> dict[str, Any]:
    there = {"plugin": "openai", "base_url": remote.url, "api_key": "k-remote", "local": False}
    return {"host": ONCE, "providers": {"remote": there}, **more}


@pytest.mark.feature("S002-18")
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_no_strategy_sends_a_private_request_away(strategy: str, remote: OpenAIServer) -> None:
    options = {"after": 0.000001, "share": 1} if strategy == "hedge" else {}
    routes = {
        "r": {"targets": ["remote/m", "here/m"], "strategy": strategy, "options": options},
        "nested": {"targets": ["r", "remote/other"]},
        "lost": {"targets": ["broken/m", "remote/m"], "strategy": strategy, "options": options},
    }
    settings = config(remote, routes=routes, aliases={"a": "nested"})
    async with Host(settings, environ={}, plugins={"here": Here, "broken": Broken}) as host:
        for name in ("r", "nested", "a"):
            for _ in range(3):
                asked = Chat(CANARY).to(name, data_class="private")
                assert (await host.call(asked)).text == "from here"
                assert (await host.stream(asked).collect()).text == "from here"
        for _ in range(3):
            with pytest.raises(GleitzeitError):
                await host.call(Chat(CANARY).to("lost", data_class="private"))
    assert remote.requests == []


@pytest.mark.feature("S002-18")
async def test_a_private_conversation_gives_nothing_to_tools_elsewhere(remote: OpenAIServer) -> None:
    Away.asked.clear()
    async with Host(config(remote), environ={}, plugins={"here": Here, "away": Away}) as host:
        talk = Chat("go").to("here/m", data_class="private")
        ending = await host.converse(talk, tools=["away/post"])
        said = [part for message in ending.messages for part in message.parts]
        [result] = [part for part in said if isinstance(part, ToolResultPart)]
        assert result.is_error
        assert Away.asked == []
        await host.converse(talk.evolve(data_class="public"), tools=["away/post"])
        assert len(Away.asked) == 1


@pytest.mark.feature("S002-18")
async def test_what_a_tool_asks_while_it_serves_a_private_call_is_private_too(remote: OpenAIServer) -> None:
    settings = config(remote)
    settings["providers"]["asking"] = {"may_ask": True}
    async with Host(settings, environ={}, plugins={"asking": Asking}) as host:
        asked = ToolCall({"text": CANARY}).to("asking/summarize", data_class="private")
        with pytest.raises(SecurityDeniedError, match="private and remote/m is not local"):
            await host.call(asked)
        assert remote.requests == []
        remote.answers.append(Said("in short"))
        assert (await host.call(asked.evolve(data_class="public"))).text == "in short"
        assert len(remote.requests) == 1


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)


def seen(error: GleitzeitError) -> str:
    return f"{error} {error!r} {error.to_dict()} {error.hint}"


def saying(name: str, stream: bool) -> Answer:
    """The canary as an answer of this vendor."""
    voice = VOICES[name]
    body = json.loads(json.dumps(voice.dialect.sentence()).replace(SENTENCE, CANARY))
    return voice.answer(body, stream)


def faults(name: str, stream: bool) -> list[Answer]:
    """Ways in which an answer comes to nothing, some of them after the canary."""
    voice = VOICES[name]
    body = json.loads(json.dumps(voice.dialect.sentence()).replace(SENTENCE, CANARY))
    cut: dict[str, Any] = {"body": body, "at": len(json.dumps(body)) - 3, "fault": "cut"}
    if stream:
        frames = list(voice.dialect.frames(body))
        cut = {"frames": tuple(frames), "after": len(frames) // 2, "fault": "cut"}
    return [
        voice.says(**cut),
        voice.says(**{**cut, "fault": "reset"}),
        voice.says(status=500, body={"error": {"message": "it burns"}}),
        voice.says(fault="garbage"),
    ]


@pytest.mark.feature("S002-19")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", NAMES)
async def test_what_is_said_is_in_no_log_and_no_number(
    name: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    history = [
        Message.system(f"{CANARY} system"),
        Message.user(f"{CANARY} question"),
        Message.assistant(ToolCallPart("c1", name="look", arguments={"text": f"{CANARY} argument"})),
        Message.tool(ToolResultPart("c1", name="look", parts=f"{CANARY} result")),
        Message.user(f"{CANARY} again"),
    ]
    tool = Tool("look", description=f"{CANARY} tool", input_schema={"type": "object", "properties": {}})
    server: FaultyServer[Any]
    async with VOICES[name].server() as server:
        providers = {name: {**VOICES[name].configure(server.url), "local": True}}
        async with Host({"host": ONCE, "providers": providers}, environ={}) as host:
            request = Chat(history, tools=[tool]).to(f"{name}/m-1", data_class="internal")
            server.answers.append(saying(name, stream))
            reply = await (host.stream(request).collect() if stream else host.call(request))
            assert CANARY in reply.text
            assert CANARY in server.requests[-1].body.decode()
            for answer in faults(name, stream):
                server.answers.clear()
                server.answers.append(answer)
                with pytest.raises(GleitzeitError) as caught:
                    await (host.stream(request).collect() if stream else host.call(request))
                assert CANARY not in seen(caught.value)
            told = f"{host.snapshot()} {await host.health()} {host!r}"
    assert CANARY not in told
    assert CANARY not in logged(caplog)


@pytest.mark.feature("S002-19")
async def test_what_a_tool_is_told_is_in_no_log(
    host: Callable[..., Host], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with host() as h:
        asked = ToolCall({"timezone": CANARY}).to("time/get_current_time", data_class="internal")
        reply = await h.call(asked)
        told = f"{h.snapshot()} {await h.health()}"
    assert reply.is_error
    assert CANARY in reply.text
    assert CANARY not in told
    assert CANARY not in logged(caplog)
