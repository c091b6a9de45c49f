"""What is sent: strictly what the API publishes, whatever the conversation."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gleitzeit_plugin_ollama import OllamaConfig
from gleitzeit_plugin_ollama.bodies import chat_body, completion_body, embedding_body
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.testing import strategies as some
from gleitzeit.testing.ollama_server.check import problem
from gleitzeit.values import (
    AudioPart,
    Chat,
    Completion,
    Embedding,
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


# --- against the fake's own check and the published specification


def conversations() -> st.SearchStrategy[tuple[Message, ...]]:
    """Conversations that this API can carry."""
    state = st.none() | some.provider_states()
    texts = st.builds(TextPart, some.texts(), provider_state=state)
    thoughts = st.builds(ThinkingPart, some.texts(), provider_state=state) | some.texts().map(
        lambda text: ThinkingPart(
            text, provider_state=ProviderState("ollama:127.0.0.1:m", data=json.dumps({"thinking": text}))
        )
    )
    images = st.builds(ImagePart, data=st.binary(min_size=1, max_size=8)) | st.just(
        ImagePart(url="data:image/png;base64,eA==")
    )
    name = st.none() | some.names()
    calls = st.builds(
        ToolCallPart,
        some.names(),
        name=some.names() | some.texts(80),
        arguments=st.none() | some.json_objects(),
        raw=st.none() | some.texts(),
    )
    results = st.builds(
        ToolResultPart,
        some.names(),
        name=st.none() | some.texts(80),
        parts=st.lists(texts | images, max_size=2),
        is_error=st.booleans(),
    )
    turns = st.one_of(
        st.builds(Message, st.just("system"), st.lists(texts, max_size=2), name=name),
        st.builds(Message, st.just("user"), st.lists(texts | images | results, max_size=3), name=name),
        st.builds(Message, st.just("assistant"), st.lists(texts | thoughts | calls | images, max_size=3)),
        st.builds(Message, st.just("tool"), st.lists(results, max_size=3)),
    )
    user = st.builds(Message, st.just("user"), texts)
    return st.builds(lambda first, rest: (first, *rest), user, st.lists(turns, max_size=5))


CHATS = st.builds(
    Chat,
    conversations(),
    tools=st.lists(some.tools(), max_size=3),
    tool_choice=st.sampled_from(["auto", "none"]),
    parallel_tool_calls=st.sampled_from([None, True]),
    response_schema=st.none() | st.builds(ResponseSchema, some.json_objects(), name=some.texts(70)),
    reasoning=st.sampled_from([None, "low", "high", "none"]),
    max_tokens=st.none() | st.integers(1, 4096),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    stop=st.lists(some.texts(4), max_size=4),
    seed=st.none() | st.integers(0, 2**31),
    options=st.sampled_from(
        [{}, {"ollama": {"keep_alive": 0, "options": {"top_k": 1}}}, {"other": {"x": 1}}]
    ),
)
CONFIGS = st.sampled_from([PLAIN, FULL])


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(chat=CHATS, stream=st.booleans(), config=CONFIGS)
def test_chat_bodies_are_what_the_fake_takes(chat: Chat, stream: bool, config: OllamaConfig) -> None:
    assert problem("/api/chat", body(chat, config, stream=stream)) is None


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(operation=some.operations().filter(lambda found: isinstance(found, Chat)))
def test_any_chat_at_all_is_sent_well_or_refused(operation: Chat) -> None:
    try:
        sent = body(operation)
    except (InvalidRequestError, UnsupportedError):
        return
    assert problem("/api/chat", sent) is None


@pytest.fixture(scope="session")
def spec(shared: Path) -> Any:
    """The published specification, with the fields of messages that it lacks and servers have."""
    found = importlib.util.spec_from_file_location("strict_spec", shared / "recipes" / "strict_spec.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Spec(str(shared / "specs" / "ollama.openapi.yaml"))


@pytest.mark.shared
@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(chat=CHATS, stream=st.booleans(), config=CONFIGS)
def test_chat_bodies_hold_to_the_specification(
    spec: Any, chat: Chat, stream: bool, config: OllamaConfig
) -> None:
    assert spec.problems("ChatRequest", body(chat, config, stream=stream)) == []


@pytest.mark.shared
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    completion=st.builds(
        Completion,
        some.texts(),
        max_tokens=st.none() | st.integers(1, 99),
        temperature=st.none() | st.floats(0, 2),
        stop=st.lists(some.texts(4), max_size=4),
        options=st.sampled_from([{}, {"ollama": {"raw": True, "suffix": "x"}}]),
    ),
    stream=st.booleans(),
    config=CONFIGS,
)
def test_completion_bodies_hold_to_the_specification(
    spec: Any, completion: Completion, stream: bool, config: OllamaConfig
) -> None:
    sent = json.loads(msgspec.json.encode(completion_body(completion, "m", stream, config)))
    assert spec.problems("GenerateRequest", sent) == []
    assert problem("/api/generate", sent) is None


@pytest.mark.shared
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    inputs=st.lists(some.texts(), min_size=1, max_size=4).map(tuple),
    dimensions=st.none() | st.integers(1, 4096),
    config=CONFIGS,
)
def test_embedding_bodies_hold_to_the_specification(
    spec: Any, inputs: tuple[str, ...], dimensions: int | None, config: OllamaConfig
) -> None:
    sent = embedding_body(Embedding(inputs, dimensions=dimensions), inputs, "m", config)
    assert spec.problems("EmbedRequest", json.loads(msgspec.json.encode(sent))) == []
    assert problem("/api/embed", sent) is None


@pytest.mark.shared
def test_the_specification_and_the_fake_refuse_what_is_wrong(spec: Any) -> None:
    good = body(Chat("x"))
    changes: tuple[dict[str, Any], ...] = (
        {"bogus": 1},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"think": "very much"},
        {"options": []},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": {}}}]}]},
        {"messages": [{"role": "user", "content": "x", "images": [3]}]},
    )
    for change in changes:
        assert spec.problems("ChatRequest", {**good, **change}), change
        assert problem("/api/chat", {**good, **change}), change


@pytest.mark.shared
async def test_the_fake_answers_as_the_specification_says(
    spec: Any, server: Any, ask: Callable[..., Any]
) -> None:
    from gleitzeit.testing.ollama_server import Answer
    from gleitzeit.testing.ollama_server.server import _download, _lines, _row, _shown, _vectors, _whole

    answer = Answer("a b", thinking="c", calls=({"name": "f", "arguments": {}},))
    asked = {"model": "m", "messages": [], "prompt": "x", "input": ["x"]}
    for path, whole, event in (
        ("/api/chat", "ChatResponse", "ChatStreamEvent"),
        ("/api/generate", "GenerateResponse", "GenerateStreamEvent"),
    ):
        assert spec.check(whole, _whole(path, asked, answer)) == []
        for line in _lines(path, asked, answer):
            assert spec.check(event, line) == []
    card = next(iter(server.models.values()))
    assert spec.problems("ModelSummary", _row("m", card)) == []
    assert spec.problems("ShowResponse", _shown(card)) == []
    assert spec.problems("EmbedResponse", _vectors(asked)) == []
    for line in _download("m", 9):
        assert spec.problems("StatusEvent", line) == []
    await ask("hi")
