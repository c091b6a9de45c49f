"""Bodies of the Responses API: strictly what is published, whatever the conversation."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_openai import OpenAIConfig
from gleitzeit_plugin_openai.responses.bodies import response_body, response_owner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import InvalidRequestError
from gleitzeit.testing import strategies as some
from gleitzeit.testing.openai_server import responses
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
    ToolCallPart,
    ToolResultPart,
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
    sent = body(Chat("x", max_tokens=5, temperature=0.0, top_p=1.0, reasoning="low"), stream=True)
    assert (sent["max_output_tokens"], sent["temperature"], sent["top_p"]) == (5, 0.0, 1.0)
    assert (sent["reasoning"], sent["stream_options"]) == ({"effort": "low"}, {"include_obfuscation": False})


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


# --- against the published specification


def conversations() -> st.SearchStrategy[tuple[Message, ...]]:
    """Conversations that this API can carry, with items of its own among the assistant's parts."""
    state = st.none() | some.provider_states()
    texts = st.builds(TextPart, some.texts(), provider_state=state)
    own = some.names().map(_own_reasoning)
    thoughts = st.builds(ThinkingPart, some.texts(), provider_state=state) | own
    media = st.one_of(
        st.builds(
            ImagePart, url=st.just("https://example.org/x"), detail=st.sampled_from([None, "low", "high"])
        ),
        st.builds(ImagePart, data=st.just(PNG), media_type=st.sampled_from([None, "image/png"])),
        st.builds(FilePart, data=st.binary(max_size=4), name=st.none() | some.names()),
        st.builds(FilePart, file_id=some.names()),
        st.builds(FilePart, url=st.just("https://example.org/x.pdf")),
    )
    system = st.builds(Message, st.just("system"), st.lists(texts, max_size=2))
    user = st.builds(Message, st.just("user"), st.lists(texts | media, max_size=3))
    plain = st.builds(Message, st.just("assistant"), st.lists(texts | thoughts, max_size=3))

    @st.composite
    def round_trip(draw: Callable[..., Any]) -> tuple[Message, ...]:
        ids = draw(st.lists(some.names(), min_size=1, max_size=3, unique=True))
        calls = [
            ToolCallPart(
                id,
                name=draw(some.names() | some.texts(80)),
                arguments=draw(st.none() | some.json_objects()),
                raw=draw(st.none() | some.texts()),
            )
            for id in ids
        ]
        said = draw(st.lists(texts | thoughts, max_size=2))
        results = [ToolResultPart(id, parts=draw(st.lists(texts | media, max_size=2))) for id in ids]
        return (Message("assistant", [*said, *calls]), Message.tool(*results))

    groups = st.one_of(
        system.map(lambda m: (m,)), user.map(lambda m: (m,)), plain.map(lambda m: (m,)), round_trip()
    )
    return st.lists(groups, max_size=4).map(
        lambda found: (*(m for group in found for m in group), Message.user("go on"))
    )


def _own_reasoning(id: str) -> ThinkingPart:
    item = {"type": "reasoning", "id": f"rs_{id}", "summary": [], "encrypted_content": "x="}
    return ThinkingPart("", provider_state=ProviderState(OWNER, data=json.dumps(item)))


CHATS = st.builds(
    Chat,
    conversations(),
    tools=st.lists(some.tools(), max_size=3),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    response_schema=st.none()
    | st.builds(ResponseSchema, some.json_objects(), name=some.texts(70), strict=st.booleans()),
    reasoning=st.sampled_from([None, "low", "high"]),
    max_tokens=st.none() | st.integers(16, 4096),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    options=st.sampled_from(
        [
            {},
            {"openai": {"text": {"verbosity": "low"}, "truncation": "auto"}},
            {"openai": {"tools": [{"type": "web_search"}], "service_tier": "auto"}},
            {"other": {"x": 1}},
        ]
    ),
)


#: Each by its own schema: the published union takes a message for two of its kinds at once, and refuses it.
SCHEMAS = {
    "message": "EasyInputMessage",
    "function_call": "FunctionToolCall",
    "function_call_output": "FunctionCallOutputItemParam",
    "reasoning": "ReasoningItem",
}


@pytest.fixture(scope="session")
def spec(shared: Path) -> Any:
    """The published specification of the API, closed to unknown fields."""
    found = importlib.util.spec_from_file_location("strict_spec", shared / "recipes" / "strict_spec.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Spec(str(shared / "specs" / "openai.openapi.json"), closed=True)


@pytest.mark.shared
@pytest.mark.feature("S004-04")
@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(chat=CHATS, choice=st.sampled_from(["auto", "none", "required", "first"]), stream=st.booleans())
def test_bodies_hold_to_the_specification(spec: Any, chat: Chat, choice: str, stream: bool) -> None:
    if chat.tools and choice != "auto":
        chat = Chat(
            chat.messages, tools=chat.tools, tool_choice=chat.tools[0].name if choice == "first" else choice
        )
    sent = body(chat, stream=stream)
    given = sent["input"]
    assert spec.problems("CreateResponse", {**sent, "input": "x"}) == []
    assert [spec.problems(SCHEMAS[item["type"]], item) for item in given] == [[] for _ in given]


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(chat=CHATS, stream=st.booleans())
def test_bodies_are_what_our_own_server_takes(chat: Chat, stream: bool) -> None:
    assert responses.problem(body(chat, stream=stream)) is None


@pytest.mark.shared
def test_the_specification_refuses_what_is_wrong(spec: Any) -> None:
    good = body(Chat("x"))
    assert spec.problems("CreateResponse", {**good, "bogus": 1})
    assert spec.problems("EasyInputMessage", {"type": "message", "role": "robot", "content": "x"})
