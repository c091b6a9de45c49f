"""Hypothesis strategies for chats that make sense: every call is answered, every tool choice can be met.

`strategies` has requests of any kind, sense or not; a provider may refuse those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from hypothesis import strategies as st

from gleitzeit.testing.strategies import json_objects, names, provider_states, texts, tools
from gleitzeit.values import (
    AudioPart,
    Chat,
    Completion,
    Embedding,
    FilePart,
    ImagePart,
    Message,
    Part,
    ResponseSchema,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["chats", "completions", "conversations", "embeddings", "media"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PDF: Final = b"%PDF-1.7\n"


def media() -> st.SearchStrategy[Part]:
    """Pictures, sounds and files, as data and by address, of kinds that somebody takes."""
    return st.sampled_from(
        [
            ImagePart(data=_PNG),
            ImagePart(data=_PNG, media_type="image/png", detail="low"),
            ImagePart(url="https://example.org/x.png", detail="high"),
            AudioPart(data=b"RIFF", media_type="audio/wav"),
            AudioPart(data=b"ID3", media_type="audio/mpeg"),
            FilePart(data=_PDF, media_type="application/pdf", name="a b.pdf"),
            FilePart(data=_PDF),
            FilePart(data=b"text", media_type="text/plain"),
            FilePart(url="https://example.org/x.pdf", media_type="application/pdf"),
            FilePart(file_id="file-1"),
        ]
    )


def conversations(*, rich: bool = True, named: bool = True) -> st.SearchStrategy[tuple[Message, ...]]:
    """Conversations that end with the user.

    Without `rich` they hold text, thinking and calls only; without `named` no turn names its speaker.
    """
    state = st.none() | provider_states()
    text = st.builds(TextPart, texts(), provider_state=state)
    thinking = st.builds(ThinkingPart, texts(), provider_state=state)
    held = text | media() if rich else text
    name = st.none() | names() if named else st.none()
    turns = st.one_of(
        st.builds(Message, st.just("system"), st.lists(text, max_size=2), name=name),
        st.builds(Message, st.just("user"), st.lists(held, max_size=3), name=name),
        st.builds(Message, st.just("assistant"), st.lists(text | thinking, max_size=3), name=name),
    )

    @st.composite
    def round_trip(draw: Callable[..., Any]) -> tuple[Message, ...]:
        ids = draw(st.lists(names() | texts(8).filter(bool), min_size=1, max_size=3, unique=True))
        calls = [
            ToolCallPart(
                id,
                name=draw(names() | texts(80).filter(bool)),
                arguments=draw(st.none() | json_objects()),
                raw=draw(st.none() | texts()),
            )
            for id in ids
        ]
        results = [
            ToolResultPart(
                call.id,
                name=draw(st.none() | st.just(call.name)),
                parts=draw(st.lists(held, max_size=2)),
                is_error=draw(st.booleans()),
            )
            for call in draw(st.permutations(calls))
        ]
        return Message("assistant", [*draw(st.lists(text | thinking, max_size=2)), *calls]), Message.tool(
            *results
        )

    groups = st.lists(turns.map(lambda turn: (turn,)) | round_trip(), max_size=4)
    return groups.map(
        lambda found: (
            Message.user("begin"),
            *(turn for group in found for turn in group),
            Message.user("end"),
        )
    )


def _sampling(options: Mapping[str, Any]) -> dict[str, st.SearchStrategy[Any]]:
    given = [{}, {"other": {"x": 1}}, *({name: each} for name, found in options.items() for each in found)]
    return {
        "max_tokens": st.none() | st.integers(1, 4096),
        "temperature": st.none() | st.floats(0, 2),
        "top_p": st.none() | st.floats(0, 1),
        "stop": st.just(()) | st.lists(texts(4).filter(str.strip), max_size=5),
        "seed": st.none() | st.integers(0, 2**31 - 1),
        "options": st.sampled_from(given),
    }


def chats(
    options: Mapping[str, Any] | None = None,
    *,
    rich: bool = True,
    named: bool = True,
    without: Collection[str] = (),
) -> st.SearchStrategy[Chat]:
    """Chats with everything that the contract has a field for, but for the fields `without`.

    `options` are samples of vendor options by plugin name: `{"openai": [{"verbosity": "low"}]}`.
    """
    schemas = st.builds(ResponseSchema, json_objects(), name=texts(70), strict=st.booleans())
    fields: dict[str, st.SearchStrategy[Any]] = {
        "parallel_tool_calls": st.sampled_from([None, True, False]),
        "response_schema": st.none() | schemas,
        "reasoning": st.sampled_from([None, None, "none", "minimal", "low", "medium", "high", "max"]),
        **_sampling(options or {}),
    }

    @st.composite
    def build(draw: Callable[..., Any]) -> Chat:
        offered = draw(st.lists(tools(), max_size=3, unique_by=lambda tool: tool.name))
        choices = ["auto", "auto", "none", *(["required", offered[0].name] if offered else [])]
        if "tool_choice" in without:
            choices = ["auto"]
        return Chat(
            draw(conversations(rich=rich, named=named)),
            tools=offered,
            tool_choice=draw(st.sampled_from(choices)),
            **{name: draw(strategy) for name, strategy in fields.items() if name not in without},
        )

    return build()


def completions(options: Mapping[str, Any] | None = None) -> st.SearchStrategy[Completion]:
    """Completions, also of no text."""
    return st.builds(Completion, texts(), **_sampling(options or {}))


def embeddings(options: Mapping[str, Any] | None = None) -> st.SearchStrategy[Embedding]:
    """Texts to embed, also empty ones and none at all."""
    return st.builds(
        Embedding,
        st.lists(texts(), max_size=4),
        dimensions=st.none() | st.integers(1, 4096),
        options=_sampling(options or {})["options"],
    )
