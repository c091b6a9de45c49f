"""What is sent: strictly what the API publishes, whatever the conversation."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_openai import OpenAIConfig
from gleitzeit_plugin_openai.bodies import chat_body

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    AudioPart,
    Chat,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    ResponseSchema,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames

OFFICIAL = OpenAIConfig()
COMPATIBLE = OpenAIConfig(base_url="http://localhost:8000/v1")
PNG = b"\x89PNG\r\n\x1a\n"


def body(
    chat: Chat, config: OpenAIConfig = OFFICIAL, *, stream: bool = False, model: str = "m"
) -> dict[str, Any]:
    """The body as the server would decode it."""
    sent = msgspec.json.encode(chat_body(chat, model, stream, config, WireNames()))
    decoded: dict[str, Any] = json.loads(sent)
    return decoded


def turns(*messages: Message, config: OpenAIConfig = OFFICIAL) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(Chat(messages), config)["messages"]
    return found


def test_plain_text_travels_as_a_string() -> None:
    assert turns(Message.system("be brief"), Message.user("hi"), Message.assistant("ho")) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
    ]


def test_the_system_role_is_configurable() -> None:
    config = OpenAIConfig(system_role="developer")
    assert turns(Message.system("x"), Message.user("y"), config=config)[0]["role"] == "developer"


def test_several_and_late_system_turns_can_be_merged() -> None:
    conversation = (Message.system("a"), Message.user("x"), Message.system("b"))
    assert [turn["role"] for turn in turns(*conversation)] == ["system", "user", "system"]
    merged = turns(*conversation, config=OpenAIConfig(merge_system=True))
    assert merged == [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "x"}]


def test_pictures_travel_by_address_or_as_data() -> None:
    (turn,) = turns(
        Message.user(["see", ImagePart(url="https://example.org/a.png", detail="low"), ImagePart(data=PNG)])
    )
    assert turn["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]


def test_sound_and_files_travel_where_the_wire_has_them() -> None:
    (turn,) = turns(
        Message.user(
            [
                AudioPart(data=b"x", media_type="audio/wav"),
                AudioPart(data=b"x", media_type="audio/mpeg"),
                FilePart(data=b"%PDF", media_type="application/pdf", name="a.pdf"),
                FilePart(file_id="file-1"),
            ]
        )
    )
    assert turn["content"] == [
        {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "eA==", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]


def test_more_stop_sequences_than_the_vendor_takes_are_not_sent() -> None:
    many = Chat("x", stop=("a", "b", "c", "d", "e"))
    with pytest.raises(InvalidRequestError, match="4 stop sequences, not 5"):
        body(many, OFFICIAL)
    assert len(body(many, COMPATIBLE)["stop"]) == 5


@pytest.mark.parametrize(
    "message",
    [
        Message.user(AudioPart(url="https://example.org/a.wav", media_type="audio/wav")),
        Message.user(AudioPart(data=b"x", media_type="audio/flac")),
        Message.user(FilePart(url="https://example.org/a.pdf")),
        Message.system(ImagePart(url="https://example.org/a.png")),
        Message.assistant(ImagePart(url="https://example.org/a.png")),
        Message.tool(ToolResultPart("1", parts=ImagePart(data=PNG))),
    ],
)
def test_what_the_wire_cannot_carry_is_refused(message: Message) -> None:
    with pytest.raises(UnsupportedError):
        turns(message)


@pytest.mark.parametrize(
    "message",
    [
        Message.user(ImagePart()),
        Message.user(ImagePart(data=b"?")),
        Message.user(ToolCallPart.parse("1", "f", "{}")),
        Message.tool(TextPart("x")),  # type: ignore[arg-type]  # the fault under test
    ],
)
def test_what_is_no_sense_is_refused(message: Message) -> None:
    with pytest.raises(InvalidRequestError):
        turns(message)


def test_a_chat_without_messages_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="at least one message"):
        body(Chat([]))


def test_calls_and_results_one_message_each() -> None:
    found = turns(
        Message.user("x"),
        Message.assistant(
            [ToolCallPart.parse("1", "git/log", '{"n": 1}'), ToolCallPart.parse("2", "time", "")]
        ),
        Message.tool(ToolResultPart("1", parts=["a", "b"]), ToolResultPart("2", is_error=True, parts="no")),
    )
    assert found[1] == {
        "role": "assistant",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "git__log", "arguments": '{"n": 1}'}},
            {"id": "2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    }
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "1", "content": "ab"},
        {"role": "tool", "tool_call_id": "2", "content": "no"},
    ]


def test_results_in_a_user_turn_come_before_its_text() -> None:
    assert [turn["role"] for turn in turns(Message.user(["more", ToolResultPart("1", parts="a")]))] == [
        "tool",
        "user",
    ]


@pytest.mark.parametrize(
    "call, sent",
    [
        (ToolCallPart("1", name="f", arguments={"a": "ü"}), '{"a": "ü"}'),
        (ToolCallPart("1", name="f", arguments={"a": 1}, raw='{ "a":1 }'), '{ "a":1 }'),
        (ToolCallPart("1", name="f", arguments=None, raw='{"a": '), '{"a": '),
        (ToolCallPart("1", name="f", arguments=None), "{}"),
    ],
)
def test_arguments_are_text_and_kept_as_they_came(call: ToolCallPart, sent: str) -> None:
    assert turns(Message.assistant(call))[0]["tool_calls"][0]["function"]["arguments"] == sent


def test_content_is_absent_beside_calls_and_never_null() -> None:
    call = ToolCallPart.parse("1", "f", "{}")
    assert "content" not in turns(Message.assistant(call))[0]
    assert turns(Message.assistant(["text", call]))[0]["content"] == "text"
    assert turns(Message.assistant([]))[0]["content"] == ""


def test_thinking_of_others_is_dropped_and_never_shown_as_text() -> None:
    foreign = ThinkingPart("secret thought", provider_state=ProviderState("anthropic", data="sig"))
    assert turns(Message.assistant([foreign, ThinkingPart("bare"), "answer"])) == [
        {"role": "assistant", "content": "answer"}
    ]


def test_empty_texts_are_dropped_between_parts() -> None:
    (turn,) = turns(Message.user([TextPart(""), TextPart("a"), TextPart("")]))
    assert turn["content"] == "a"
    assert turns(Message.user(""))[0]["content"] == ""


def test_names_of_speakers_are_sent() -> None:
    assert turns(Message("user", "x", name="ada"))[0]["name"] == "ada"


def test_tools_have_a_schema_that_is_complete() -> None:
    sent = body(Chat("x", tools=(Tool("a/b", description="d"), Tool("c"))))["tools"]
    empty = {"type": "object", "properties": {}}
    assert sent == [
        {"type": "function", "function": {"name": "a__b", "description": "d", "parameters": empty}},
        {"type": "function", "function": {"name": "c", "parameters": empty}},
    ]


@pytest.mark.parametrize(
    "choice, sent",
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("a/b", {"type": "function", "function": {"name": "a__b"}}),
    ],
)
def test_tool_choice(choice: str, sent: Any) -> None:
    assert body(Chat("x", tools=(Tool("a/b"),), tool_choice=choice)).get("tool_choice") == sent


def test_tool_choice_without_tools() -> None:
    assert "tool_choice" not in body(Chat("x", tool_choice="none"))
    for choice in ("required", "a/b"):
        with pytest.raises(InvalidRequestError, match="tool_choice"):
            body(Chat("x", tool_choice=choice))


def test_parallel_calls_are_only_spoken_of_where_there_are_tools() -> None:
    assert body(Chat("x", tools=(Tool("a"),), parallel_tool_calls=False))["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in body(Chat("x", parallel_tool_calls=False))


def test_the_output_limit_has_the_name_that_the_server_knows() -> None:
    chat = Chat("x", max_tokens=5)
    assert body(chat, OFFICIAL)["max_completion_tokens"] == 5
    assert body(chat, COMPATIBLE)["max_tokens"] == 5
    chosen = OpenAIConfig(base_url="http://localhost/v1", max_tokens_field="max_completion_tokens")
    assert body(chat, chosen)["max_completion_tokens"] == 5


def test_a_schema_for_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    sent = body(Chat("x", response_schema=ResponseSchema(schema, name="my answer", strict=False)))
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "my_answer", "strict": False, "schema": schema},
    }


def test_sampling_fields_are_left_out_unless_given() -> None:
    assert set(body(Chat("x"))) == {"model", "messages", "stream"}
    full = body(Chat("x", temperature=0.0, top_p=1.0, stop=("a",), seed=7, reasoning="low"))
    assert (full["temperature"], full["top_p"], full["stop"], full["seed"], full["reasoning_effort"]) == (
        0.0,
        1.0,
        ["a"],
        7,
        "low",
    )


def test_streams_ask_for_usage_and_of_openai_for_no_padding() -> None:
    assert body(Chat("x"), stream=True)["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    assert body(Chat("x"), COMPATIBLE, stream=True)["stream_options"] == {"include_usage": True}
