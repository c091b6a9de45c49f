"""Whatever comes as a response: events or one of our errors, and the same in other pieces."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.stream import ResponseParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Event, Finished
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

TYPES = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
    "response.new.delta",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "error",
)
KINDS = ("message", "reasoning", "function_call", "custom_tool_call", "image_generation_call", "new_call")
LEAVES = st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=4)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["text", "type", "x"]), inner)
    ),
    max_leaves=4,
)


def _mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, JSON)


PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["output_text", "refusal", "summary_text"]),
        "text": _mostly(st.text(max_size=4)),
    },
    optional={"refusal": JSON, "annotations": JSON, "logprobs": JSON},
)
ITEMS = st.fixed_dictionaries(
    {"type": _mostly(st.sampled_from(KINDS))},
    optional={
        "id": _mostly(st.sampled_from("abc")),
        "call_id": _mostly(st.sampled_from("abc")),
        "name": _mostly(st.sampled_from(["f", "a__b"])),
        "arguments": _mostly(st.sampled_from(["{}", "", '{"a"'])),
        "content": _mostly(st.lists(PARTS, max_size=2)),
        "summary": _mostly(st.lists(PARTS, max_size=2)),
        "result": JSON,
        "role": JSON,
    },
)
RESPONSES = st.fixed_dictionaries(
    {"output": _mostly(st.lists(_mostly(ITEMS), max_size=3))},
    optional=dict.fromkeys(("id", "model", "status", "usage", "incomplete_details", "error"), JSON),
)
FRAMES = st.fixed_dictionaries(
    {"type": _mostly(st.sampled_from(TYPES))},
    optional={
        "output_index": _mostly(st.integers(0, 3)),
        "summary_index": JSON,
        "delta": _mostly(st.text(max_size=4)),
        "item": _mostly(ITEMS),
        "response": _mostly(RESPONSES),
    },
)


def outcome(pieces: list[bytes]) -> list[Event] | str:
    events: deque[Event] = deque()
    parser = ResponseParser(ResponseReader(WireNames(), "o"), answer_error)
    try:
        for piece in pieces:
            if not parser.complete:
                parser.feed(piece, events)
        if not parser.complete:
            parser.close(events)
    except GleitzeitError as error:
        fold(events)
        return f"{type(error).__name__}: {error}"
    return list(events)


@settings(max_examples=300, deadline=None)
@given(frames=st.lists(_mostly(FRAMES), max_size=6), size=st.integers(1, 9))
def test_streams(frames: list[Any], size: int) -> None:
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames).encode()
    found = outcome([body])
    if isinstance(found, list):
        assert [type(event) for event in found].count(Finished) == 1
        assert isinstance(found[-1], Finished)
        fold(found)
    again = outcome([body[start : start + size] for start in range(0, len(body), size)])
    if b"call" not in body:  # a call without an id is given one, each time another
        assert again == found


@settings(max_examples=200, deadline=None)
@given(body=_mostly(RESPONSES))
def test_whole_answers(body: Any) -> None:
    events: deque[Event] = deque()
    try:
        ResponseParser(ResponseReader(WireNames(), "o"), answer_error).whole(
            json.dumps(body).encode(), events
        )
    except GleitzeitError:
        return
    assert isinstance(events[-1], Finished)
    fold(events)


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=40))
def test_bytes(body: bytes) -> None:
    assert isinstance(outcome([body]), str)
