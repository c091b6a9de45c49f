"""Tool calls in fragments: whatever ties them together, the same calls come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.values import Event, Reply
from gleitzeit.values.fold import fold

Parse = Callable[..., list[Event]]
Chunk = Callable[..., dict[str, Any]]
Sse = Callable[..., bytes]

PARIS, OSLO = '{"city": "Paris"}', '{"city": "Oslo"}'


def part(
    index: Any = None, id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    """A fragment that says only what is given."""

    def said(**fields: Any) -> dict[str, Any]:
        return {key: value for key, value in fields.items() if value is not None}

    return {"type": "function", **said(index=index, id=id), "function": said(name=name, arguments=arguments)}


BOTH: dict[str, list[list[dict[str, Any]]]] = {
    "by the book": [
        [part(0, "a", "weather__now", "")],
        [part(0, arguments=PARIS[:7])],
        [part(0, arguments=PARIS[7:])],
        [part(1, "b", "weather__now", "")],
        [part(1, arguments=OSLO)],
    ],
    "no index, new id is a new call": [
        [part(None, "a", "weather__now", PARIS[:5])],
        [part(None, arguments=PARIS[5:])],
        [part(None, "b", "weather__now", OSLO[:5])],
        [part(None, arguments=OSLO[5:])],
    ],
    "index 0 for both, keyed by id": [
        [part(0, "a", "weather__now", PARIS)],
        [part(0, "b", "weather__now", OSLO)],
    ],
    "index 0 for both, fragments with their ids": [
        [part(0, "a", "weather__now", PARIS[:5])],
        [part(0, "b", "weather__now", OSLO[:5])],
        [part(0, "a", None, PARIS[5:])],
        [part(0, "b", None, OSLO[5:])],
    ],
    "interleaved, id only on the first": [
        [part(0, "a", "weather__now", ""), part(1, "b", "weather__now", "")],
        [part(0, arguments=PARIS[:5]), part(1, arguments=OSLO[:5])],
        [part(1, arguments=OSLO[5:])],
        [part(0, arguments=PARIS[5:])],
    ],
    "whole calls in one chunk": [[part(0, "a", "weather__now", PARIS), part(1, "b", "weather__now", OSLO)]],
    "whole calls without index in one chunk": [
        [part(None, "a", "weather__now", PARIS), part(None, "b", "weather__now", OSLO)]
    ],
    "id and name repeated on every fragment": [
        [part(0, "a", "weather__now", PARIS[:5])],
        [part(0, "a", "weather__now", PARIS[5:])],
        [part(1, "b", "weather__now", OSLO[:5])],
        [part(1, "b", "weather__now", OSLO[5:])],
    ],
    "id and name repeated without index": [
        [part(None, "a", "weather__now", PARIS[:5])],
        [part(None, "a", "weather__now", PARIS[5:])],
        [part(None, "b", "weather__now", OSLO)],
    ],
    "a stray later index belongs to the open call": [
        [part(0, "a", "weather__now", PARIS)],
        [part(1, "b", "weather__now", OSLO[:5])],
        [part(5, arguments=OSLO[5:])],
    ],
    "the name comes late": [
        [part(0, "a", None, "")],
        [part(0, None, "weather__now", PARIS)],
        [part(1, "b", "weather__now", OSLO)],
    ],
    "the id comes late": [
        [part(0, None, "weather__now", PARIS[:5])],
        [part(0, "a", None, PARIS[5:])],
        [part(1, "b", "weather__now", OSLO)],
    ],
    "arguments as an object": [
        [part(0, "a", "weather__now", {"city": "Paris"})],
        [part(1, "b", "weather__now", {"city": "Oslo"})],
    ],
    "empty ids and names beside real ones": [
        [part(0, "a", "weather__now", "")],
        [part(0, "", "", PARIS)],
        [part(1, "b", "weather__now", OSLO)],
    ],
}  # fmt: skip


def calls_of(parse: Parse, chunk: Chunk, sse: Sse, lists: list[list[dict[str, Any]]]) -> Reply:
    return fold(
        parse(sse(*(chunk(tool_calls=calls) for calls in lists), chunk(finish="tool_calls"), "[DONE]"))
    )


@pytest.mark.parametrize("lists", BOTH.values(), ids=BOTH)
def test_two_calls_in_every_dialect(
    parse: Parse, chunk: Chunk, sse: Sse, lists: list[list[dict[str, Any]]]
) -> None:
    reply = calls_of(parse, chunk, sse, lists)
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("a", "weather/now", {"city": "Paris"}),
        ("b", "weather/now", {"city": "Oslo"}),
    ]


@pytest.mark.parametrize(
    "lists",
    [
        [[part(None, None, "f", PARIS), part(None, None, "f", OSLO)]],
        [[part(None, None, "f", PARIS)], [part(None, None, "f", OSLO)]],
        [[part(0, None, "f", PARIS)], [part(0, None, "f", OSLO)]],
        [[part(0, None, "f", PARIS)], [part(1, None, "f", OSLO)]],
        [[part(0, "same", "f", PARIS)], [part(1, "same", "f", OSLO)]],
    ],
)
def test_calls_without_ids_of_their_own_get_some(
    parse: Parse, chunk: Chunk, sse: Sse, lists: list[list[dict[str, Any]]]
) -> None:
    reply = calls_of(parse, chunk, sse, lists)
    assert [call.arguments for call in reply.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
    ids = [call.id for call in reply.tool_calls]
    assert all(ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("arguments", [None, "", "  "])
def test_a_call_without_arguments_has_none(
    parse: Parse, chunk: Chunk, sse: Sse, arguments: str | None
) -> None:
    (call,) = calls_of(parse, chunk, sse, [[part(0, "a", "f", arguments)]]).tool_calls
    assert call.arguments == {}


def test_no_argument_calls_side_by_side_stay_two(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    reply = calls_of(parse, chunk, sse, [[part(0, "a", "f", ""), part(1, "b", "g", "")]])
    assert [(call.id, call.name) for call in reply.tool_calls] == [("a", "f"), ("b", "g")]


@pytest.mark.parametrize("raw", ['{"a": ', "[1]", "nonsense", "null"])
def test_broken_arguments_are_kept_as_text(parse: Parse, chunk: Chunk, sse: Sse, raw: str) -> None:
    (call,) = calls_of(parse, chunk, sse, [[part(0, "a", "f", raw)]]).tool_calls
    assert (call.arguments, call.raw) == (None, raw)


def test_a_copy_in_the_old_function_call_is_dropped(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    frames = [
        chunk(
            tool_calls=[part(0, "a", "f", piece)],
            function_call={"name": "f", "arguments": piece},
        )
        for piece in (PARIS[:4], PARIS[4:])
    ]
    reply = fold(parse(sse(*frames, chunk(finish="tool_calls"))))
    assert [(call.id, call.arguments) for call in reply.tool_calls] == [("a", {"city": "Paris"})]


def test_the_old_function_call_alone_is_a_call(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    frames = [chunk(function_call={"name": "f", "arguments": ""}), chunk(function_call={"arguments": PARIS})]
    reply = fold(parse(sse(*frames, chunk(finish="function_call"))))
    (call,) = reply.tool_calls
    assert (call.name, call.arguments, reply.finish_reason) == ("f", {"city": "Paris"}, "tool_calls")
    assert call.id


def test_a_fragment_out_of_nowhere_is_a_call_without_a_name(parse: Parse, chunk: Chunk, sse: Sse) -> None:
    (call,) = calls_of(parse, chunk, sse, [[part(arguments="{}")]]).tool_calls
    assert (call.name, call.arguments) == ("", {})


@pytest.mark.parametrize(
    "message, expected",
    [
        ({"content": None, "tool_calls": [part(None, "a", "f", PARIS)]}, [("a", "f", {"city": "Paris"})]),
        ({"tool_calls": [part(0, "a", "f", PARIS), part(0, "b", "f", "")]},
         [("a", "f", {"city": "Paris"}), ("b", "f", {})]),
        ({"content": "", "tool_calls": [part(None, "a", "f")]}, [("a", "f", {})]),
        ({"function_call": {"name": "f", "arguments": PARIS}}, [(None, "f", {"city": "Paris"})]),
        ({"tool_calls": [part(None, "a", "f", PARIS)], "function_call": {"name": "f", "arguments": PARIS}},
         [("a", "f", {"city": "Paris"})]),
        ({"tool_calls": [part(None, None, "f", PARIS), part(None, None, "f", PARIS)]},
         [(None, "f", {"city": "Paris"}), (None, "f", {"city": "Paris"})]),
        ({"tool_calls": [part(None, "x", "f"), part(None, "x", "f")]}, [("x", "f", {}), (None, "f", {})]),
        ({"tool_calls": []}, []),
    ],
)  # fmt: skip
def test_calls_in_a_whole_message(
    whole: Callable[..., Reply], message: dict[str, Any], expected: list[tuple[str | None, str, Any]]
) -> None:
    reply = whole({"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]})
    found = [(call.id, call.name, call.arguments) for call in reply.tool_calls]
    assert [(b[0] or a[0], *b[1:]) for a, b in zip(found, expected, strict=True)] == found
    assert len({call.id for call in reply.tool_calls}) == len(expected)


ARGUMENTS = st.dictionaries(st.text(max_size=3), st.text(max_size=4) | st.integers(), max_size=3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ARGUMENTS, min_size=1, max_size=4), st.data())
def test_fragments_by_the_book_in_any_order_give_the_calls(
    parse: Parse, chunk: Chunk, sse: Sse, arguments: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Each call is cut anywhere; fragments of different calls are interleaved, in order within a call."""
    queues = []
    for index, value in enumerate(arguments):
        text = json.dumps(value)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        first = part(index, f"id{index}", f"tool{index}", pieces[0])
        queues.append([first, *(part(index, arguments=piece) for piece in pieces[1:])])
    fragments = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        fragments.append(queue.pop(0))
    reply = calls_of(parse, chunk, sse, [[fragment] for fragment in fragments])
    found = {call.id: call.arguments for call in reply.tool_calls}
    assert found == {f"id{index}": value for index, value in enumerate(arguments)}
