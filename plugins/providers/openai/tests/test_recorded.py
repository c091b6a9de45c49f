"""What `tests/replay` does not ask of recorded traffic: the very bytes, and what a reader of a stream sees.

The recordings are no part of the repository; without them these tests are skipped.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from gleitzeit_plugin_openai import OpenAIConfig
from gleitzeit_plugin_openai.responses.bodies import response_body, response_owner
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.stream import ResponseParser

from gleitzeit.values import Chat, Event, Message, Reply, ToolResultPart
from gleitzeit.values.fold import fold
from gleitzeit.wire.codec import dumps, loads
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames
from tests.replay.recordings import Interaction, Recordings

pytestmark = pytest.mark.shared

OWNER: Final = response_owner(OpenAIConfig(), "m")
Parse = Callable[..., list[Event]]


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Interaction]:
    """Recorded chat completions."""
    return list(Recordings(shared / "recorded").find(("openai",), ("chat",)))


@pytest.fixture(scope="module")
def responses(shared: Path) -> list[Interaction]:
    """Recorded responses of all vendors, compactions among them."""
    found = Recordings(shared / "recorded")
    rows = found.find(tuple({provider for provider, _ in found.counts()}), ("responses",))
    return [one for one in rows if one.status < 400 and not one.path.endswith("/input_tokens")]


def parsed(body: bytes) -> list[Event]:
    events: deque[Event] = deque()
    parser = ResponseParser(ResponseReader(WireNames(), OWNER), answer_error)
    parser.whole(body, events)
    return list(events)


def items_of(body: bytes) -> list[bytes]:
    """The items of a whole body, or of a stream's last response, as they were written."""
    if not body.startswith(b"{"):
        lines = [line[5:] for line in body.splitlines() if line.startswith(b"data:") and b'"output"' in line]
        body = bytes(msgspec.json.decode(lines[-1], type=dict[str, msgspec.Raw])["response"])
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return [bytes(item) for item in msgspec.json.decode(fields["output"], type=list[msgspec.Raw])]


def history(reply: Reply, model: str = "m") -> bytes:
    """What is sent after this answer, which was stored as JSON meanwhile."""
    stored = loads(Message, dumps(reply.message))
    results = [ToolResultPart(call.id, parts="done") for call in stored.tool_calls]
    turns = [Message.user("hi"), stored, *([Message.tool(*results)] if results else [])]
    chat = Chat([*turns, Message.user("on")])
    return msgspec.json.encode(response_body(chat, model, False, OpenAIConfig(), WireNames()))


@pytest.mark.feature("S004-04")
def test_items_come_back_byte_for_byte_in_their_order(responses: list[Interaction]) -> None:
    for one in responses:
        reply = fold(parsed(one.body))
        came = items_of(one.body)
        kept = [part.provider_state.data.encode() for part in reply.parts if part.provider_state is not None]
        assert sorted(kept) == sorted(came)
        assert one.stream or kept == came
        while kept and json.loads(kept[-1])["type"] == "reasoning":
            kept.pop()  # it is refused without what followed it
        assert b",".join(kept) in history(reply)
    assert len(responses) > 280


def test_state_does_not_go_to_others(responses: list[Interaction]) -> None:
    """Another model gets what was said and called, and nothing that only its author can read."""
    for one in responses:
        sent: list[Any] = json.loads(history(fold(parsed(one.body)), "other"))["input"]
        assert {item["type"] for item in sent} <= {"message", "function_call", "function_call_output"}
        assert "encrypted" not in json.dumps(sent)


@pytest.mark.feature("S004-03")
def test_the_text_of_a_stream_only_ever_grows(
    chats: list[Interaction], responses: list[Interaction], parse: Parse
) -> None:
    """What was shown is never taken back: each prefix of the events is a prefix of the answer."""
    streams = [parse(one.body) for one in chats if one.stream]
    streams += [parsed(one.body) for one in responses if one.stream]
    assert len(streams) > 40
    for events in streams:
        shown = ""
        for end in range(0, len(events) + 1, max(1, len(events) // 40)):
            text = fold(events[:end]).text
            assert text.startswith(shown)
            shown = text
