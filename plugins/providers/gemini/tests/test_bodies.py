"""What is sent: strictly what the API publishes, whatever the conversation."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_gemini import GeminiConfig
from gleitzeit_plugin_gemini.bodies import chat_body

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.testing.gemini_server import problem
from gleitzeit.values import (
    AudioPart,
    Chat,
    FilePart,
    ImagePart,
    Message,
    Part,
    ResponseSchema,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames

GEMINI = GeminiConfig()
VERTEX = GeminiConfig(project="p")
OPENAPI = GeminiConfig(schemas="openapi")
CALLING = {"streamFunctionCallArguments": True}
PNG = b"\x89PNG\r\n\x1a\n"


def body(chat: Chat, config: GeminiConfig = GEMINI) -> dict[str, Any]:
    """The body as the server would decode it."""
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(chat_body(chat, "m", config, WireNames())))
    return decoded


def contents(*messages: Message, config: GeminiConfig = GEMINI) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(Chat(messages), config)["contents"]
    return found


def part(given: Part, config: GeminiConfig = GEMINI) -> dict[str, Any]:
    """A part of a user turn."""
    found: dict[str, Any] = contents(Message.user([given]), config=config)[0]["parts"][0]
    return found


def test_system_turns_stand_apart_wherever_they_are() -> None:
    turns = [Message.system("one"), Message.user("a"), Message.system("two"), Message.user("b")]
    assert body(Chat(turns)) == {
        "contents": [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}],
        "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]},
    }


def test_empty_texts_and_turns_are_left_out() -> None:
    turns = [Message.user(["", "a"]), Message.assistant(""), Message.user("")]
    assert contents(*turns) == [{"role": "user", "parts": [{"text": "a"}]}]


@pytest.mark.parametrize("messages", [[], [Message.system("x")], [Message.user("")]])
def test_nothing_to_answer_is_refused(messages: list[Message]) -> None:
    with pytest.raises(InvalidRequestError, match="at least one message"):
        body(Chat(messages))


def test_sampling_and_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}},
        "$defs": {"x": {"type": "string"}},
    }
    chat = Chat(
        "hi",
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=["x"],
        seed=4,
        response_schema=ResponseSchema(schema),
    )
    assert body(chat)["generationConfig"] == {
        "maxOutputTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["x"],
        "seed": 4,
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert body(chat, OPENAPI)["generationConfig"]["responseSchema"] == {
        "type": "OBJECT",
        "properties": {"a": {"type": "STRING"}},
    }


def test_tools_in_both_dialects() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    tools = [Tool("git/log", description="d", input_schema=schema), Tool("now")]
    assert body(Chat("hi", tools=tools))["tools"] == [
        {
            "functionDeclarations": [
                {"name": "git__log", "description": "d", "parametersJsonSchema": schema},
                {"name": "now", "description": "", "parametersJsonSchema": {"type": "object"}},
            ]
        }
    ]
    assert body(Chat("hi", tools=tools), OPENAPI)["tools"][0]["functionDeclarations"] == [
        {
            "name": "git__log",
            "description": "d",
            "parameters": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}},
        },
        {"name": "now", "description": ""},
    ]


@pytest.mark.parametrize(
    "choice, calling",
    [
        ("auto", None),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("git/log", {"mode": "ANY", "allowedFunctionNames": ["git__log"]}),
    ],
)
def test_tool_choice(choice: str, calling: Any) -> None:
    sent = body(Chat("hi", tools=[Tool("git/log")], tool_choice=choice))
    assert sent.get("toolConfig", {}).get("functionCallingConfig") == calling


@pytest.mark.parametrize(
    "chat",
    [
        Chat("hi", tool_choice="required"),
        Chat("hi", tools=[Tool("a")], tool_choice="b"),
        Chat("hi", stop=("",)),
        Chat(Message.user([ThinkingPart("x")])),
        Chat([Message.user("a"), Message.assistant([ToolResultPart("x")])]),
        Chat(Message("tool", [TextPart("x")])),
        Chat(Message.tool(ToolResultPart("nobody"))),
        Chat(Message.user([ImagePart()])),
        Chat(Message.user([ImagePart(data=b"what is it")])),
        Chat(Message.user([ImagePart(url="data:image/png;base64,%%%")])),
        Chat("hi", options={"gemini": {"contents": []}}),
        Chat("hi", temperature=1, options={"gemini": {"generationConfig": {"temperature": 0}}}),
        Chat("hi", options={"gemini": {"tools": [{"functionDeclarations": []}]}}),
        Chat("hi", options={"gemini": {"generationConfig": 5}}),
    ],
)
def test_what_breaks_a_rule_is_refused_before_it_is_sent(chat: Chat) -> None:
    with pytest.raises(InvalidRequestError):
        body(chat)


@pytest.mark.parametrize(
    "chat",
    [
        Chat("hi", tools=[Tool("a")], parallel_tool_calls=False),
        Chat("hi", reasoning="ultra"),
        Chat("hi", options={"gemini": {"generationConfig": {"candidateCount": 2}}}),
        Chat("x", options={"gemini": {"toolConfig": {"functionCallingConfig": CALLING}}}),
        Chat(Message.system([ImagePart(url="https://x.example/a.png")])),
        Chat(Message.user([ImagePart(url="ftp://x.example/a.png")])),
    ],
)
def test_what_the_wire_cannot_carry_is_unsupported(chat: Chat) -> None:
    with pytest.raises(UnsupportedError):
        body(chat)


def test_vertex_keeps_no_uploads() -> None:
    with pytest.raises(UnsupportedError, match="uploads"):
        part(FilePart(file_id="files/a"), VERTEX)


@pytest.mark.feature("S004-10")
@pytest.mark.parametrize(
    "given, sent",
    [
        (ImagePart(data=PNG), {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}),
        (
            AudioPart(data=b"RIFF....WAVE"),
            {"inlineData": {"mimeType": "audio/wav", "data": "UklGRi4uLi5XQVZF"}},
        ),
        (FilePart(data=b"a,b", name="x.csv"), {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}}),
        (
            FilePart(data=b"x", media_type="video/mp4"),
            {"inlineData": {"mimeType": "video/mp4", "data": "eA=="}},
        ),
        (
            ImagePart(url="data:image/gif;base64,R0lG"),
            {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
        ),
        (
            ImagePart(url="https://x.example/a.jpg?b=1"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.example/a.jpg?b=1"}},
        ),
        (FilePart(url="https://youtu.be/abc"), {"fileData": {"fileUri": "https://youtu.be/abc"}}),
        (
            FilePart(url="gs://b/a", media_type="video/mp4"),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/a"}},
        ),
        (
            FilePart(file_id="files/abc", media_type="application/pdf"),
            {
                "fileData": {
                    "mimeType": "application/pdf",
                    "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                }
            },
        ),
    ],
)
def test_media(given: Part, sent: dict[str, Any]) -> None:
    assert part(given) == sent


def test_detail_is_sent_where_it_is_configured() -> None:
    picture = ImagePart(data=PNG, detail="low")
    assert "mediaResolution" not in part(picture)
    config = GeminiConfig(part_resolution=True)
    assert part(picture, config)["mediaResolution"] == {"level": "MEDIA_RESOLUTION_LOW"}


@pytest.mark.parametrize(
    "result, response",
    [
        (ToolResultPart("a", parts="plain"), {"output": "plain"}),
        (ToolResultPart("a", parts='{"t": [1.50]}'), {"output": {"t": [1.5]}}),
        (ToolResultPart("a", parts='[1, "x"]'), {"output": [1, "x"]}),
        (ToolResultPart("a", parts="{broken"), {"output": "{broken"}),
        (ToolResultPart("a", parts="boom", is_error=True), {"error": "boom"}),
        (ToolResultPart("a"), {"output": ""}),
    ],
)
def test_results(result: ToolResultPart, response: Any) -> None:
    turns = contents(
        Message.user("x"), Message.assistant(ToolCallPart("a", name="f", arguments={})), Message.tool(result)
    )
    assert turns[2]["parts"] == [{"functionResponse": {"name": "f", "response": response}}]


@pytest.mark.parametrize("where", ["inside", "after"])
def test_pictures_of_results(where: str) -> None:
    config = GeminiConfig.model_validate({"tool_media": where})
    turns = contents(
        Message.user("x"),
        Message.assistant([ToolCallPart(id, name="f", arguments={}) for id in "ab"]),
        Message.tool(ToolResultPart("a", parts=[ImagePart(data=PNG)]), ToolResultPart("b", parts="t")),
        config=config,
    )
    blob = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    first: dict[str, Any] = {"name": "f", "response": {}}
    second = {"functionResponse": {"name": "f", "response": {"output": "t"}}}
    if where == "inside":
        assert turns[2]["parts"] == [{"functionResponse": {**first, "parts": [blob]}}, second]
    else:
        assert turns[2]["parts"] == [{"functionResponse": first}, second, blob]


@pytest.mark.parametrize(
    "word, config, thinking",
    [
        ("low", {}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("high", {"thoughts": False}, {"thinkingLevel": "HIGH"}),
        ("none", {}, {"thinkingBudget": 0}),
        ("dynamic", {}, {"thinkingBudget": -1, "includeThoughts": True}),
        ("2048", {}, {"thinkingBudget": 2048, "includeThoughts": True}),
        ("low", {"thinking_budgets": {"low": 512}}, {"thinkingBudget": 512, "includeThoughts": True}),
    ],
)
def test_reasoning(word: str, config: Any, thinking: Any) -> None:
    sent = body(Chat("hi", reasoning=word), GeminiConfig.model_validate(config))
    assert sent["generationConfig"]["thinkingConfig"] == thinking


@pytest.mark.feature("S004-11")
def test_options_are_joined_and_replace_nothing() -> None:
    options: dict[str, Any] = {
        "gemini": {
            "tools": [{"googleSearch": {}}],
            "cachedContent": "cachedContents/x",
            "generationConfig": {"topK": 3, "thinkingConfig": {"includeThoughts": False}},
            "toolConfig": {"includeServerSideToolInvocations": True},
        },
        "other": {"x": 1},
    }
    chat = Chat("hi", tools=[Tool("f")], tool_choice="required", temperature=1, options=options)
    sent = body(chat, GeminiConfig(safety={"harassment": "block_none"}))
    assert [next(iter(tool)) for tool in sent["tools"]] == ["functionDeclarations", "googleSearch"]
    assert sent["cachedContent"] == "cachedContents/x"
    assert sent["generationConfig"] == {
        "temperature": 1,
        "topK": 3,
        "thinkingConfig": {"includeThoughts": False},
    }
    assert sent["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY"},
        "includeServerSideToolInvocations": True,
    }
    assert sent["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert problem("generateContent", sent) is None
