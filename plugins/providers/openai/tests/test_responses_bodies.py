"""Bodies of the Responses API: strictly what is published, whatever the conversation."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_openai import OpenAIConfig
from gleitzeit_plugin_openai.responses.bodies import needs_chat, response_body, response_owner

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import (
    Chat,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    ResponseSchema,
    TextPart,
    ThinkingPart,
    Tool,
)
from gleitzeit.wire.names import WireNames

OFFICIAL = OpenAIConfig()
OWNER = response_owner(OFFICIAL, "m")
PNG = b"\x89PNG\r\n\x1a\n"


def body(chat: Chat, config: OpenAIConfig = OFFICIAL, *, stream: bool = False) -> dict[str, Any]:
    """The body as the server would decode it."""
    sent = msgspec.json.encode(response_body(chat, "m", stream, config, WireNames()))
    decoded: dict[str, Any] = json.loads(sent)
    return decoded


def items(*messages: Message, config: OpenAIConfig = OFFICIAL) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(Chat(messages), config)["input"]
    return found


def test_turns_are_messages_with_their_type() -> None:
    assert items(Message.system("be brief"), Message.user("hi"), Message.assistant("ho")) == [
        {"type": "message", "role": "system", "content": "be brief"},
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "message", "role": "assistant", "content": "ho"},
    ]
    merged = OpenAIConfig(merge_system=True, system_role="developer")
    turns = items(Message.system("a"), Message.user("x"), Message.system("b"), config=merged)
    assert [(turn["role"], turn["content"]) for turn in turns] == [("developer", "a\n\nb"), ("user", "x")]


def test_pictures_and_files() -> None:
    (turn,) = items(
        Message.user(
            [
                ImagePart(url="https://example.org/a.png", detail="low"),
                ImagePart(data=PNG),
                FilePart(data=b"%PDF", name="a.pdf"),
                FilePart(file_id="file-1"),
                FilePart(url="https://example.org/a.pdf"),
            ]
        )
    )
    assert turn["content"] == [
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    ]


def test_tools_are_flat_and_a_schema_stands_in_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = (Tool("a/b", description="d"),)
    sent = body(Chat("x", tools=tools, tool_choice="a/b", response_schema=ResponseSchema(schema)))
    empty = {"type": "object", "properties": {}}
    assert sent["tools"] == [
        {"type": "function", "name": "a__b", "description": "d", "parameters": empty, "strict": False}
    ]
    assert sent["tool_choice"] == {"type": "function", "name": "a__b"}
    assert sent["text"] == {
        "format": {"type": "json_schema", "name": "answer", "strict": True, "schema": schema}
    }


def test_sampling_and_limits() -> None:
    assert set(body(Chat("x"))) == {"model", "input", "stream", "store", "include"}
    sent = body(Chat("x", max_tokens=16, temperature=0.0, top_p=1.0, reasoning="low"), stream=True)
    assert (sent["max_output_tokens"], sent["temperature"], sent["top_p"]) == (16, 0.0, 1.0)
    assert (sent["reasoning"], sent["stream_options"]) == ({"effort": "low"}, {"include_obfuscation": False})


def test_an_output_limit_that_the_vendor_refuses_is_not_sent() -> None:
    short = Chat("x", max_tokens=15)
    with pytest.raises(InvalidRequestError, match="at least 16"):
        body(short)
    assert needs_chat(short)  # with api = "auto", chat completions carry it
    assert body(short, OpenAIConfig(base_url="http://localhost:8000/v1"))["max_output_tokens"] == 15


def test_reasoning_is_not_asked_for_where_it_is_not_given_back_or_stored() -> None:
    assert "include" not in body(Chat("x"), OpenAIConfig(return_reasoning=False))
    stored = body(Chat("x", options={"openai": {"store": True}}))
    assert (stored["store"], "include" in stored) == (True, False)


@pytest.mark.parametrize(
    "message",
    [
        Message.user(ImagePart()),
        Message.user(FilePart()),
        Message.user(ThinkingPart("x")),
        Message.tool(TextPart("x")),  # type: ignore[arg-type]  # the fault under test
    ],
)
def test_what_is_no_sense_is_refused(message: Message) -> None:
    with pytest.raises(InvalidRequestError):
        items(message)


def test_state_of_others_is_dropped_alone() -> None:
    foreign = ProviderState("anthropic", data="sig")
    turn = Message.assistant([
        ThinkingPart("thought", provider_state=foreign),
        ImagePart(data=PNG, provider_state=foreign),
        TextPart("said", provider_state=foreign),
    ])  # fmt: skip
    assert items(turn) == [{"type": "message", "role": "assistant", "content": "said"}]
