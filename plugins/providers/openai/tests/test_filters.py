"""Thinking and calls that are left in the text, taken out by choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI
from gleitzeit_plugin_openai.filters import Filter, TextCalls, ThinkTags
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat, Reply, Stream, Tool

Found = dict[str, str]


def run(filter_: Filter, *pieces: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Text, thinking and calls."""
    segments = [segment for piece in pieces for segment in filter_.feed(piece)] + filter_.close()
    text = "".join(segment.text for segment in segments if segment.kind == "text")
    thinking = "".join(segment.text for segment in segments if segment.kind == "thinking")
    return text, thinking, [(segment.name, segment.text) for segment in segments if segment.kind == "call"]


THOUGHTS = [
    ("<think>\nlet me see\n</think>\n\n42", "42", "let me see"),
    ("  \n<think>a</think>b", "b", "a"),
    ("<think></think>b", "b", ""),
    ("<think>\n\n</think>\n\nb", "b", ""),
    ("<think>never closed", "", "never closed"),
    ("no thinking", "no thinking", ""),
    (" leading blank", " leading blank", ""),
    ("   ", "   ", ""),
    ("say <think> aloud</think>", "say <think> aloud</think>", ""),
    ("<think>a</think>b <think>c</think>", "b <think>c</think>", "a"),
    ("<thin", "<thin", ""),
    ("<thinking>x", "<thinking>x", ""),
    ("<think>a < b </thin k</think>c", "c", "a < b </thin k"),
    ("<think>a\n\nb</think> c  d ", "c  d ", "a\n\nb"),
    ("", "", ""),
]


@pytest.mark.parametrize("text, answer, thinking", THOUGHTS)
def test_thinking_in_tags(text: str, answer: str, thinking: str) -> None:
    assert run(ThinkTags(), text) == (answer, thinking, [])
    assert run(ThinkTags(), *text) == (answer, thinking, [])


def test_thinking_whose_first_tag_the_template_wrote() -> None:
    for pieces in (["hm\n</think>\n42"], list("hm\n</think>\n42")):
        assert run(ThinkTags(open=True), *pieces) == ("42", "hm", [])


ONE = '<tool_call>\n{"name": "f", "arguments": {"city": "Paris"}}\n</tool_call>'
CALLS = [
    ("hermes", ONE, "", [("f", '{"city": "Paris"}')]),
    ("hermes", f"{ONE}\n{ONE}", "", [("f", '{"city": "Paris"}')] * 2),
    ("hermes", f"Let me look.\n{ONE}\n", "Let me look.", [("f", '{"city": "Paris"}')]),
    ("hermes", ONE.removesuffix("</tool_call>"), "", [("f", '{"city": "Paris"}')]),
    ("hermes", '<tool_call>{"name": "f"}</tool_call>', "", [("f", "{}")]),
    ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("f", '{"a": 1}')]),
    ("hermes", "<tool_call>{broken</tool_call> x", "<tool_call>{broken</tool_call> x", []),
    ("hermes", '<tool_call>{"no": "name"}</tool_call>', '<tool_call>{"no": "name"}</tool_call>', []),
    ("hermes", "plain <tool> text ", "plain <tool> text ", []),
    ("hermes", "<tool_c", "<tool_c", []),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, {"name": "g"}]',
        "",
        [("f", '{"a": 1}'), ("g", "{}")],
    ),
    ("mistral", "[TOOL_CALLS]no", "[TOOL_CALLS]no", []),
]


@pytest.mark.parametrize("style, text, answer, calls", CALLS)
def test_calls_in_text(style: str, text: str, answer: str, calls: list[tuple[str, str]]) -> None:
    assert run(TextCalls(style), text) == (answer, "", calls)
    assert run(TextCalls(style), *text) == (answer, "", calls)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "think", ">", " ", "\n", "a"]), max_size=14),
    st.data(),
)
def test_cutting_changes_nothing(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for open in (False, True):
        assert run(ThinkTags(open=open), *pieces) == run(ThinkTags(open=open), text)


@given(
    st.lists(st.sampled_from([ONE, "<tool_call>", "</tool_call>", "{", " ", "\n", "a", "<"]), max_size=8),
    st.data(),
)
def test_cutting_calls_changes_nothing(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert run(TextCalls("hermes"), *pieces) == run(TextCalls("hermes"), text)


@pytest.mark.parametrize("stream", [False, True])
async def test_both_are_taken_out_of_an_answer(
    make: Callable[..., OpenAI], server: OpenAIServer, stream: bool
) -> None:
    text = "<think>\nhm\n</think>\n\n" + ONE.replace('"f"', '"weather__now"')
    server.answers.append(Answer(text, finish_reason="stop"))
    provider = make(thinking="tags", tool_calls="hermes")
    chat = Chat("x", tools=(Tool("weather/now"),))
    answer = await provider.call(chat.to("scripted-echo", stream=stream))
    reply = await answer.collect() if isinstance(answer, Stream) else answer
    (call,) = reply.tool_calls
    assert (reply.text, reply.thinking, reply.finish_reason) == ("", "hm", "tool_calls")
    assert (call.name, call.arguments) == ("weather/now", {"city": "Paris"})
    assert call.id


@pytest.mark.parametrize("config", [{}, {"tool_calls": "hermes"}])
async def test_by_default_and_without_tools_text_is_text(
    make: Callable[..., OpenAI], server: OpenAIServer, config: dict[str, Any]
) -> None:
    text = f"<think>hm</think>{ONE}"
    server.answers.append(Answer(text))
    reply = await make(**config).call(Chat("x").to("scripted-echo"))
    assert isinstance(reply, Reply)
    assert reply.text == text
