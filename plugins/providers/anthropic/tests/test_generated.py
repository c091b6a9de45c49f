"""Generated requests against the published specification, the types of the SDK and our own server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from gleitzeit_plugin_anthropic import AnthropicConfig, mark
from gleitzeit_plugin_anthropic.bodies import chat_body, count_body, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import RequestError
from gleitzeit.testing import strategies as some
from gleitzeit.testing.anthropic_server import problem
from gleitzeit.values import (
    Chat,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    ResponseSchema,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames

CONFIGS = st.builds(
    AnthropicConfig,
    thinking=st.sampled_from(["auto", "budget", "effort"]),
    prompt_caching=st.sampled_from([None, "5m", "1h"]),
    max_tokens=st.sampled_from([100, 8192]),
)


def conversations() -> st.SearchStrategy[tuple[Message, ...]]:
    """Conversations in which each call has its result, as the API wants them."""
    other = st.none() | st.just(ProviderState("openai:x", data="{}"))
    texts = st.builds(TextPart, some.texts(), provider_state=other)
    marked = texts.map(lambda part: mark(part, cache_control={"type": "ephemeral"}))
    signed = st.builds(
        lambda text, signature: ThinkingPart(
            text,
            provider_state=ProviderState(
                "anthropic",
                data=msgspec.json.encode(
                    {"type": "thinking", "thinking": text, "signature": signature}
                ).decode(),
            ),
        ),
        some.texts(),
        some.texts(60),
    )
    thoughts = st.builds(ThinkingPart, some.texts(), provider_state=other) | signed
    media = st.one_of(
        st.builds(ImagePart, data=st.binary(max_size=9), media_type=st.just("image/png")),
        st.builds(ImagePart, url=st.just("https://example.org/x")),
        st.builds(FilePart, data=st.binary(max_size=9), name=st.none() | some.texts()),
        st.builds(FilePart, data=some.texts().map(str.encode), media_type=st.just("text/plain")),
        st.builds(FilePart, url=st.just("https://example.org/x.pdf")),
    )
    system = st.builds(Message, st.just("system"), st.lists(texts | marked, max_size=2))
    user = st.builds(Message, st.just("user"), st.lists(texts | marked | media, max_size=3))
    plain = st.builds(Message, st.just("assistant"), st.lists(texts | thoughts, max_size=3))

    @st.composite
    def round_trip(draw: Callable[..., Any]) -> tuple[Message, ...]:
        ids = draw(st.lists(some.names() | some.texts(8).filter(bool), min_size=1, max_size=3, unique=True))
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
        results = [
            ToolResultPart(id, parts=draw(st.lists(texts | media, max_size=2)), is_error=draw(st.booleans()))
            for id in ids
        ]
        return (Message("assistant", [*said, *calls]), Message.tool(*results))

    groups = st.one_of(
        system.map(lambda m: (m,)), user.map(lambda m: (m,)), plain.map(lambda m: (m,)), round_trip()
    )
    return st.lists(groups, min_size=1, max_size=4).map(
        lambda found: (Message.user("begin"), *(m for group in found for m in group), Message.user("end"))
    )


CHATS = st.builds(
    Chat,
    conversations(),
    tools=st.lists(some.tools(), max_size=3, unique_by=lambda tool: tool.name),
    tool_choice=st.sampled_from(["auto", "none"]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    response_schema=st.none() | st.builds(ResponseSchema, some.json_objects()),
    reasoning=st.sampled_from([None, "none", "low", "high"]),
    max_tokens=st.none() | st.integers(1025, 4096),
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    stop=st.lists(some.texts(4).filter(str.strip), max_size=4),
    options=st.sampled_from([{}, {"anthropic": {"service_tier": "auto", "top_k": 5}}, {"other": {"x": 1}}]),
)
FIELDS = get_type_hints(MessageCreateParamsNonStreaming).keys() | {
    "stream",
    *("temperature", "top_p", "top_k"),
}
quiet = settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)


def sent(chat: Chat, stream: bool, config: AnthropicConfig) -> Any:
    return msgspec.json.decode(encode(chat_body(chat, "claude-x", stream, config, WireNames())))


@pytest.mark.shared
@quiet
@given(chat=CHATS, stream=st.booleans(), config=CONFIGS)
def test_bodies_hold_to_the_specification(
    spec: Any, chat: Chat, stream: bool, config: AnthropicConfig
) -> None:
    body = sent(chat, stream, config)
    assert spec.problems("CreateMessageParams", body) == []
    counted = msgspec.json.decode(encode(count_body(chat, "claude-x", config, WireNames())))
    assert spec.problems("CountMessageTokensParams", counted) == []


@quiet
@given(chat=CHATS, stream=st.booleans(), config=CONFIGS)
def test_bodies_are_what_the_sdk_and_our_own_server_take(
    chat: Chat, stream: bool, config: AnthropicConfig
) -> None:
    body = sent(chat, stream, config)
    assert body.keys() <= FIELDS
    assert problem(body) is None


@pytest.mark.shared
@quiet
@given(chat=some.operations().filter(lambda each: isinstance(each, Chat)), config=CONFIGS)
def test_any_chat_at_all_is_refused_here_or_holds_to_the_specification(
    spec: Any, chat: Any, config: AnthropicConfig
) -> None:
    try:
        body = sent(chat, False, config)
    except RequestError:
        return
    found = spec.problems("CreateMessageParams", body)
    assert [each for each in found if not each.startswith("output_config/format/schema")] == []


@pytest.mark.shared
def test_the_specification_refuses_what_is_wrong(spec: Any) -> None:
    good = sent(Chat("x"), False, AnthropicConfig())
    assert spec.problems("CreateMessageParams", {**good, "bogus": 1})
    assert problem({**good, "bogus": 1}) == "bogus: Extra inputs are not permitted"


@pytest.mark.shared
def test_what_others_sent_is_taken_by_our_own_server(recorded: Callable[..., Any]) -> None:
    """Else the fake would be stricter than the vendor: only system turns of the newest API differ."""
    refused = []
    for interaction in recorded("messages"):
        wrong = problem(interaction["req"]) if interaction["status"] == 200 else None
        if wrong is not None:
            refused.append((interaction["file"].rpartition("/")[2], wrong))
    assert refused == []
