"""The fake says what the published specification allows, and nothing on the wire breaks our parser."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.stream import MessageParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import strategies as some
from gleitzeit.testing.anthropic_server import Answer, problem
from gleitzeit.testing.anthropic_server.shapes import events, message
from gleitzeit.values import Event
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

ASKED: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {
    "input_tokens": 1,
    "output_tokens": 2,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": None,
    "inference_geo": None,
    "server_tool_use": None,
    "service_tier": "standard",
}
TOLD = {"stop_details": None, "container": None}
quiet = settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 2}, "temperature"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"stream": 1}, "stream"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": " "}]}, "non-whitespace"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "Input tag"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}]},
            "signature",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
            "unexpected",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools.0.name"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tool_choice": {"type": "any"}}, "providing tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "max_tokens"),
    ],
)
def test_the_fake_refuses_what_the_vendor_refuses(change: dict[str, Any], told: str) -> None:
    assert problem(ASKED) is None
    assert told in (problem({**ASKED, **change}) or "")


def test_calls_must_be_answered_at_once() -> None:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": "y"},
    ]
    assert "without `tool_result`" in (problem({**ASKED, "messages": turns}) or "")


def parsed(data: bytes, *, stream: bool) -> None:
    """Parse; whatever comes, only errors of ours may be raised."""
    found: deque[Event] = deque()
    reader = AnswerReader(WireNames(), "anthropic")
    try:
        if stream:
            parser = MessageParser(reader, answer_error)
            parser.feed(data, found)
            if not parser.complete:
                parser.close(found)
        else:
            MessageParser(reader, answer_error).whole(data, found)
    except GleitzeitError:
        return
    assert found[-1].type == "finished"


RICH = message(
    Answer(
        "text",
        thinking="hm",
        blocks=(
            {"type": "text", "text": "c", "citations": [{}]},
            {"type": "server_tool_use", "input": {"a": 1}},
        ),
        calls=({"name": "f", "input": {"x": 1}},),
    ),
    ASKED,
    1,
)


@quiet
@given(data=st.data(), stream=st.booleans())
def test_whatever_stands_in_a_field_only_our_errors_come(data: Any, stream: bool) -> None:
    shaped = list(events(RICH)) if stream else [RICH]
    place = data.draw(st.integers(0, len(shaped) - 1))
    broken: Any = json.loads(json.dumps(shaped[place]))
    spot = broken
    while True:
        key = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
        inner = spot[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        spot = inner
    spot[key] = data.draw(some.json_values())
    shaped[place] = broken
    text = "".join(f"data: {json.dumps(each)}\n\n" for each in shaped) if stream else json.dumps(broken)
    parsed(text.encode(), stream=stream)


@quiet
@given(data=st.binary(max_size=60), stream=st.booleans())
def test_whatever_bytes_come_only_our_errors_do(data: bytes, stream: bool) -> None:
    parsed(data, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_nested_without_end_is_malformed(stream: bool) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    block = f'{{"type": "tool_use", "id": "a", "name": "f", "input": {{"x": {deep}}}}}'
    whole = f'{{"content": [{block}]}}'
    start = f'data: {{"type": "content_block_start", "index": 0, "content_block": {block}}}\n\n'
    parsed((start if stream else whole).encode(), stream=stream)
