"""What is sent: strictly what the API publishes, whatever the conversation."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_ollama import OllamaConfig
from gleitzeit_plugin_ollama.bodies import chat_body

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    AudioPart,
    Chat,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames

PLAIN = OllamaConfig()
FULL = OllamaConfig(num_ctx=99, keep_alive=60, think="low", options={"top_k": 3, "temperature": 0.1})
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = Tool("weather", input_schema={"type": "object"})


def body(chat: Chat, config: OllamaConfig = PLAIN, *, stream: bool = False) -> dict[str, Any]:
    """The body as the server would decode it."""
    decoded: dict[str, Any] = json.loads(
        msgspec.json.encode(chat_body(chat, "m", stream, config, WireNames()))
    )
    return decoded


def turns(*messages: Message) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(Chat(messages))["messages"]
    return found


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    assert body(Chat("x")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": False,
    }


def test_the_nearest_word_on_an_option_wins() -> None:
    own: dict[str, dict[str, Any]] = {
        "ollama": {"think": False, "logprobs": True, "options": {"top_k": 5, "num_ctx": 7}},
        "other": {"x": 1},
    }
    chat = Chat(
        "x", temperature=0.5, top_p=0.9, seed=1, stop=("a",), max_tokens=3, reasoning="high", options=own
    )
    assert body(chat, FULL, stream=True) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "think": False,
        "logprobs": True,
        "keep_alive": "60s",
        "options": {
            "top_k": 5,
            "temperature": 0.5,
            "num_ctx": 7,
            "num_predict": 3,
            "top_p": 0.9,
            "seed": 1,
            "stop": ["a"],
        },
    }


@pytest.mark.parametrize(
    "word, sent", [("low", "low"), ("max", "max"), ("none", False), ("off", False), ("on", True)]
)
def test_reasoning_is_think(word: str, sent: Any) -> None:
    assert body(Chat("x", reasoning=word), FULL)["think"] == sent


def test_pictures_travel_as_data() -> None:
    found = turns(
        Message.user(["see ", ImagePart(data=PNG), ImagePart(url="data:image/png;base64,eA=="), "this"]),
        Message.tool(ToolResultPart("1", name="git/shot", parts=["done", ImagePart(data=b"x")])),
    )
    assert found == [
        {"role": "user", "content": "see this", "images": ["iVBORw0KGgo=", "eA=="]},
        {
            "role": "tool",
            "content": "done",
            "images": ["eA=="],
            "tool_name": "git__shot",
            "tool_call_id": "1",
        },
    ]


def test_results_travel_with_the_name_of_their_call_and_before_what_is_said() -> None:
    call = ToolCallPart.parse("1", "git/log", '{"n": 1}')
    found = turns(
        Message.assistant(["Look.", call]), Message.user(["and?", ToolResultPart("1", parts="a commit")])
    )
    assert found[0]["tool_calls"] == [{"id": "1", "function": {"name": "git__log", "arguments": {"n": 1}}}]
    assert [(turn["role"], turn["content"], turn.get("tool_name")) for turn in found[1:]] == [
        ("tool", "a commit", "git__log"),
        ("user", "and?", None),
    ]


def test_thinking_of_others_is_dropped_alone() -> None:
    foreign = ThinkingPart("secret thought", provider_state=ProviderState("anthropic", data="sig"))
    assert turns(Message.assistant([foreign, "ho"])) == [{"role": "assistant", "content": "ho"}]


def test_arguments_that_are_no_object_travel_as_an_empty_one() -> None:
    (turn,) = turns(Message.assistant(ToolCallPart.parse("1", "f", '{"broken')))
    assert turn["tool_calls"][0]["function"]["arguments"] == {}


@pytest.mark.parametrize(
    "chat",
    [
        Chat(Message.user(ImagePart(url="https://example.org/a.png"))),
        Chat(Message.user(AudioPart(data=b"x", media_type="audio/wav"))),
        Chat(Message.user(FilePart(data=b"x"))),
        Chat(Message.system(ImagePart(data=PNG))),
        Chat("x", tools=[WEATHER], tool_choice="required"),
        Chat("x", tools=[WEATHER], tool_choice="weather"),
        Chat("x", tools=[WEATHER], parallel_tool_calls=False),
        Chat("x", reasoning="very much"),
    ],
)
def test_what_the_wire_cannot_carry_is_refused(chat: Chat) -> None:
    with pytest.raises(UnsupportedError):
        body(chat)


@pytest.mark.parametrize(
    "chat",
    [
        Chat([]),
        Chat(Message.user(ImagePart())),
        Chat(Message.user(ImagePart(data=b""))),
        Chat(Message.user(ImagePart(url="data:image/png;base64,???"))),
        Chat(Message.user(ToolCallPart.parse("1", "f", "{}"))),
        Chat(Message.tool(TextPart("x"))),  # type: ignore[arg-type]  # the fault under test
        Chat("x", tool_choice="required"),
        Chat("x", tools=[WEATHER], tool_choice="other"),
        Chat("x", options={"ollama": {"model": "another"}}),
        Chat("x", options={"ollama": {"options": 3}}),
        Chat("x", options={"ollama": {"keep_alive": "soon"}}),
    ],
)
def test_what_is_no_sense_is_refused(chat: Chat) -> None:
    with pytest.raises(InvalidRequestError):
        body(chat)


def test_tools_are_left_out_where_none_may_be_called() -> None:
    assert "tools" not in body(Chat("x", tools=[WEATHER], tool_choice="none"))
    (tool,) = body(Chat("x", tools=[WEATHER], parallel_tool_calls=True))["tools"]
    assert tool["function"]["parameters"] == {"type": "object", "properties": {}}
