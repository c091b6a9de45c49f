"""Generated conversations make sense, so that a provider has no reason of that kind to refuse them."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings

from gleitzeit.testing.conversations import chats, completions, conversations, embeddings
from gleitzeit.values import AudioPart, FilePart, ImagePart, Message, ToolResultPart

few = settings(max_examples=30, deadline=None)


@few
@given(turns=conversations())
def test_every_call_is_answered_once_in_the_next_turn(turns: tuple[Message, ...]) -> None:
    assert (turns[0].role, turns[-1].role) == ("user", "user")
    for turn, following in itertools.pairwise(turns):
        asked = sorted(call.id for call in turn.tool_calls)
        answered = [part.id for part in following.parts if isinstance(part, ToolResultPart)]
        assert asked == sorted(answered)


@few
@given(turns=conversations(rich=False, named=False))
def test_plain_conversations_hold_no_media_and_no_names(turns: tuple[Message, ...]) -> None:
    held = [part for turn in turns for part in turn.parts]
    held += [inner for part in held if isinstance(part, ToolResultPart) for inner in part.parts]
    assert not any(isinstance(part, ImagePart | AudioPart | FilePart) for part in held)
    assert {turn.name for turn in turns} == {None}


@few
@given(chat=chats({"acme": [{"x": 1}]}, without=("seed", "reasoning")))
def test_chats_choose_tools_that_they_offer(chat: Any) -> None:
    names = {tool.name for tool in chat.tools}
    assert chat.tool_choice in {"auto", "none"} or (names and chat.tool_choice in {*names, "required"})
    assert (chat.seed, chat.reasoning) == (None, None)
    assert set(chat.options) <= {"acme", "other"}


@few
@given(completion=completions(), embedding=embeddings())
def test_other_operations(completion: Any, embedding: Any) -> None:
    assert isinstance(completion.prompt, str)
    assert all(isinstance(text, str) for text in embedding.inputs)
