"""What `tests/replay` does not ask of recorded traffic: the very bytes of blocks, and more kinds of pieces.

The recordings are no part of the repository; without them these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gleitzeit.errors import TruncatedStreamError
from gleitzeit.values import Chat, Event, Message, Reply, ThinkingPart, ToolResultPart
from gleitzeit.values.fold import fold
from gleitzeit.wire import codec
from tests.replay.recordings import Interaction, Recordings

pytestmark = pytest.mark.shared

Parse = Callable[..., list[Event]]


@pytest.fixture(scope="module")
def messages(shared: Path) -> list[Interaction]:
    """Recorded answers, whole and streamed."""
    found = Recordings(shared / "recorded").find(("anthropic",), ("messages",))
    return [one for one in found if one.status < 400]


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def continued(reply: Reply) -> Chat:
    """The conversation that goes on after a reply, which went through storage meanwhile."""
    stored = codec.loads(Message, codec.dumps(reply.message))
    results = [ToolResultPart(call.id, parts="ok") for call in stored.tool_calls]
    following = Message.tool(*results) if results else Message.user("go on")
    return Chat([Message.user("hi"), stored, following])


def test_opaque_blocks_are_the_servers_own_bytes_and_stand_where_they_stood(
    messages: list[Interaction], whole: Callable[..., Reply], written: Callable[..., Any]
) -> None:
    count = 0
    for one in messages:
        if one.stream:
            continue
        count += 1
        reply = whole(one.body)
        sent = msgspec.json.decode(one.body, type=dict[str, msgspec.Raw])
        blocks = [bytes(raw) for raw in msgspec.json.decode(sent["content"], type=list[msgspec.Raw])]
        states = [part.provider_state for part in reply.parts if isinstance(part, ThinkingPart)]
        kept = [state.data for state in states if state is not None]
        assert {data.encode() for data in kept if "type" in msgspec.json.decode(data)} <= set(blocks)
        turn = written(continued(reply))["messages"][1]["content"]
        order = [block["type"] for block in one.json["content"] if block.get("text", "x").strip()]
        assert [block["type"] for block in turn] == order, one.name
    assert count == 275


def test_streams_in_further_pieces(messages: list[Interaction], parse: Parse) -> None:
    """Bare carriage returns as line ends, comments and pings between events, cuts in the middle of them."""
    streams = [one for one in messages if one.stream]
    assert len(streams) == 16
    for one in streams:
        unix = one.body.replace(b"\r\n", b"\n")
        reply = fold(parse(unix))
        assert fold(parse(*cut(unix.replace(b"\n", b"\r"), 1))) == reply, one.name
        ping = b'\n\n: hi\n\nevent: ping\ndata: {"type": "ping"}\n\n'
        assert fold(parse(unix.replace(b"\n\n", ping))) == reply, one.name
        mark = unix.index(b'"message_stop"')
        for end in range(1, mark, max(1, mark // 60)):  # anywhere, not only between events
            with pytest.raises(TruncatedStreamError):
                parse(unix[:end])


def test_a_whole_answer_where_a_stream_was_asked_is_one(
    messages: list[Interaction], parse: Parse, whole: Callable[..., Reply]
) -> None:
    for number, one in enumerate(one for one in messages if not one.stream):
        assert fold(parse(*cut(one.body, 1 + number % 7))) == whole(one.body), one.name
