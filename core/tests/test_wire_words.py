"""What providers share of reading requests and answers: options, parts, frames."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import InvalidRequestError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.values import (
    Chat,
    Completion,
    Event,
    ImagePart,
    RateLimits,
    TextDelta,
    TextPart,
    Tool,
    ToolCallPart,
)
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.frames import FrameParser
from gleitzeit.wire.options import as_chat, given_options, idempotency, wanted_tool
from gleitzeit.wire.parts import as_base64, image_type, kinds, own_arguments, read_data_url
from gleitzeit.wire.sse import ServerEvent

TOOLS = [Tool("git/log"), Tool("time")]


@pytest.mark.parametrize(
    "choice, tools, others, wanted",
    [
        ("auto", TOOLS, (), None),
        ("none", [], (), None),
        ("none", TOOLS, (), "none"),
        ("required", [], [None], "required"),
        ("git/log", TOOLS, (), "git/log"),
        ("search", TOOLS, ["search"], "search"),
    ],
)
def test_which_tool_is_wanted(choice: str, tools: Any, others: Any, wanted: str | None) -> None:
    assert wanted_tool(Chat("x", tools=tools, tool_choice=choice), others) == wanted


@pytest.mark.parametrize("choice, tools", [("required", []), ("search", TOOLS), ("git/log", [])])
def test_a_tool_that_is_not_there_is_not_called(choice: str, tools: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"tool_choice '{choice}' needs"):
        wanted_tool(Chat("x", tools=tools, tool_choice=choice))


def test_options_are_those_of_the_plugin_and_never_the_requests_own() -> None:
    options = {"acme": {"tone": "kind"}, "other": {"model": "x"}}
    assert given_options(options, "acme", {"model"}) == {"tone": "kind"}
    assert given_options(options, "nobody", {"model"}) == {}
    with pytest.raises(InvalidRequestError, match="option 'model' is set by the request itself"):
        given_options(options, "other", {"model"})


def test_a_completion_as_a_chat_keeps_what_it_says() -> None:
    chat = as_chat(Completion("once", max_tokens=3, stop=("x",), seed=7, options={"acme": {"a": 1}}))
    assert (chat.messages[0].text, chat.max_tokens, chat.stop, chat.seed) == ("once", 3, ("x",), 7)
    assert chat.options == {"acme": {"a": 1}}
    assert idempotency(chat.to("m")) is None
    assert idempotency(chat.to("m", idempotency_key="k")) == {"Idempotency-Key": "k"}


@given(data=st.binary(max_size=30), kind=st.sampled_from(["image/png", "", "text/plain;charset=utf-8"]))
def test_a_data_address_gives_what_was_put_in(data: bytes, kind: str) -> None:
    assert read_data_url(f"data:{kind};base64,{as_base64(data)}") == (data, kind.partition(";")[0])


@pytest.mark.parametrize(
    "url", ["", "data:", "data:image/png;base64", "data:;base64,x", "http:,x", "data:;base64,\u00fc"]
)
def test_a_data_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="data: address"):
        read_data_url(url)
    assert read_data_url("data:text/plain,a%20b") == (b"a b", "text/plain")


def test_parts_are_named_and_pictures_told_by_their_first_bytes() -> None:
    assert kinds([ImagePart(url="x"), TextPart("a"), TextPart("b")]) == "a image part, a text part"
    assert (image_type(b"\x89PNG..."), image_type(b"GIF89a"), image_type(b"%PDF")) == (
        "image/png",
        "image/gif",
        None,
    )


@pytest.mark.parametrize(
    "raw, kept",
    [
        (' {"a":  1} ', b'{"a":  1}'),
        ('{"a": 2}', None),
        ("{", None),
        ("", None),
        (None, None),
    ],
)
def test_arguments_go_back_as_they_came_where_they_still_hold(raw: str | None, kept: bytes | None) -> None:
    found = own_arguments(ToolCallPart("1", name="t", arguments={"a": 1}, raw=raw))
    assert (None if found is None else bytes(found)) == kept


class Reader:
    limits: RateLimits | None = None


class Parser(FrameParser):
    """Frames of text; `end` is the mark."""

    mark = "the end"

    def frame(self, event: ServerEvent, events: deque[Event]) -> None:
        try:
            said = msgspec.json.decode(event.data)
        except msgspec.DecodeError:
            raise MalformedAnswerError("no letter") from None
        if "end" in said:
            self.complete = True
        else:
            events.append(TextDelta(said["text"]))

    def document(self, body: bytes, events: deque[Event]) -> None:
        events.append(TextDelta(msgspec.json.decode(body)["text"]))


def read(*pieces: bytes) -> str:
    parser, events = Parser(Reader(), answer_error), deque[Event]()
    parser.limits = RateLimits()
    assert parser.reader.limits == RateLimits()
    for piece in pieces:
        if not parser.complete:
            parser.feed(piece, events)
    if not parser.complete:
        parser.close(events)
    assert parser.ended
    return "".join(event.text for event in events if isinstance(event, TextDelta))


A = b'data: {"text": "a"}\n\n'
END = b'data: {"end": 1}\n\n'
STREAM = b"\n\n" + A + A.replace(b'a"}', b'b"}') + END


@given(size=st.integers(1, 40))
def test_pieces_do_not_matter(size: int) -> None:
    assert read(*(STREAM[at : at + size] for at in range(0, len(STREAM), size))) == "ab"
    whole = b'\n{"text": "ab"}'
    assert read(*(whole[at : at + size] for at in range(0, len(whole), size))) == "ab"


@given(end=st.integers(0, len(STREAM) - 4))
def test_a_stream_that_is_cut_is_no_success(end: int) -> None:
    with pytest.raises(TruncatedStreamError, match="without the end") as cut:
        read(STREAM[:end])
    assert cut.value.sent is True


def test_a_last_frame_that_tells_of_an_error_is_told() -> None:
    with pytest.raises(MalformedAnswerError):
        read(A + b'data: {"error": "no')
    with pytest.raises(TruncatedStreamError):
        read(A + b'data: {"text": "b')


def test_a_whole_answer_may_be_a_stream() -> None:
    for body, text in ((STREAM, "ab"), (b'{"text": "c"}', "c"), (A + END.strip(), "a")):
        parser, events = Parser(Reader(), answer_error), deque[Event]()
        parser.whole(body, events)
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
