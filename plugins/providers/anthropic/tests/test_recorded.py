"""Traffic that others recorded, read by us and by the vendor's SDK: the same text, parts, usage, finish.

The recordings lie beside the repository and are no part of it; without them these tests are
skipped. Differences by design:

| where | the SDK | ours | why |
|---|---|---|---|
| empty text blocks | a block | no part | they say nothing, and the API refuses them on the way back |
| blocks of server tools | a block each | a part with its state and no text | one shape for all vendors |
| container | a field | a part with its state | so that it goes on with the conversation by itself |
| a stream cut before `message_stop` | a success | `TruncatedStreamError` | silent truncation otherwise |
| `input_tokens` | without the cached ones | with them | one arithmetic for all vendors |
"""

from __future__ import annotations

import gzip
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic
from gleitzeit_plugin_anthropic import Anthropic
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.stream import MessageParser

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import FakeContext
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import (
    Chat,
    Event,
    Invoke,
    Message,
    Reply,
    Stream,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire import codec
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

pytestmark = pytest.mark.shared

ASKED: Any = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
EXCEPTIONS = json.loads((Path(__file__).parent / "exceptions.json").read_text("utf-8"))


class Both:
    """Two clients of one server that answers everything with `answer`."""

    def __init__(self, provider: Anthropic, sdk: AsyncAnthropic) -> None:
        self.provider, self.sdk = provider, sdk
        self.answer: dict[str, Any] = {}
        self.gzip = False

    async def serve(self, call: Call) -> None:
        headers = {"content-type": str(self.answer["headers"].get("content-type", "application/json"))}
        body = self.answer["body"]
        if self.gzip:
            body, headers["content-encoding"] = gzip.compress(body), "gzip"
        await call.send(self.answer["status"], headers, body)


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async def handler(call: Call) -> None:
        await pair.serve(call)

    async with (
        LoopbackServer(handler) as server,
        FakeContext("p") as context,
        AsyncAnthropic(base_url=server.address, api_key="x", max_retries=0) as sdk,
    ):
        config = Anthropic.Config(base_url=server.address, api_key="x")
        pair = Both(Anthropic(config, context), sdk)
        yield pair


def state(part: Any) -> Any:
    return {} if part.provider_state is None else json.loads(part.provider_state.data)


def ours(reply: Reply) -> list[Any]:
    """Our parts as the blocks that they came from."""
    blocks: list[Any] = []
    for part in reply.parts:
        more = state(part)
        if isinstance(part, TextPart):
            blocks.append({"type": "text", "text": part.text, **more})
        elif isinstance(part, ToolCallPart):
            made = {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
            blocks.append({**made, **more})
        elif "container" not in more:
            assert isinstance(part, ThinkingPart)
            assert part.text == (more.get("thinking", "") if more["type"] == "thinking" else "")
            blocks.append(more)
    return blocks


def bare(block: Any) -> Any:
    """A block without what is null, as which both sides leave out different things."""
    if isinstance(block, dict):
        return {key: bare(value) for key, value in block.items() if value is not None}
    return [bare(item) for item in block] if isinstance(block, list) else block


def same(reply: Reply, message: Any, file: str) -> None:
    """Is our reply what the SDK made of the same bytes?"""
    theirs = message.to_dict(mode="json")
    expected = [block for block in theirs["content"] if block != {"type": "text", "text": ""}]
    assert bare(ours(reply)) == bare([b for b in expected if b.get("text") != ""]), file
    usage = message.usage
    assert reply.usage is not None, file
    read, new = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    assert reply.usage.input == usage.input_tokens + (read or 0) + (new or 0), file
    assert (reply.usage.output, reply.usage.cache_read, reply.usage.cache_write) == (
        usage.output_tokens,
        read,
        new,
    ), file
    details = getattr(usage, "output_tokens_details", None)
    assert reply.usage.reasoning == (details and details.thinking_tokens), file
    assert (reply.raw_finish_reason, reply.id, reply.model) == (
        message.stop_reason,
        message.id,
        message.model,
    ), file
    word = {"end_turn": "stop", "tool_use": "tool_calls"}.get(message.stop_reason)
    assert word is None or reply.finish_reason == word, file
    container = [state(part)["container"] for part in reply.parts if "container" in state(part)]
    assert bare(container[0] if container else None) == bare(theirs.get("container")), file


def parsed(pieces: list[bytes]) -> list[Event]:
    """The events in pieces of a body, whatever kind of body it is."""
    events: deque[Event] = deque()
    parser = MessageParser(AnswerReader(WireNames(), "anthropic:127.0.0.1"), answer_error)
    for piece in pieces:
        if not parser.complete:
            parser.feed(piece, events)
    if not parser.complete:
        parser.close(events)
    return list(events)


def outcome(pieces: list[bytes]) -> Reply | str:
    try:
        return fold(parsed(pieces))
    except GleitzeitError as error:
        return f"{type(error).__name__}: {error}"


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


async def test_whole_answers(both: Both, recorded: Callable[..., Any]) -> None:
    count = 0
    for number, interaction in enumerate(recorded("messages")):
        both.answer, file, both.gzip = interaction, interaction["file"], bool(number % 2)
        if interaction["status"] >= 400:
            with pytest.raises(anthropic.APIStatusError) as their:
                await both.sdk.beta.messages.create(**ASKED)
            with pytest.raises(GleitzeitError) as mine:
                await both.provider.call(Chat("hi").to("m"))
            assert mine.value.status == their.value.status_code, file
            continue
        count += 1
        reply = await both.provider.call(Chat("hi").to("m"))
        assert isinstance(reply, Reply)
        same(reply, await both.sdk.beta.messages.create(**ASKED), file)
        # The server's own bytes, not only what they mean.
        sent = msgspec.json.decode(interaction["body"], type=dict[str, msgspec.Raw])
        blocks = [bytes(raw) for raw in msgspec.json.decode(sent["content"], type=list[msgspec.Raw])]
        kept = [part for part in reply.parts if isinstance(part, ThinkingPart) and "type" in state(part)]
        assert {part.provider_state.data.encode() for part in kept if part.provider_state} <= set(blocks)
        # Where a stream was asked for, the same body is a stream.
        assert outcome(cut(interaction["body"], 1 + number % 7)) == reply, file
    assert count == 275


async def test_streams(both: Both, recorded: Callable[..., Any]) -> None:
    count = 0
    for interaction in recorded("messages", stream=True):
        count += 1
        both.answer, file, body = interaction, interaction["file"], interaction["body"]
        replies = []
        for both.gzip in (False, True):
            stream = await both.provider.call(Chat("hi").to("m", stream=True))
            assert isinstance(stream, Stream)
            replies.append(await stream.collect())
            async with both.sdk.beta.messages.stream(**ASKED) as theirs:
                message = await theirs.get_final_message()
            same(replies[-1], message, file)
        reply = replies[0]
        unix = body.replace(b"\r\n", b"\n")
        for ends in (b"\n", b"\r\n", b"\r"):
            for size in (*(range(1, 8) if ends != b"\r" else (1,)), len(body)):
                assert outcome(cut(unix.replace(b"\n", ends), size)) == reply, (file, ends, size)
        commented = unix.replace(b"\n\n", b'\n\n: hi\n\nevent: ping\ndata: {"type": "ping"}\n\n')
        assert outcome([commented]) == reply, file
        # A cut anywhere before the mark is an error, never a shorter success.
        mark = unix.index(b'"message_stop"')
        for end in range(1, mark, max(1, mark // 60)):
            found = outcome([unix[:end]])
            assert isinstance(found, str), (file, end)
            assert found.startswith("TruncatedStreamError"), (file, end, found)
    assert count == 16


async def test_streams_over_the_recipes_own_server(
    recorded: Callable[..., Any], recipe: Callable[[str], ModuleType], shared: Path
) -> None:
    replay = recipe("replay")
    for interaction in list(recorded("messages", stream=True))[:1]:
        replies = []
        for options in ({}, {"chunk": 3, "crlf": True}):
            server = replay.serve(0, shared / "recorded" / interaction["file"], **options)
            try:
                async with FakeContext("p") as context:
                    url = f"http://127.0.0.1:{server.server_address[1]}"
                    provider = Anthropic(Anthropic.Config(base_url=url, api_key="x"), context)
                    stream = await provider.call(Chat("hi").to("m", stream=True))
                    assert isinstance(stream, Stream)
                    replies.append(await stream.collect())
            finally:
                server.shutdown()
                server.server_close()
        assert replies[0] == replies[1]


async def test_counts(both: Both, recorded: Callable[..., Any]) -> None:
    count = 0
    for interaction in recorded("count_tokens"):
        both.answer = interaction
        ask = both.provider.call(Invoke("count_tokens", args=("m", "hi")).to("p"))
        given = {key: value for key, value in ASKED.items() if key != "max_tokens"}
        if interaction["status"] >= 400:
            with pytest.raises(GleitzeitError) as mine:
                await ask
            assert mine.value.status == interaction["status"]
            continue
        count += 1
        reply = await ask
        assert isinstance(reply, Reply)
        theirs = await both.sdk.beta.messages.count_tokens(**given)
        assert reply.data["input_tokens"] == theirs.input_tokens
    assert count == 7


def continued(reply: Reply) -> Chat:
    """The conversation that goes on after a reply, which went through storage meanwhile."""
    stored = codec.loads(Message, codec.dumps(reply.message))
    results = [ToolResultPart(call.id, parts="ok") for call in reply.tool_calls]
    following = Message.tool(*results) if results else Message.user("go on")
    return Chat([Message.user("hi"), stored, following])


def test_replies_sent_back_hold_to_the_specification(
    recorded: Callable[..., Any], spec: Any, written: Callable[..., Any]
) -> None:
    found: dict[str, list[str]] = {}
    for stream in (False, True):
        for interaction in recorded("messages", stream=stream):
            if interaction["status"] >= 400:
                continue
            reply = fold(parsed([interaction["body"]]))
            body = written(continued(reply), base_url="http://127.0.0.1:1", api_key="x")
            problems = spec.problems("CreateMessageParams", body)
            if problems:
                found.setdefault(f"{interaction['file']}#{interaction['n']}", []).extend(problems)
            # Byte for byte and in order, whatever the specification knows of them.
            sent = body["messages"][1]["content"]
            kept = [
                block for block in bare(ours(reply)) if block.get("text") is None or block["text"].strip()
            ]
            assert bare(sent) == kept, interaction["file"]
    assert sorted(found) == sorted(name for names in EXCEPTIONS.values() for name in names)
