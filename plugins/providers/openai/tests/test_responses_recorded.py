"""Recorded responses through the parser alone.

What all of them mean, compared with the vendor's SDK, in other pieces and as history, is in
`tests/replay/vendors/openai_responses.py`. The recordings are no part of the repository; without them
these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
from collections import deque
from collections.abc import Callable, Iterator
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

pytestmark = pytest.mark.shared

OWNER: Final = response_owner(OpenAIConfig(), "m")


@pytest.fixture(scope="module")
def recorded(shared: Path) -> Callable[..., Iterator[bytes]]:
    """The bodies of recorded responses, streamed or whole, compactions and retrievals among them."""
    spec = importlib.util.spec_from_file_location("replay", shared / "recipes" / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    replay = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(replay)
    index = json.loads((shared / "recorded" / "INDEX.json").read_text("utf-8"))
    files: dict[str, list[dict[str, Any]]] = {}

    def find(*, stream: bool) -> Iterator[bytes]:
        for row in index:
            if row["op"] != "responses" or row["stream"] is not stream or row["status"] >= 400:
                continue
            if row["file"] not in files:
                files[row["file"]] = replay.load(shared / "recorded" / row["file"])
            found = files[row["file"]][row["n"]]
            if not found["path"].endswith("/input_tokens"):  # counts, and no response
                yield found["body"]

    return find


def parsed(body: bytes) -> list[Event]:
    events: deque[Event] = deque()
    parser = ResponseParser(ResponseReader(WireNames(), OWNER), answer_error)
    parser.feed(body, events)
    if not parser.complete:
        parser.close(events)
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
@pytest.mark.parametrize("stream", [False, True])
def test_items_come_back_byte_for_byte_in_their_order(
    recorded: Callable[..., Iterator[bytes]], stream: bool
) -> None:
    count = 0
    for body in recorded(stream=stream):
        count += 1
        reply = fold(parsed(body))
        came = items_of(body)
        kept = [part.provider_state.data.encode() for part in reply.parts if part.provider_state is not None]
        assert sorted(kept) == sorted(came)
        if not stream:
            assert kept == came
        while kept and json.loads(kept[-1])["type"] == "reasoning":
            kept.pop()  # it is refused without what followed it
        assert b",".join(kept) in history(reply)
    assert count > (30 if stream else 250)


def test_the_text_of_a_stream_only_ever_grows(recorded: Callable[..., Iterator[bytes]]) -> None:
    for body in recorded(stream=True):
        texts, events = [""], parsed(body)
        for end in range(0, len(events) + 1, max(1, len(events) // 40)):
            texts.append(fold(events[:end]).text)
            assert texts[-1].startswith(texts[-2])


def test_state_does_not_go_to_others(recorded: Callable[..., Iterator[bytes]]) -> None:
    """Another model gets what was said and called, and nothing that only its author can read."""
    for body in recorded(stream=False):
        sent = json.loads(history(fold(parsed(body)), "other"))
        assert {item["type"] for item in sent["input"]} <= {
            "message",
            "function_call",
            "function_call_output",
        }
        assert "encrypted" not in json.dumps(sent["input"])
