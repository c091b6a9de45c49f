"""The Responses API of the scripted server: what it refuses, and that its stream says what its body says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gleitzeit.testing.openai_server import Answer
from gleitzeit.testing.openai_server.responses import as_chat, problem, response, response_events

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "x"}
USER = {"type": "message", "role": "user", "content": "hi"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize("items", ["hi", [USER], [USER, CALL, OUTPUT], [USER, THOUGHT, CALL, OUTPUT]])
def test_good_requests(items: Any) -> None:
    assert problem({"model": "m", "input": items, "store": False, "temperature": 1}) is None


@pytest.mark.parametrize(
    "body, why",
    [
        (None, "JSON"),
        ({"input": "x"}, "'model'"),
        ({"model": "m", "input": []}, "'input'"),
        ({"model": "m", "input": "x", "messages": []}, "Unrecognized"),
        ({"model": "m", "input": "x", "temperature": True}, "Invalid type"),
        ({"model": "m", "input": "x", "tools": [{"type": "function", "name": "f"}]}, r"tools\[0\]"),
        ({"model": "m", "input": [{"role": "user", "content": "x"}]}, r"input\[0\]"),
        ({"model": "m", "input": [{**USER, "role": "robot"}]}, "role"),
        ({"model": "m", "input": [{**USER, "content": [{"type": "output_text", "text": ""}]}]}, "content"),
        ({"model": "m", "input": [CALL, USER]}, "No tool output"),
        ({"model": "m", "input": [OUTPUT]}, "No tool call"),
        ({"model": "m", "input": [{**CALL, "arguments": {}}, OUTPUT]}, r"input\[0\]"),
        ({"model": "m", "input": [THOUGHT, USER]}, "following item"),
        ({"model": "m", "input": [USER, THOUGHT]}, "following item"),
    ],
)
def test_what_is_refused(body: Any, why: str) -> None:

    assert re.search(why, problem(body) or "")


def test_the_script_reads_items_as_messages() -> None:
    chat = as_chat({"model": "m", "input": [USER, CALL, OUTPUT]})
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "tool"]


def test_a_stream_ends_with_the_whole_response() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"content": "Hello, you.", "reasoning_content": "hm", "tool_calls": [call]}
    completion = {
        "id": "fake-1",
        "model": "m",
        "choices": [{"message": message, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    whole = response(completion)
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]
    assert (whole["status"], whole["usage"]["input_tokens"]) == ("incomplete", 1)
    events = response_events(whole, Answer())
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"] == whole
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert said == "Hello, you."
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
